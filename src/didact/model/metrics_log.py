"""`metrics.jsonl`: what a training run reported, one JSON object per line, each with its step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from didact.durable import store_errors, write_atomic
from didact.model.sinks import Sink, numbers_of
from didact.report.run_lines import lines


class MetricsLog:
    """`metrics.jsonl`: one JSON object per line; lines after the step a run goes on from are taken out first."""

    def __init__(self, path: Path, step: int, sinks: Sequence[Sink] = ()) -> None:
        self.path, self.sinks = path, sinks
        kept = [line for line in lines(path) if line["step"] <= step]
        write_atomic(path, b"".join(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in kept))

    def write(self, line: dict[str, Any]) -> None:
        """Append one object, and tell its numbers to the sinks."""
        with store_errors(self.path), self.path.open("ab") as handle:
            handle.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        numbers = numbers_of(line) if self.sinks else {}
        for sink in self.sinks if numbers else ():
            sink.write(line["step"], numbers)
