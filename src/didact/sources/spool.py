"""Rows that have no file of their own (query results, objects in memory), written to one for as long as it is read.

So they take the same path as all others: cut into blocks, read by workers, in bounded memory, known by their digest.
"""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Iterable
from contextlib import ExitStack
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import orjson

from didact.durable import own_folder, store_errors
from didact.errors import CallError
from didact.sources.elsewhere import Elsewhere

_PREFIX = "didact-spool-"


class Spool:
    """A folder that is made when it is first needed, and gone at the end of the `with` block.

    With a `parent` it stands there, and what killed processes left there is removed; else among the system's
    temporary files.
    """

    def __init__(self, parent: Path | None = None, elsewhere: Elsewhere | None = None) -> None:
        self._parent = parent
        self.elsewhere = elsewhere or Elsewhere()
        """How inputs at URLs are reached; their copies outlive the spool."""
        self._folder: Path | None = None
        self._held = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()

    @property
    def folder(self) -> Path:
        """The folder. Raises StoreError when it cannot be made."""
        if self._folder is None:
            parent = self._parent or Path(tempfile.gettempdir())
            self._folder = self._held.enter_context(own_folder(parent, _PREFIX))
        return self._folder

    def write(self, name: str, rows: Iterable[bytes]) -> Path:
        """Write rows, each as one line of JSON, under a relative path; the file they stand in."""
        path = self.folder / "rows" / name
        with store_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                for row in rows:
                    file.write(row)
                    file.write(b"\n")
        return path


def spelt_row(row: Any, where: str) -> bytes:
    """A row as one line of JSON: times and decimals by their spelling, bytes in base 64, not-a-number as null.

    A text that came as bytes in no valid UTF-8 (surrogate escapes) keeps those bytes, so that the reader rejects that
    row alone. Raises CallError when the row holds something that JSON has no form for; `where` names it.
    """
    try:
        return orjson.dumps(row, default=_spelt, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY)
    except orjson.JSONEncodeError:
        pass
    try:
        # What orjson refuses although JSON has it: integers over 64 bits, and texts that are not valid.
        return json.dumps(row, default=_spelt, ensure_ascii=False).encode("utf-8", "surrogateescape")
    except (TypeError, ValueError, RecursionError) as error:
        raise CallError(f"{where}: cannot be written as JSON ({error})") from error


def _spelt(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime | date | time):
        return None if value != value else value.isoformat()
    if isinstance(value, Decimal | UUID | timedelta | Path):
        return str(value)
    for method in ("tolist", "model_dump"):
        if hasattr(value, method) and not isinstance(value, type):
            return getattr(value, method)()
    raise TypeError(f"a {type(value).__name__} is no value of a row")
