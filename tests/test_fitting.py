"""Files that name things in their own way are read as docs/fitting.md says."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import didact
from didact.cli import cli
from didact.cli.options import names_option
from didact.errors import CallError
from didact.formats.pointers import lifted, value_at
from didact.recipe.sources import Source
from didact.records import QA, Record
from didact.records.findings import Finding
from didact.sources.blocks import Block
from didact.sources.read import plan_source, read_block, source_blocks

PAGE = (Path(__file__).parent.parent / "docs" / "fitting.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)(?: (\S+))?\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
FILES = {name: content for _, name, content in BLOCKS if name}
SOURCES = {
    name: given for kind, _, content in BLOCKS if kind == "yaml" for name, given in yaml.safe_load(content).items()
}
EXPECTED = dict(zip(SOURCES, (json.loads(content) for kind, _, content in BLOCKS if kind == "json"), strict=True))


def records_of(source: Source, folder: Path) -> list[Record]:
    """The records of a source, none of whose rows is rejected."""
    found = [*source_blocks(plan_source("s", source, folder), source, 64)]
    reads = [read_block(block, file, source) for file, block in found if isinstance(block, Block)]
    assert [one.finding for read in reads for one in read.rejected] == []
    return [record for read in reads for record in read.records]


def shown(record: Record) -> list[list[str]]:
    """A record's turns or, when nobody speaks, its texts."""
    turns = [[turn["role"], turn["content"]] for turn in record.dialogue()]
    return turns or [[text.role, text.text] for text in record.texts()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files of the page."""
    for name, content in FILES.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_the_examples_of_the_page_are_read_as_printed(folder: Path, name: str) -> None:
    """Each file and source of the page gives the records that the page prints, in kind, turns and all else it shows."""
    records = records_of(Source.model_validate(SOURCES[name]), folder)
    assert [shown(record) for record in records] == [told["turns"] for told in EXPECTED[name]]
    for record, told in zip(records, EXPECTED[name], strict=True):
        assert {key: getattr(record, key) for key in told if key != "turns"} | {"turns": told["turns"]} == told


def test_the_sources_of_the_page_build(folder: Path) -> None:
    """One recipe of all sources of the page becomes a version that accounts for every row."""
    recipe = {"name": "fitted", "sources": SOURCES, "split": {"validation": 0, "test": 0}, "tokenizer": None}
    recipe |= {"dedup": {"exact": False, "minhash": None}}
    (folder / "recipe.json").write_text(json.dumps(recipe), encoding="utf-8")
    version = didact.build(folder / "recipe.json", workers=1)
    read = {account.source: account for account in version.manifest.accounting if account.stage == "read"}
    assert {name: account.kept for name, account in read.items()} == {name: len(EXPECTED[name]) for name in SOURCES}
    assert {name: account.dropped for name, account in read.items() if account.dropped} == {
        "nested": {"where": 1},
        "rated": {"where": 1},
    }
    assert all(account.rejected == {} for account in read.values())
    assert read["rated"].rows_in == 3


# --- Columns without a line of names ---------------------------------------------------------------------------------


CELL = st.text(st.sampled_from(['"', ",", "\n", "a", "é", "'", " ", "\t"]), max_size=5)


@given(rows=st.lists(st.tuples(CELL, CELL, CELL.filter(bool)), min_size=1, max_size=6), tabs=st.booleans())
def test_every_line_of_a_headless_sheet_is_a_row(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]], tabs: bool
) -> None:
    """Rows written without a header come back whole, the first one too, whatever their cells hold."""
    sheet = io.StringIO()
    delimiter = "\t" if tabs else ","
    csv.writer(sheet, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    path = tmp_path_factory.mktemp("sheets") / ("x.tsv" if tabs else "x.csv")
    path.write_text(sheet.getvalue(), encoding="utf-8", newline="")
    source = Source(path=str(path), format="qa", names=["question", "answer", "note"])
    blocks = [(file, found) for file, found in source_blocks(plan_source("s", source, path.parent), source, 16)]
    reads = [read_block(found, file, source) for file, found in blocks if isinstance(found, Block)]
    assert sum(read.rows for read in reads) == len(rows)
    kept = [record for read in reads for record in read.records if isinstance(record, QA)]
    assert [(record.question, record.answers[0].text) for record in kept] == [row[:2] for row in rows]


def test_a_row_with_another_number_of_cells_is_rejected(tmp_path: Path) -> None:
    """A headless row with a cell too many is rejected at its line, and the others are read."""
    (tmp_path / "x.tsv").write_text("a\tb\nc\td\te\nf\tg\n", encoding="utf-8")
    findings: list[Finding] = []
    read = list(didact.read(tmp_path / "x.tsv", names=["question", "answer"], findings=findings))
    assert [text.text for record in read for text in record.texts()] == ["a", "b", "f", "g"]
    assert [(found.code, found.line) for found in findings] == [("CS001", 2)]
    assert "3 cells where 2 columns have a name" in findings[0].message


@pytest.mark.parametrize("names", [["a", "a"], ["a", ""], ['a"b'], ["a\tb"], ["a\nb"]])
def test_names_that_cannot_be_meant_are_refused(names: list[str]) -> None:
    """Empty and repeated names, and names that no header row could spell plainly, are refused."""
    with pytest.raises(ValidationError):
        Source(path="x.csv", names=names)


def test_names_are_refused_for_files_that_have_keys(tmp_path: Path) -> None:
    """A JSON file with `names` is a mistake of the call, told in one line."""
    (tmp_path / "x.jsonl").write_text('{"prompt": "a", "completion": "b"}\n' * 2, encoding="utf-8")
    with pytest.raises(CallError, match=r"'x\.jsonl': is jsonl; 'names' are for CSV and TSV files"):
        plan_source("s", Source(path="x.jsonl", names=["prompt", "completion"]), tmp_path)


@pytest.mark.parametrize(
    ("given", "names"),
    [([], []), (["--names", "question, answer"], ["question", "answer"]), (["--names", "a,,b"], None)],
)
def test_names_on_the_command_line(given: list[str], names: list[str] | None) -> None:
    """`--names` takes names between commas, and refuses one that is empty."""

    @click.command()
    @names_option
    def tell(names: list[str]) -> None:
        click.echo(json.dumps(names))

    result = CliRunner().invoke(tell, given)
    assert (result.exit_code, json.loads(result.stdout) if names is not None else None) == (2 * (names is None), names)


# --- Values inside a row ---------------------------------------------------------------------------------------------


KEYS = st.text(st.sampled_from("ab/~0"), min_size=1, max_size=3)
TREES = st.recursive(
    st.integers() | st.none(),
    lambda inner: st.lists(inner, min_size=1, max_size=3) | st.dictionaries(KEYS, inner, min_size=1, max_size=3),
    max_leaves=6,
)


def spelt(way: list[Any]) -> str:
    """A JSON pointer as RFC 6901 escapes it, without its first slash."""
    return "/".join(str(step).replace("~", "~0").replace("/", "~1") for step in way)


@given(row=st.dictionaries(KEYS, TREES, min_size=1, max_size=3), data=st.data(), slash=st.booleans())
def test_a_path_leads_to_its_value(row: dict[str, Any], data: st.DataObject, slash: bool) -> None:
    """Every value below the first level is found by its JSON pointer, taken out by it, and nothing else changes."""
    before = json.dumps(row)
    way: list[Any] = [data.draw(st.sampled_from(sorted(row)))]
    value = row[way[0]]
    while isinstance(value, list | dict) and (len(way) < 2 or data.draw(st.booleans())):
        way.append(data.draw(st.sampled_from(list(value) if isinstance(value, dict) else range(len(value)))))
        value = value[way[-1]]
    path = ("/" if slash else "") + spelt(way)
    if len(way) < 2 or path in row:
        return
    assert value_at(row, path) == value
    rest, found = lifted(row, {"own": path})
    assert (found, json.dumps(row)) == ({"own": value}, before)
    holder: Any = rest
    for step in way[:-1]:
        holder = holder[step]
    if isinstance(holder, list):
        assert holder[way[-1]] is None
    else:
        assert way[-1] not in holder
    holder[way[-1]] = value
    assert rest == row


@pytest.mark.parametrize("path", ["a/x", "a/b/c", "b/2", "b/-1", "b/01x", "x/y", "/"])
def test_a_path_that_leads_nowhere_takes_nothing(path: str) -> None:
    """A missing key, an index past the end or a step into a number leaves the row as it is."""
    row = {"a": {"b": 1}, "b": [1, 2]}
    assert value_at(row, path) is None
    assert lifted(row, {"own": path}) == (row, {})


def test_a_mapped_value_is_not_kept_twice(tmp_path: Path) -> None:
    """A value that a path took from a row does not stand in the record's origin again; what was beside it does."""
    (tmp_path / "x.jsonl").write_text('{"d": {"q": "Who?", "n": 1}, "answer": "I.", "question": "other"}\n')
    (record,) = didact.read(tmp_path / "x.jsonl", "qa", columns={"question": "d/q"})
    assert isinstance(record, QA) and record.origin is not None
    assert record.question == "Who?"
    assert record.origin.extra == {"d": {"n": 1}, "question#2": "other"}


# --- On the command line ---------------------------------------------------------------------------------------------


def _validated(*arguments: object) -> dict[str, Any]:
    result = CliRunner().invoke(cli, ["validate", *map(str, arguments), "--json"])
    assert result.exit_code in (0, 1), result.output
    report: dict[str, Any] = json.loads(result.stdout)
    return report


def test_validate_takes_names_and_paths(folder: Path) -> None:
    """`--names` and `--columns` fit a headless sheet and nested rows on the command line as in a recipe."""
    sheet = _validated(folder / "claims.tsv", "--names", "question,answer,rationale")
    assert (sheet["valid"], sheet["rejected"], sheet["files"][0]["format"]) == (2, 0, "qa")
    pairs = _validated(
        folder / "pairs.csv", "--names", "ask,say", "--columns", "prompt=ask", "--columns", "response=say"
    )
    assert (pairs["valid"], pairs["rejected"]) == (2, 0)
    mapped = ["--columns", "question=data/question", "--columns", "answer=turns/0/said", "--where", "meta/lang=en"]
    nested = _validated(folder / "nested.jsonl", *mapped)
    assert (nested["records"], nested["valid"]) == (1, 1)


@pytest.mark.parametrize(
    ("name", "content", "settings", "fixed"),
    [
        (
            "x.tsv",
            "Go.\t<noinput>\tGone.\nStay.\tn/a\tHere.\n",
            ["--names", "instruction,input,output"],
            "Go.\t\tGone.\nStay.\t\tHere.\n",
        ),
        (
            "x.jsonl",
            '{"d": {"i": 1.50, "n": 1.50}, "instruction": "Go.", "output": "Gone."}\n' * 2,
            ["--format", "alpaca", "--columns", "input=d/i"],
            '{"d": {"i": "1.5", "n": 1.50}, "instruction": "Go.", "output": "Gone."}\n' * 2,
        ),
    ],
)
def test_fixes_reach_what_is_fitted(tmp_path: Path, name: str, content: str, settings: list[str], fixed: str) -> None:
    """`--fix` corrects the first line of a headless sheet, and a value inside a row at its own place."""
    (tmp_path / name).write_text(content, encoding="utf-8")
    given = ["validate", str(tmp_path / name), *settings, "--fix", str(tmp_path / f"fixed-{name}")]
    result = CliRunner().invoke(cli, given)
    assert result.exit_code == 0, result.output
    assert (tmp_path / f"fixed-{name}").read_text(encoding="utf-8") == fixed
