"""`metrics.jsonl`: what a training run reported, one JSON object per line, each with its step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from didact.durable import store_errors, write_atomic
from didact.model.sinks import Sink, numbers_of


class MetricsLog:
    """`metrics.jsonl`: one JSON object per line; lines after the step a run goes on from are taken out first."""

    def __init__(self, path: Path, step: int, sinks: Sequence[Sink] = ()) -> None:
        self.path, self.sinks = path, sinks
        lines = path.read_bytes().splitlines() if path.is_file() else []
        kept = [line for line in map(_parsed, lines) if line is not None and line["step"] <= step]
        write_atomic(path, b"".join(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in kept))

    def write(self, line: dict[str, Any]) -> None:
        """Append one object, and tell its numbers to the sinks."""
        with store_errors(self.path), self.path.open("ab") as handle:
            handle.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        numbers = numbers_of(line) if self.sinks else {}
        for sink in self.sinks if numbers else ():
            sink.write(line["step"], numbers)


def events(path: Path, kind: str) -> list[dict[str, Any]]:
    """Lines of one kind, without the kind."""
    lines = map(_parsed, path.read_bytes().splitlines() if path.is_file() else [])
    return [
        {key: value for key, value in line.items() if key != "event"}
        for line in lines
        if line is not None and line.get("event") == kind
    ]


def _parsed(line: bytes) -> dict[str, Any] | None:
    """A line's object, or None for the torn last line of a killed run."""
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) and isinstance(value.get("step"), int) else None
