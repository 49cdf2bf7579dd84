"""Casting: rows read as others were become what each becomes when it is read for itself."""

from __future__ import annotations

import csv
import io
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest
from cut_rows import cut
from hypothesis import given
from hypothesis import strategies as st
from rich_texts import RICH

from didact.formats.registry import adapters, get
from didact.recipe.sources import Source
from didact.records.columns import Columns, to_table
from didact.sources import casting_json, casting_rows, moulds, reading, row_reader
from didact.sources.blocks import Block, SourceFile
from didact.sources.containers import Container
from didact.sources.read import read_block

MOVING = sorted(name for name, adapter in adapters().items() if adapter.moves)
_OTHERS = ("system", "history", "category", "task_name", "title", "label", "meta", "id", "score", "x")
_TURNS = '[{"role": "user", "content": "Hi"}]'
_LOOKED_AT = st.sampled_from(("<noinput>", "None", " n/a ", _TURNS, "\ue0000:0\ue001", " "))
_FAULTY = (b'"a\tb"', b'"a\xffb"', b'"\xed\xa0\x80"', b'"\\ud800"', b'{"a":1,"a":2}', b"1e999", b"[NaN]", b"[1", b"{")
"""Values of which some spoil their row, and some cost it a finding."""
_TEXTS = (RICH | RICH | _LOOKED_AT).map(orjson.dumps)
_VALUES = _TEXTS | st.sampled_from(
    (None, True, 0, 1, 0.0, -0.0, 1.0, "1", [], {}, ["a"], {"a": None}, [{"role": "user", "content": "Hi"}])
).map(orjson.dumps)


@st.composite
def _kind(draw: st.DrawFn, keys: list[str], moved: frozenset[str]) -> list[bytes]:
    """One row of some keys, or as many as are worth a mould, which differ in their texts only."""
    values = {key: draw(_VALUES) for key in keys}
    texts = draw(st.lists(_TEXTS, min_size=2, max_size=4))
    varied = [key for key in keys if key in moved and draw(st.integers(0, 19))]
    if keys and draw(st.integers(0, 3)) == 0:
        values[draw(st.sampled_from(keys))] = draw(st.sampled_from(_FAULTY))
    rows = []
    for _ in range(draw(st.sampled_from((1, casting_json.FEWEST, 4 * casting_json.FEWEST, 4 * casting_json.FEWEST)))):
        said = values | {key: draw(st.sampled_from(texts)) for key in varied}
        rows.append(b"{" + b",".join(orjson.dumps(key) + b":" + value for key, value in said.items()) + b"}")
    return rows


@st.composite
def _files(draw: st.DrawFn) -> tuple[str, list[bytes]]:
    """A format, and rows of a file of it that have few sets of keys, as real files do; some values have a fault."""
    name = draw(st.sampled_from(MOVING))
    adapter = get(name)
    names = sorted({*adapter.moves, *adapter.columns.values()})
    usual = list(orjson.loads(adapter.example))
    keys = st.just(usual) | st.just(usual) | st.lists(st.sampled_from(names), unique=True, max_size=4)
    others = st.lists(st.sampled_from([other for other in _OTHERS if other not in names]), unique=True, max_size=1)
    shapes = draw(st.lists(st.builds(lambda own, rest: [*own, *rest], keys, others), min_size=1, max_size=2))
    kinds = st.sampled_from(shapes).flatmap(lambda shape: _kind(shape, frozenset(adapter.moves)))
    return name, [row for kind in draw(st.lists(kinds, min_size=2, max_size=5)) for row in kind]


def _block(rows: list[dict[str, Any]]) -> Block | None:
    return _spelt_block([*map(orjson.dumps, rows)])


def _spelt_block(rows: list[bytes]) -> Block | None:
    found = [one for one in cut(b"\n".join(rows), "jsonl") if isinstance(one, Block)]
    assert len(found) == bool(rows)
    return found[0] if found else None


def _both_ways(block: Block, source: Source, container: Container = "jsonl") -> None:
    file = SourceFile("s", Path("file"), "file", container, source.format)
    alone = read_block(block, file, source)
    columns = Columns()
    together = read_block(block, file, source, into=columns)
    assert (together.findings, together.rejected) == (alone.findings, alone.rejected)
    assert (together.rows, together.unselected) == (alone.rows, alone.unselected)
    assert columns.table().to_pylist() == to_table(alone.records, alone.places, alone.texts).to_pylist()


_SAID: tuple[dict[str, Any], ...] = (
    {},
    {},
    {"license": "MIT"},
    {"group": "x"},
    {"system": "Be brief."},
    {"task": "t"},
    {"where": {"x": None}, "task": "t"},
)


@given(_files(), st.sampled_from(_SAID))
def test_rows_read_together_are_those_read_alone(file: tuple[str, list[bytes]], said: dict[str, Any]) -> None:
    """Every adapter that moves texts: the same records with the same ids, findings and rejected rows, whatever the rows
    hold and the source says of them.
    """
    name, rows = file
    if (block := _spelt_block(rows)) is not None:
        _both_ways(block, Source(path="file", format=name, **said))


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("alpaca", [{"instruction": "Sing.", "input": text, "output": "La."} for text in ("a", " NoInput", "b", "")]),
        ("dolly", [{"instruction": "Who?", "context": text, "response": "He."} for text in ("a", "b", "", " ", "a")]),
        ("prompt_completion", [{"prompt": text, "completion": "Yes."} for text in ("a", _TURNS, "b")]),
        ("prompt_completion", [{"prompt": "Is it?", "completion": text} for text in ("a", "", _TURNS, "b")]),
        ("classification", [{"text": "Cold.", "label": label} for label in (0, 0.0, -0.0, "0", True, 1, 0)]),
        ("text", [{"text": "It was.", "title": title} for title in ("a", "b", None, 1, "a")]),
    ],
)
def test_texts_that_an_adapter_looks_at(name: str, rows: list[dict[str, Any]]) -> None:
    """Among rows that are alike, those whose text or other value means something else are read for themselves."""
    for times in (1, casting_json.FEWEST):
        block = _block(rows * times)
        assert block is not None
        _both_ways(block, Source(path="file", format=name))


@pytest.mark.parametrize("value", _FAULTY)
def test_rows_with_the_same_fault_are_read_alone(value: bytes) -> None:
    """Behind a good row, many that share a value with a fault beside their texts are read, or rejected, one by one."""
    shared = b'{"instruction":"Add %d.","input":"","output":"Added %d.","meta":%s}'
    rows = [shared % (0, 0, b"1"), *(shared % (n, n, value) for n in range(2 * casting_json.FEWEST))]
    block = _spelt_block(rows)
    assert block is not None
    _both_ways(block, Source(path="file", format="alpaca"))


@given(st.lists(st.tuples(RICH, RICH), min_size=1, max_size=5), st.sampled_from(("q", "a/q", "prompt", "x/y")))
def test_mapped_columns_are_cast_too(pairs: list[tuple[str, str]], asked_under: str) -> None:
    """Rows whose keys the recipe renames, whether the key is one of the row or a path into it."""
    rows: list[dict[str, Any]] = [{"q": asked, "completion": answered, "n": 1} for asked, answered in pairs]
    rows += [{"a": {"q": asked}, "completion": answered} for asked, answered in pairs]
    block = _block(rows * casting_json.FEWEST)
    assert block is not None
    _both_ways(block, Source(path="file", format="prompt_completion", columns={"prompt": asked_under}))


@given(st.lists(st.fixed_dictionaries({"instruction": RICH, "input": RICH, "output": RICH}), max_size=5))
def test_cells_are_cast_too(rows: list[dict[str, str]]) -> None:
    """Rows of a CSV file."""
    written = io.StringIO()
    writer = csv.DictWriter(written, ["instruction", "input", "output"])
    writer.writeheader()
    writer.writerows(rows)
    for block in cut(written.getvalue().encode("utf-8", "surrogatepass"), "csv"):
        if isinstance(block, Block):
            _both_ways(block, Source(path="file", format="alpaca"), "csv")


@pytest.mark.parametrize("name", MOVING)
def test_most_rows_are_cast(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a thousand rows as the format has them, a handful are read for themselves."""
    block = _block([orjson.loads(get(name).example) | {} for _ in range(1000)])
    assert block is not None
    reads = Counter[str]()
    alone = reading.reading_of
    monkeypatch.setattr(row_reader, "reading_of", lambda *given: reads.update(["row"]) or alone(*given))
    columns = Columns()
    file = SourceFile("s", Path("file"), "file", "jsonl", name)
    read_block(block, file, Source(path="file", format=name), into=columns)
    assert columns.table().num_rows == 1000
    assert reads["row"] < 10 or name == "dolly"  # its example has a passage, which names a group


def test_rows_with_values_of_their_own_are_soon_read_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where every row has another number beside its texts, no more than a few moulds are made in vain."""
    made = Counter[str]()
    alike = moulds.alike
    for module in (casting_json, casting_rows):
        monkeypatch.setattr(module, "alike", lambda *given: made.update(["mould"]) or alike(*given))
    block = _block([{"instruction": "Do.", "input": "", "output": "Done.", "n": n} for n in range(500)])
    assert block is not None
    _both_ways(block, Source(path="file", format="alpaca"))
    assert made["mould"] == 0
    _both_ways(block, Source(path="file", format="alpaca", where={"input": ""}))
    assert made["mould"] == casting_rows._MANY
