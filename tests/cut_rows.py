"""Cuts bytes as if they were a file, for the tests of the cutters."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from didact.recipe.sources import Unit
from didact.records.findings import Finding
from didact.sources.blocks import Block, SourceFile
from didact.sources.containers import Container
from didact.sources.cutting import read_blocks
from didact.sources.rows import Row, rows


def cut(
    content: bytes,
    container: Container,
    block_bytes: int = 1 << 20,
    row_limit: int = 32 << 20,
    *,
    list_key: str | None = None,
    unit: Unit = "paragraphs",
) -> list[Block | Finding]:
    """What a file of this content is cut into."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        path.write_bytes(content)
        file = SourceFile("s", path, "file", container, "x", unit=unit)
        return list(read_blocks(file, block_bytes, row_limit, list_key))


def cut_rows(
    content: bytes,
    container: Container,
    block_bytes: int = 1 << 20,
    row_limit: int = 32 << 20,
    *,
    list_key: str | None = None,
    unit: Unit = "paragraphs",
) -> list[Row | Finding]:
    """The rows and findings of a file of this content, in order."""
    found: list[Row | Finding] = []
    for block in cut(content, container, block_bytes, row_limit, list_key=list_key, unit=unit):
        found += rows(block, row_limit) if isinstance(block, Block) else [block]
    return found


def values(found: list[Row | Finding]) -> list[Any]:
    """The values of the rows that could be read."""
    return [row.value for row in found if isinstance(row, Row)]


def codes(found: list[Row | Finding]) -> list[str]:
    """The codes of the findings, in order."""
    return [finding.code for finding in found if isinstance(finding, Finding)]
