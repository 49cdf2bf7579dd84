"""`metrics.jsonl`: what a training run reported, one JSON object per line, each with its step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from didact.durable import write_atomic


class MetricsLog:
    """`metrics.jsonl`: one JSON object per line; lines after the step a run goes on from are taken out first."""

    def __init__(self, path: Path, step: int) -> None:
        self.path = path
        lines = path.read_bytes().splitlines() if path.is_file() else []
        kept = [line for line in map(_parsed, lines) if line is not None and line["step"] <= step]
        write_atomic(path, b"".join(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in kept))

    def write(self, line: dict[str, Any]) -> None:
        """Append one object."""
        with self.path.open("ab") as handle:
            handle.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))


def _parsed(line: bytes) -> dict[str, Any] | None:
    """A line's object, or None for the torn last line of a killed run."""
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) and isinstance(value.get("step"), int) else None
