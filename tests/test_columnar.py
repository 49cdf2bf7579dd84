"""Parquet and Arrow files: the rows pyarrow holds are the rows that are read, in pieces or whole."""

from __future__ import annotations

import datetime
import decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from didact.records.findings import Finding
from didact.sources.blocks import Block, SourceFile
from didact.sources.containers import container_of
from didact.sources.cutting import read_blocks
from didact.sources.rows import Row, rows

TABLE = pa.table(
    {
        "prompt": [f"question {i}" for i in range(257)],
        "turns": [[{"role": "user", "content": f"{i}"}] if i % 3 else None for i in range(257)],
        "kind": pa.array([f"kind {i % 4}" for i in range(257)]).dictionary_encode(),
    }
)


def write(path: Path, table: pa.Table, how: str, rows_per_piece: int) -> None:
    """The table as a Parquet file, an Arrow file or an Arrow stream, in pieces."""
    if how == "parquet":
        pq.write_table(table, path, row_group_size=rows_per_piece)
        return
    opened = pa.ipc.new_file if how == "file" else pa.ipc.new_stream
    with opened(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=rows_per_piece)


def read(path: Path, block_bytes: int = 1 << 20) -> list[Row | Finding]:
    """All rows of a file."""
    found: list[Row | Finding] = []
    for block in read_blocks(SourceFile("s", path, path.name, container_of(path), "x"), block_bytes):
        found += rows(block) if isinstance(block, Block) else [block]
    return found


@pytest.mark.parametrize("block_bytes", [300, 1 << 20])
@pytest.mark.parametrize("rows_per_piece", [40, 1000])
@pytest.mark.parametrize("how", ["parquet", "file", "stream"])
def test_rows_are_those_of_the_table(tmp_path: Path, how: str, rows_per_piece: int, block_bytes: int) -> None:
    """Whatever the size of row groups and blocks, every row comes once, in order, as pyarrow gives it."""
    write(tmp_path / "t", TABLE, how, rows_per_piece)
    found = read(tmp_path / "t", block_bytes)
    assert [row.value for row in found if isinstance(row, Row)] == TABLE.to_pylist()
    assert [row.index for row in found] == list(range(257))


def test_values_that_json_lacks_are_spelt(tmp_path: Path) -> None:
    """Times and decimals become text, bytes base 64, not-a-number null, maps lists of pairs."""
    columns: dict[str, Any] = {
        "time": [datetime.datetime(2024, 5, 1, 12, 30)],
        "amount": [decimal.Decimal("1.50")],
        "raw": [b"\xff\x00"],
        "score": [float("nan")],
        "map": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
    }
    write(tmp_path / "t", pa.table(columns), "parquet", 10)
    (row,) = read(tmp_path / "t")
    assert isinstance(row, Row)
    assert row.value == {
        "time": "2024-05-01T12:30:00",
        "amount": "1.50",
        "raw": "/wA=",
        "score": None,
        "map": [["k", 1]],
    }


@pytest.mark.parametrize("how", ["parquet", "file"])
def test_file_without_its_footer_is_one_finding(tmp_path: Path, how: str) -> None:
    """A half-written file is told as damaged, not a traceback."""
    write(tmp_path / "t", TABLE, how, 50)
    content = (tmp_path / "t").read_bytes()
    (tmp_path / "t").write_bytes(content[: len(content) // 2])
    (found,) = read(tmp_path / "t")
    assert isinstance(found, Finding)
    assert (found.code, found.index) == ("IO004", 0)


def test_damaged_row_group_rejects_its_rows(tmp_path: Path) -> None:
    """Rows that cannot be decoded are rejected one by one, so that none goes missing."""
    write(tmp_path / "t", TABLE, "parquet", 100)
    content = bytearray((tmp_path / "t").read_bytes())
    place = pq.ParquetFile(tmp_path / "t").metadata.row_group(1).column(0).dictionary_page_offset
    content[place : place + 40] = b"\xff" * 40
    (tmp_path / "t").write_bytes(bytes(content))
    found = read(tmp_path / "t")
    assert [row.index for row in found] == list(range(257))
    assert {row.index for row in found if isinstance(row, Finding)} == set(range(100, 200))


def test_table_without_rows_is_an_empty_file(tmp_path: Path) -> None:
    """A Parquet file of no rows holds no row."""
    write(tmp_path / "t", TABLE.slice(0, 0), "parquet", 10)
    (found,) = read(tmp_path / "t")
    assert isinstance(found, Finding)
    assert found.code == "IO001"
