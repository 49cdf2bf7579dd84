"""A file written again in its own container keeps every byte of what did not change, and rows read as they should."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from files_of_rows import PACKED, content_of, json_array, json_lines, json_object, table
from hypothesis import given
from hypothesis import strategies as st
from strategies import TEXT

from didact.errors import NoPlace
from didact.records.findings import Finding
from didact.sources.blocks import Block, SourceFile
from didact.sources.cells import cell_text, raw_cells
from didact.sources.containers import Container
from didact.sources.cutting import read_blocks
from didact.sources.rewriting import Changes, Replacement, rewrite
from didact.sources.rows import Row, rows

VALUE = TEXT | st.integers(-9, 9) | st.floats(-9, 9) | st.none() | st.booleans()
ROW = st.dictionaries(st.sampled_from(["instruction", "b", "c/~"]), VALUE | st.lists(VALUE, max_size=2), min_size=1)
CELLS = st.fixed_dictionaries({"a": TEXT, "b": TEXT.filter(bool)})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for all files of this module; hypothesis overwrites them again and again."""
    return tmp_path_factory.mktemp("rewriting")


def found_in(path: Path, container: Container, list_key: str | None = None) -> list[Row]:
    """The readable rows of a file."""
    cut = read_blocks(SourceFile("s", path, path.name, container, "any"), list_key=list_key)
    return [row for block in cut if isinstance(block, Block) for row in rows(block) if isinstance(row, Row)]


def again(path: Path, container: Container, changes: Changes, **how: Any) -> Path:
    """The file written again beside itself."""
    target = path.with_name(f"again-{path.name}")
    assert rewrite(SourceFile("s", path, path.name, container, "any"), target, changes, **how) is None
    return target


def setting(index: int, value: Any) -> Changes:
    """Changes that give one row a new value."""
    return lambda block: [(index - block.first, value)] if 0 <= index - block.first < len(block) else []


def check_one_edit(before: bytes, after: bytes, row: Row, raw: bytes) -> None:
    """Everything before and behind the row's own bytes is the same."""
    assert before[row.offset :].startswith(raw)
    assert after.startswith(before[: row.offset])
    assert after.endswith(before[row.offset + len(raw) :])


def raw_row(path: Path, container: Container, index: int, list_key: str | None = None) -> bytes:
    """The bytes of a row."""
    cut = read_blocks(SourceFile("s", path, path.name, container, "any"), list_key=list_key)
    return next(
        found.row(index - found.first)
        for found in cut
        if isinstance(found, Block) and 0 <= index - found.first < len(found)
    )


@pytest.mark.parametrize("packed", list(PACKED))
@pytest.mark.parametrize("container", ["jsonl", "json"])
@given(data=st.data(), given_rows=st.lists(ROW, min_size=1, max_size=5), block=st.sampled_from([40, 1 << 20]))
def test_a_json_file_keeps_its_bytes(
    folder: Path, container: Container, packed: str, data: st.DataObject, given_rows: list[dict[str, Any]], block: int
) -> None:
    """JSON lines and arrays, with unreadable rows and stray commas, compressed or not: one edit changes one value."""
    before = data.draw((json_lines if container == "jsonl" else json_array)(given_rows, broken=True))
    path = folder / f"rows.{container}{packed}"
    path.write_bytes(PACKED[packed](before))
    assert content_of(again(path, container, lambda block: [], block_bytes=block)) == before

    read = [row for row in found_in(path, container) if isinstance(row.value, dict)]
    chosen = data.draw(st.sampled_from(read))
    value = {**chosen.value, data.draw(st.sampled_from(list(chosen.value))): "an edited value"}
    target = again(path, container, setting(chosen.index, value), block_bytes=block)
    check_one_edit(before, content_of(target), chosen, raw_row(path, container, chosen.index))
    assert {row.index: row.value for row in found_in(target, container)} == {
        row.index: value if row.index == chosen.index else row.value for row in found_in(path, container)
    }


@given(data=st.data(), given_rows=st.lists(ROW, min_size=1, max_size=4))
def test_what_an_object_says_once_keeps_its_bytes(
    folder: Path, data: st.DataObject, given_rows: list[dict[str, Any]]
) -> None:
    """The keys beside the list, and its place among them, are copied; the edited row reads as edited."""
    before = data.draw(json_object(given_rows, {"canary": "c", "n": 1.5, "m": None}, "rows"))
    path = folder / "object.json"
    path.write_bytes(before)
    assert again(path, "object", lambda block: [], list_key="rows").read_bytes() == before
    chosen = data.draw(st.sampled_from(found_in(path, "object", "rows")))
    target = again(path, "object", setting(chosen.index, {"instruction": "x"}), list_key="rows")
    check_one_edit(before, target.read_bytes(), chosen, raw_row(path, "object", chosen.index, "rows"))
    assert found_in(target, "object", "rows")[chosen.index].value == {"instruction": "x"}


@given(data=st.data(), given_rows=st.lists(CELLS, min_size=1, max_size=5), text=TEXT.filter(bool))
def test_a_table_keeps_its_quotes(
    folder: Path, data: st.DataObject, given_rows: list[dict[str, str]], text: str
) -> None:
    """Quotes, blank lines and line ends stay; only the changed cell is quoted anew, and the library reads it back."""
    before = data.draw(table(given_rows, broken=True))
    path = folder / "table.csv"
    path.write_bytes(before)
    assert again(path, "csv", lambda block: []).read_bytes() == before
    read = found_in(path, "csv")
    chosen = data.draw(st.sampled_from(read))
    target = again(path, "csv", setting(chosen.index, {**chosen.value, "b": text}))
    raw = raw_row(path, "csv", chosen.index)
    check_one_edit(before, target.read_bytes(), chosen, raw)
    new = raw_row(target, "csv", chosen.index).decode()
    kept = list(chosen.value).index("a")
    assert raw_cells(new, ",", True)[kept] == raw_cells(raw.decode(), ",", True)[kept]
    assert next(csv.reader(io.StringIO(new, newline=""))) == list({**chosen.value, "b": text}.values())


@given(st.text(st.sampled_from("a\",\t '"), max_size=12))
def test_cells_are_cut_as_the_library_cuts_them(row: str) -> None:
    """Also where quotes stand in the middle of a cell or are never closed."""
    quoted = next(csv.reader([row]), []) or [""]
    assert [cell_text(raw, True) for raw in raw_cells(row, ",", True)] == quoted
    plain = next(csv.reader([row], quoting=csv.QUOTE_NONE), []) or [""]
    assert [cell_text(raw, False) for raw in raw_cells(row, ",", False)] == plain


def test_a_file_without_quotes_holds_no_separator(tmp_path: Path) -> None:
    """A text with a line end has no place in a TSV file that does not quote, and the refusal says where."""
    path = tmp_path / "plain.tsv"
    path.write_bytes(b'a\tb\n"1\t2\n3\t4\n')
    with pytest.raises(NoPlace, match=r"plain\.tsv:3: .*not quoted") as refusal:
        again(path, "tsv", setting(1, {"a": "3", "b": "4\n5"}))
    assert refusal.value.pointer == "/b"


def test_a_cell_may_not_change_what_quotes_mean(tmp_path: Path) -> None:
    """The one cell that told that quotes are plain characters cannot be edited away."""
    path = tmp_path / "plain.tsv"
    path.write_bytes(b'a\tb\n"1\t2\n"3"\t4\n')
    with pytest.raises(NoPlace, match="mean something else"):
        again(path, "tsv", setting(0, {"a": "1", "b": "2"}))


TABLE = pa.table(
    {
        "id": pa.array([1, 2, 3, None], pa.int32()),
        "text": ["a", "b", None, "d"],
        "kind": pa.array(["x", "y", "x", "y"]).dictionary_encode(),
        "at": pa.array([0, 1, 2, 3], pa.timestamp("ns", "UTC")),
        "turns": [[{"role": "user", "name": "n"}], [], None, [{"role": "a", "name": None}]],
    },
).replace_schema_metadata({"huggingface": "{}"})


@pytest.mark.parametrize("how", ["parquet", "file", "stream"])
def test_a_columnar_file_keeps_its_schema_and_values(tmp_path: Path, how: str) -> None:
    """Parquet and Arrow: the schema with its metadata stays, and every value but the edited one."""
    path = tmp_path / f"table.{how}"
    if how == "parquet":
        pq.write_table(TABLE, path, row_group_size=3)
    else:
        with (pa.ipc.new_file if how == "file" else pa.ipc.new_stream)(str(path), TABLE.schema) as writer:
            writer.write_table(TABLE, max_chunksize=3)
    container: Container = "parquet" if how == "parquet" else "arrow"
    before = _table(path, how)
    copy = _table(again(path, container, lambda block: []), how)
    assert copy.schema.equals(before.schema, check_metadata=True)
    assert copy.to_pylist() == TABLE.to_pylist()
    first, *_, row = (found.value for found in found_in(path, container))
    turns = [{"role": "user"}, {"role": "b", "name": "c"}]
    target = again(path, container, setting(3, {**row, "kind": "z", "turns": turns}))
    expected = TABLE.to_pylist()
    expected[3] |= {"kind": "z", "turns": [{"role": "user", "name": None}, turns[1]]}
    found = _table(target, how)
    assert found.schema.equals(before.schema, check_metadata=True)
    assert found.to_pylist() == expected
    with pytest.raises(NoPlace, match=r":1: .*holds less") as refusal:
        again(path, container, setting(0, {**first, "turns": [{"weight": 1}]}))
    assert refusal.value.pointer == "/turns"


def _table(path: Path, how: str) -> pa.Table:
    if how == "parquet":
        return pq.read_table(path)
    with pa.memory_map(str(path)) as mapped:
        return (pa.ipc.open_file if how == "file" else pa.ipc.open_stream)(mapped).read_all()


def test_what_stands_outside_of_rows_can_be_mended(tmp_path: Path) -> None:
    """A finding about the file may replace bytes, beside changes of rows."""
    path = tmp_path / "rows.json"
    path.write_bytes(b'\xef\xbb\xbf[{"a": 1}, {"a": 2},, {"a": 3}]')

    def mend(finding: Finding) -> list[Replacement]:
        return [Replacement(finding.offset, finding.offset + (3 if finding.code == "IO003" else 1), b"")]

    target = again(path, "json", setting(2, {"a": 4}), mend=mend)
    assert target.read_bytes() == b'[{"a": 1}, {"a": 2}, {"a": 4}]'


def test_a_damaged_stream_is_told(tmp_path: Path) -> None:
    """A truncated gzip file is copied as far as it can be decoded, and the caller hears of it."""
    whole = b'{"a": 1}\n' * 4000
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(PACKED[".gz"](whole)[:-20])
    target = tmp_path / "copy.jsonl.gz"
    damage = rewrite(SourceFile("s", path, path.name, "jsonl", "any"), target, lambda block: [])
    assert damage is not None
    assert whole.startswith(content_of(target))
