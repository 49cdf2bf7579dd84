"""One row as a record, and what its file says once: whatever may fail in an adapter is told alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from pydantic import ValidationError

from didact.errors import RowError
from didact.formats.registry import Adapter, Reading
from didact.records import Header, Record
from didact.records.base import Text
from didact.sources.blocks import Block
from didact.sources.keys import TooDeep, require_shallow

_POINTER_PARTS = 12
"""Most parts of a pointer to what a model refuses; nesting can make it as long as the row."""
_ENCODER_LIMIT = "Recursion limit reached"


def header_of(block: Block, adapter: Adapter) -> Header | RowError | None:
    """What the block's file says once, or why it cannot be read."""
    if adapter.header is None or not block.head or block.container != "object":
        return None
    try:
        head = orjson.loads(block.head)
        require_shallow(head)
        return adapter.header(head, block.path)
    except RowError as error:
        return error
    except TooDeep as error:
        return RowError("JS001", str(error))
    except (orjson.JSONDecodeError, ValidationError) as error:
        return RowError("JS001", str(error).partition("\n")[0])


def reading_of(value: Any, adapter: Adapter, header: Header | None) -> Reading:
    """A row as a record. Raises RowError, whatever a hostile row makes of the JSON that stands inside its texts."""
    try:
        return adapter.read(value, header)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        pointer = "".join(f"/{part}" for part in first["loc"][:_POINTER_PARTS])
        raise RowError("SC002", first["msg"], pointer) from error
    except orjson.JSONDecodeError as error:
        raise RowError("SC002", f"a text that should hold JSON does not: {error}") from error
    except orjson.JSONEncodeError as error:  # It is TypeError itself, so that its message must tell.
        if str(error) != _ENCODER_LIMIT:
            raise
        raise RowError("JS001", str(TooDeep())) from error


def identity_of(record: Record, texts: Sequence[Text]) -> str:
    """A record's id. Raises RowError when it is nested too deep to be written, as JSON inside texts can be."""
    try:
        if record.origin is not None and record.origin.extra:
            require_shallow(record.origin.extra)
        return record.content_id(texts)
    except TooDeep as error:
        raise RowError("JS001", str(error)) from error
    except orjson.JSONEncodeError as error:
        if str(error) != _ENCODER_LIMIT:
            raise
        raise RowError("JS001", str(TooDeep())) from error
