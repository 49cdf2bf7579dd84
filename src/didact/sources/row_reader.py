"""How the rows of a block become records: by its format's adapter, and with what its source's settings say."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, Self

from didact.errors import RowError
from didact.formats.detect import renamed
from didact.formats.registry import Adapter, get
from didact.recipe.sources import Source
from didact.records import Header, Record
from didact.records.base import Text
from didact.records.findings import Finding, Problem
from didact.sources.block_read import finding_of
from didact.sources.blocks import Block, SourceFile
from didact.sources.describing import describes, with_metadata
from didact.sources.reading import header_of, identity_of, reading_of
from didact.sources.rows import Row


class Made(NamedTuple):
    """A row that became a record."""

    row: Row
    inside: str
    """The row's pointer in a nested file's element."""
    record: Record
    texts: list[Text]
    identity: str
    notes: list[Problem]
    """What is odd about the row."""


@dataclass(frozen=True)
class RowReader:
    """Reads the rows of a block."""

    block: Block
    adapter: Adapter
    header: Header | RowError | None
    source: Source
    described: bool
    """Whether the source's settings say anything about its records."""

    @classmethod
    def of(cls, block: Block, file: SourceFile, source: Source) -> Self:
        """What reads those of a block of a file."""
        adapter = get(file.format, file.plugin)
        if source.split is None and file.split is not None:
            source = source.model_copy(update={"split": file.split})
        return cls(block, adapter, header_of(block, adapter), source, describes(source))

    def record(self, row: Row, inside: str = "") -> Made | Finding:
        """A row as a record, or as what rejects it."""
        if isinstance(self.header, RowError):
            why = (self.header.code, self.header.pointer, f"in what the file says once: {self.header.message}")
            return finding_of(self.block, row, why)
        try:
            record, notes = reading_of(self.named(row.value), self.adapter, self.header)
            if self.described:
                record = with_metadata(record, row.value, self.source, self.header)
            texts = record.texts()
            return Made(row, inside, record, texts, identity_of(record, texts), notes)
        except RowError as error:
            return finding_of(self.block, row, (error.code, error.pointer, error.message), inside)

    def named(self, value: Any) -> Any:
        """A row's value under the names that its format has for it."""
        columns = self.source.columns
        return renamed(value, columns, self.adapter) if columns else value

    @property
    def casts(self) -> bool:
        """Whether rows that are alike may be read once for all; else every row is read for itself: inside elements of
        nested files, or where a path into the row says what group it is of.
        """
        return bool(self.adapter.moves) and self.adapter.unfold is None and self.source.group is None

    def named_alone(self, value: Any) -> Record | None:
        """The record of a row that has the format's names already; None where anything is odd about it."""
        made = self._of_named.record(Row(0, 0, 0, value))
        return made.record if isinstance(made, Made) and not made.notes else None

    @cached_property
    def _of_named(self) -> RowReader:
        """Reads rows that have the format's names."""
        return replace(self, source=self.source.model_copy(update={"columns": {}}))

    @cached_property
    def beside(self) -> str:
        """What may get into records besides what is in their rows."""
        said = self.header.model_dump_json() if isinstance(self.header, Header) else ""
        return said + self.source.model_dump_json()
