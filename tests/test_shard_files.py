"""How tables become Parquet files: the rows decide the bytes, whatever tables they came in."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from didact.build import shard_files
from didact.build.shard_files import write_tables
from didact.remote.folder import Folder

ROWS = st.lists(st.fixed_dictionaries({"id": st.text(max_size=3), "count": st.none() | st.integers(0, 3)}), max_size=9)


@given(parts=st.lists(ROWS, max_size=4))
def test_where_tables_end_shapes_no_byte(parts: list[list[dict[str, object]]]) -> None:
    """Row groups are full but for the last, and the file is the one that all rows make as a single table."""
    schema = pa.schema({"id": pa.string(), "count": pa.int64()})
    tables = [pa.Table.from_pylist(rows, schema=schema) for rows in parts]
    whole = pa.concat_tables([schema.empty_table(), *tables])
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        patch.setattr(shard_files, "GROUP_ROWS", 4)
        folder = Folder(Path(place))
        entry, single = write_tables(folder, "a.parquet", schema, tables), write_tables(folder, "b", schema, [whole])
        with pq.ParquetFile(Path(place) / "a.parquet") as file:
            sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
            assert file.read() == whole
    assert sizes == [min(4, whole.num_rows - start) for start in range(0, whole.num_rows, 4)]
    assert (entry.sha256, entry.rows) == (single.sha256, whole.num_rows)


def test_a_dictionary_may_hold_more_than_a_page() -> None:
    """Values handed over as numbers of distinct long ones, and a column of none at all, are read back as they are."""
    texts = [f"{number}" * 300 for number in range(5000)]
    coded = pa.array(texts).dictionary_encode().take(pa.array(range(4999, -1, -1)))
    table = pa.table({"tools": coded, "key": pa.nulls(5000, pa.string()).dictionary_encode()})
    with tempfile.TemporaryDirectory() as place:
        write_tables(Folder(Path(place)), "a.parquet", table.schema, [table])
        read = pq.read_table(Path(place) / "a.parquet")
    assert read.to_pydict() == {"tools": texts[::-1], "key": [None] * 5000}
    assert read.schema == pa.schema({"tools": pa.string(), "key": pa.string()})
