"""Reads `metrics.jsonl`: what a training run reported, one JSON object per line, each with its step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson


def lines(path: Path) -> list[dict[str, Any]]:
    """Every whole line; none when there is no such file. The last line of a killed run may be torn."""
    found = map(_parsed, path.read_bytes().splitlines() if path.is_file() else [])
    return [line for line in found if line is not None]


def events(path: Path, kind: str) -> list[dict[str, Any]]:
    """Lines of one kind, without the kind."""
    return [
        {key: value for key, value in line.items() if key != "event"}
        for line in lines(path)
        if line.get("event") == kind
    ]


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) and isinstance(value.get("step"), int) else None
