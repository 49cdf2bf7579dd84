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
_VALUES = (
    RICH
    | _LOOKED_AT
    | st.none()
    | st.booleans()
    | st.sampled_from((0, 1, 0.0, -0.0, 1.0, "1", [], {}, ["a"], {"a": None}, [{"role": "user", "content": "Hi"}]))
)


@st.composite
def _files(draw: st.DrawFn) -> tuple[str, list[dict[str, Any]]]:
    """A format, and rows of a file of it that have few sets of keys, as real files do."""
    name = draw(st.sampled_from(MOVING))
    adapter = get(name)
    names = sorted({*adapter.moves, *adapter.columns.values()})
    keys = st.lists(st.sampled_from(names), unique=True, max_size=4)
    shapes = draw(st.lists(st.tuples(keys, st.lists(st.sampled_from(_OTHERS), max_size=2)), min_size=1, max_size=2))
    usual = list(orjson.loads(adapter.example))
    rows = draw(st.lists(st.sampled_from([*(own + rest for own, rest in shapes), usual, usual]), max_size=12))
    made = [{key: draw(_VALUES if draw(st.integers(0, 3)) == 0 else RICH) for key in row} for row in rows]
    # Rows by themselves are not worth a mould.
    return name, [row for row in made for _ in range(draw(st.sampled_from((1, casting_json.FEWEST))))]


def _block(rows: list[dict[str, Any]]) -> Block | None:
    found = [one for one in cut(b"\n".join(map(orjson.dumps, rows)), "jsonl") if isinstance(one, Block)]
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


@given(
    _files(),
    st.fixed_dictionaries(
        {},
        optional={
            "license": st.just("MIT"),
            "system": st.just("Be brief."),
            "task": st.just("t"),
            "where": st.just({"x": 1}),
            "group": st.just("x"),
        },
    ),
)
def test_rows_read_together_are_those_read_alone(file: tuple[str, list[dict[str, Any]]], said: dict[str, Any]) -> None:
    """Every adapter that moves texts: the same records with the same ids, findings and rejected rows, whatever the rows
    hold and the source says of them.
    """
    name, rows = file
    if (block := _block(rows)) is not None:
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
