"""Quantities as people write them: 20M tokens, 1e6, 64MB, 1_000."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

_COUNT = re.compile(r"^\s*([0-9][0-9_]*(?:\.[0-9]+)?(?:[eE][0-9]+)?)\s*([kKmMgGbBtT]?)\s*$")
_BYTES = re.compile(r"^\s*([0-9][0-9_]*(?:\.[0-9]+)?)\s*([kKmMgGtT]?)(i?)[bB]?\s*$")
_SCALE = {"": 0, "k": 1, "m": 2, "g": 3, "b": 3, "t": 4}


def parse_count(value: Any) -> Any:
    """Turn '20M', '1e6', '1_000' or 2.0 into an int; anything else is left for pydantic to refuse.

    >>> parse_count("20M"), parse_count("1e6"), parse_count("1.5k")
    (20000000, 1000000, 1500)
    """
    if isinstance(value, float) and value.is_integer():
        return int(value)
    match = _COUNT.match(value) if isinstance(value, str) else None
    if match is None:
        return value
    return round(float(match[1].replace("_", "")) * 1000 ** _SCALE[match[2].lower()])


def parse_bytes(value: Any) -> Any:
    """Turn '64MB' (10^6) or '64MiB' (2^20) into a number of bytes.

    >>> parse_bytes("64MB"), parse_bytes("1KiB")
    (64000000, 1024)
    """
    match = _BYTES.match(value) if isinstance(value, str) else None
    if match is None:
        return value
    return round(float(match[1].replace("_", "")) * (1024 if match[3] else 1000) ** _SCALE[match[2].lower()])


@dataclass(frozen=True, slots=True)
class _OrWritten:
    """Tells the JSON Schema that the number may also stand as text of this pattern."""

    pattern: re.Pattern[str]

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [handler(core), {"type": "string", "pattern": self.pattern.pattern}]}


Count = Annotated[int, BeforeValidator(parse_count), _OrWritten(_COUNT)]
"""A whole number that may be written 20M or 1e6."""

Bytes = Annotated[int, BeforeValidator(parse_bytes), _OrWritten(_BYTES)]
"""A number of bytes that may be written 64MB or 64MiB."""
