"""Every row of a dirty input is found exactly once: in the shards, among the dropped or among the rejected."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from didact.build.pipeline import build
from didact.errors import AccountingError, NothingKept
from didact.store.manifest import Account
from didact.store.version import Version

Row = dict[str, str]
Place = tuple[str, int]
"""Name of a file, and line or index of a row in it."""

WORDS = st.sampled_from(["apple", "river", "stone", "candle", "seven", "7", "&amp;", "\u200b", "Ã©", "a@b.org", ""])
TEXTS = st.lists(WORDS, max_size=4).map(" ".join)
ROWS = st.fixed_dictionaries({"instruction": TEXTS, "input": st.just("") | TEXTS, "output": TEXTS})
BROKEN = st.sampled_from(
    [b"", b"   ", b"\t\r", b'{"instruction": "half', b"no json", b"[]", b'"text"', b"17", b"null", b'{"other": 1}']
) | st.sampled_from(
    [b'{"instruction": "\xff\xfe", "input": "", "output": "x"}', b'{"instruction": 5, "input": [], "output": {}}']
)
LINES = st.lists(ROWS.map(lambda row: json.dumps(row).encode()) | BROKEN, max_size=12)
CELLS = st.lists(st.sampled_from(["one", "two, three", 'say "so"', "four\nfive", "", " "]), max_size=5)


def jsonl(lines: list[bytes]) -> tuple[bytes, set[int]]:
    """A file of lines, and the numbers of those that are rows: all that are not blank."""
    content = b"\n".join(lines) + b"\n"
    return content, {number for number, line in enumerate(content.split(b"\n"), 1) if line.strip()}


def sheet(rows: list[list[str]]) -> tuple[bytes, set[int]]:
    """A CSV file, and the numbers of its rows as Python's own reader counts them."""
    out = io.StringIO()
    csv.writer(out).writerows([["instruction", "input", "output"], *rows])
    read = [row for row in csv.reader(io.StringIO(out.getvalue(), newline="")) if row]
    return out.getvalue().encode(), set(range(len(read) - 1))


def array(values: list[Any]) -> tuple[bytes, set[int]]:
    """A JSON array, and the places in it."""
    return json.dumps(values, indent=1).encode(), set(range(len(values)))


def table(rows: list[Row]) -> tuple[bytes, set[int]]:
    """A Parquet file, and the numbers of its rows."""
    sink = pa.BufferOutputStream()
    kind = pa.schema([(name, pa.string()) for name in ("instruction", "input", "output")])
    pq.write_table(pa.Table.from_pylist(rows, kind), sink, row_group_size=3)
    return sink.getvalue().to_pybytes(), set(range(len(rows)))


CONTAINERS: dict[str, Callable[[Any], tuple[bytes, set[int]]]] = {
    "lines.jsonl": jsonl,
    "sheet.csv": sheet,
    "array.json": array,
    "table.parquet": table,
}


def found(version: Version, kind: str) -> Counter[Place]:
    """Places of the rows in one folder of a version, by line where lines are rows, else by index."""
    folder = version.path / kind
    if not folder.is_dir():
        return Counter()
    places: Counter[Place] = Counter()
    for file in sorted(folder.rglob("*.parquet")):
        for row in pq.read_table(file, partitioning=None).to_pylist():
            at = row.get("row") or row
            places[at["path"], at["line"] if at["path"].endswith("l") else at["index"]] += 1
    return places


def accounted(contents: dict[str, Any]) -> None:
    """Build from files and compare the places of all rows with an independent count."""
    with tempfile.TemporaryDirectory() as made:
        folder, expected = Path(made), set()
        for name, values in contents.items():
            content, rows = CONTAINERS[name](values)
            (folder / name).write_bytes(content)
            expected |= {(name, row) for row in rows}
        sources = {name.partition(".")[0]: {"path": str(folder / name), "format": "alpaca"} for name in contents}
        recipe = {
            "name": "x",
            "sources": sources,
            "filters": [{"set": "instruction"}],
            "split": {"validation": 0, "test": 0},
            "tokenizer": None,
        }
        try:
            version = build(recipe, store=folder / "store", workers=1)
        except NothingKept:
            assume(False)
        kinds = {kind: found(version, kind) for kind in ("data", "dropped", "rejected")}
        assert sum(kinds.values(), Counter()) == Counter(expected)
        lost = Counter[str]()
        for account in version.manifest.accounting:
            lost["dropped"] += sum(account.dropped.values())
            lost["rejected"] += sum(account.rejected.values())
        assert {kind: kinds[kind].total() for kind in ("dropped", "rejected")} == {
            kind: lost[kind] for kind in ("dropped", "rejected")
        }
        read = [account for account in version.manifest.accounting if account.stage == "read"]
        assert sum(account.rows_in for account in read) == len(expected)


FILES = st.fixed_dictionaries(
    {
        "lines.jsonl": LINES,
        "sheet.csv": st.lists(CELLS, max_size=6),
        "array.json": st.lists(ROWS | st.sampled_from([1, None, [], "x", {"other": 2}]), max_size=6),
        "table.parquet": st.lists(ROWS, max_size=8),
    }
)
GOOD = {"instruction": "Say it.", "input": "", "output": "It is a stone."}


@settings(max_examples=10)
@given(FILES)
@example({"lines.jsonl": [b"[]", json.dumps(GOOD).encode()], "sheet.csv": [], "array.json": [], "table.parquet": []})
@example({"lines.jsonl": [b"no json"], "sheet.csv": [], "array.json": [GOOD], "table.parquet": []})
@example({"lines.jsonl": [json.dumps(GOOD).encode()] * 3, "sheet.csv": [], "array.json": [GOOD], "table.parquet": []})
def test_every_row_of_dirty_files_is_found_exactly_once(contents: dict[str, Any]) -> None:
    """Lines, cells, elements and rows, good, broken, blank or repeated: each is in one place, as a plain count says."""
    accounted(contents)


@pytest.mark.slow
@settings(max_examples=150)
@given(FILES)
def test_every_row_of_many_dirty_files_is_found_exactly_once(contents: dict[str, Any]) -> None:
    """The same, looked at for longer."""
    accounted(contents)


def test_a_chunk_that_does_not_add_up_ends_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that a chunk's result does not account for stop the build before anything is published."""
    from didact.build import per_record

    (tmp_path / "rows.jsonl").write_text(json.dumps(GOOD) + "\n")
    made = per_record.curate_chunk
    monkeypatch.setattr(per_record, "curate_chunk", lambda task: made(task) | {"rows": 2})
    sources = {"s": {"path": str(tmp_path / "rows.jsonl"), "format": "alpaca"}}
    with pytest.raises(AccountingError, match=r"stage 'read', source 's', chunk 0: 2 rows in, 1 kept and 0 lost"):
        build({"name": "x", "sources": sources, "tokenizer": None}, store=tmp_path / "store", workers=1)
    assert not (tmp_path / "store" / "data").exists()
    assert Account(stage="read", source="s", rows_in=3, kept=1, rejected={"JS001": 2}).lost == 2
