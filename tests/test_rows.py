"""Side columns of all chunks, read by their place in the files, are those that Arrow reads."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from didact.build.per_record import _write
from didact.build.rows import ChunkResult, Rows
from didact.errors import StoreError
from didact.remote.folder import Folder

_KINDS = {"size": pa.int64(), "share": pa.float32(), "kind_code": pa.int8(), "prompt_key": pa.uint64()}
_WIDTH = 3


def _side(count: int, signal: bool, seed: int) -> pa.Table:
    """A side table of so many rows; with or without the signal."""
    random = np.random.default_rng(seed)
    columns: dict[str, pa.Array] = {
        name: pa.array(random.integers(0, 100, count), pa.int64()).cast(kind) for name, kind in _KINDS.items()
    }
    columns["content"] = pa.array([random.bytes(16) for _ in range(count)], pa.binary(16))
    words = pa.array(random.integers(0, 2**63, count * _WIDTH, np.uint64))
    columns["bands"] = pa.FixedSizeListArray.from_arrays(words, _WIDTH)
    if signal:
        columns["response.words"] = pa.array(random.integers(0, 100, count), pa.int64())
    return pa.table(columns)


def _chunks(folder: Path, sides: list[pa.Table]) -> Rows:
    """The rows of chunks with these side tables."""
    found = []
    for ordinal, side in enumerate(sides):
        name = f"{ordinal}.side.arrow"
        _write(side, folder / name)
        marker: dict[str, Any] = {"kept": side.num_rows, "files": {name: (folder / name).stat().st_size}}
        found.append(ChunkResult("s", ordinal, f"{ordinal}", Folder(folder), marker))
    return Rows(tuple(found), ("s",))


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.integers(0, 99)), max_size=4))
def test_side_columns_are_those_that_arrow_reads(shapes: list[tuple[int, bool, int]]) -> None:
    """Numbers, keys and lists of every chunk in turn, whether it kept rows or not; of a signal that a chunk did not
    measure, not a number for each of its rows.
    """
    sides = [_side(*shape) for shape in shapes]
    with tempfile.TemporaryDirectory() as folder:
        rows = _chunks(Path(folder), sides)
        for name in _KINDS:
            wanted = [value for side in sides for value in side[name].to_pylist()]
            assert rows.column(name).tolist() == wanted
        measured = [value for side in sides for value in _signal(side)]
        np.testing.assert_array_equal(rows.column("response.words"), np.array(measured, np.float64))
        keys = [value for side in sides for value in side["content"].to_pylist()]
        assert [key.astype("<u8").tobytes() for key in rows.keys("content")] == keys
        assert rows.width("bands") == (_WIDTH if sides else 0)
        bands = [value[1:3] for side in sides for value in side["bands"].to_pylist()]
        assert rows.at("bands", slice(1, 3)).T.tolist() == bands


def _signal(side: pa.Table) -> list[float]:
    name = "response.words"
    return list(side[name].to_pylist()) if name in side.schema.names else [float("nan")] * side.num_rows


def test_a_file_cut_off_later_is_told(tmp_path: Path) -> None:
    """A side table that lost its end after it was opened is an error, not numbers from nowhere."""
    rows = _chunks(tmp_path, [_side(1000, True, 0)])
    assert len(rows.column("size")) == 1000
    (tmp_path / "0.side.arrow").write_bytes((tmp_path / "0.side.arrow").read_bytes()[:1000])
    with pytest.raises(StoreError, match=r"0\.side\.arrow: the file ends inside a column; remove it and build again"):
        rows.column("size")
