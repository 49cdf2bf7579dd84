"""Rows in memory: the same records as from a file, found by their number, in bounded memory."""

from __future__ import annotations

import datetime
import decimal
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import didact
from didact.errors import CallError, DataError
from didact.records import Record
from didact.records.findings import Finding
from didact.sources.memory import as_paths, rows_of
from didact.sources.spool import Spool, spelt_row

ROWS: list[dict[str, Any]] = [
    {"instruction": "Sort.", "input": "3 1", "output": "1 3"},
    {"instruction": "Add.", "input": "1 2", "output": "3", "tags": ["sum"]},
]


def contents(given: Any, **settings: Any) -> list[dict[str, Any]]:
    """What the records of something hold."""
    return [record.model_dump() for record in didact.read(given, **settings)]


@pytest.fixture
def from_file(tmp_path: Path) -> list[dict[str, Any]]:
    """What the records of the same rows hold, read from a file."""
    (tmp_path / "x.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    return contents(tmp_path / "x.jsonl")


@pytest.mark.parametrize(
    "given",
    [
        ROWS,
        tuple(ROWS),
        iter(ROWS),
        (row for row in ROWS),
        datasets.Dataset.from_list(ROWS[:1]),
        datasets.Dataset.from_list(ROWS[:1]).to_iterable_dataset(),
        datasets.Dataset.from_list([*ROWS[::-1]]).select([1]).select_columns(["instruction", "input", "output"]),
        pd.DataFrame(ROWS[:1]),
    ],
    ids=["list", "tuple", "iterator", "generator", "Dataset", "IterableDataset", "selected", "DataFrame"],
)
def test_rows_in_memory_are_the_records_of_a_file(given: Any, from_file: list[dict[str, Any]]) -> None:
    """Whatever holds the rows, the records are those of the same rows in JSON lines."""
    found = contents(given)
    assert found == from_file[: len(found)]
    assert found


def test_splits_of_a_dict_of_data_sets_reach_the_records() -> None:
    """A DatasetDict's splits stand in the records, streamed or not; findings name them."""
    made = datasets.DatasetDict(
        {"test": datasets.Dataset.from_list(ROWS[:1]), "train": datasets.Dataset.from_list([*ROWS, {"output": "x"}])}
    )
    for rows in (
        made,
        datasets.IterableDatasetDict({name: split.to_iterable_dataset() for name, split in made.items()}),
    ):
        findings: list[Finding] = []
        assert [record.split for record in didact.read(rows, findings=findings)] == ["test", "train", "train", "train"]
        assert {(one.path, one.index) for one in findings} == {("<rows>/train", 2)}
        assert {one.code for one in findings} == {"SC005", "CO001"}


def test_findings_name_the_row_by_its_number() -> None:
    """A bad row is found by its place in the list, under a name of the caller's choice."""
    given = [*ROWS, {"output": "x"}, 5]
    report = didact.validate(given, "alpaca", name="answers")
    assert [(one.code, one.path, one.index) for one in report.located] == [
        ("SC001", "answers", 2),
        ("JS002", "answers", 3),
    ]
    assert (report.files[0].records, report.files[0].valid) == (4, 2)
    with pytest.raises(DataError, match=r"<rows>:3: SC001"):
        contents(given, format="alpaca")


def test_a_table_of_pandas_keeps_what_cells_mean() -> None:
    """Missing cells of any kind are null, times are spelt, lists stay lists, and NumPy's numbers are numbers."""
    frame = pd.DataFrame(
        {
            "prompt": ["a", None, "c"],
            "completion": pd.array(["x", "y", pd.NA], dtype="string"),
            "score": [1.5, np.nan, 2],
            "count": pd.array([1, pd.NA, 2**60], dtype="Int64"),
            "at": pd.to_datetime(pd.Series(["2024-05-01 12:30", None, "2024-05-02 01:00"]), utc=True),
            "tags": [["p", "q"], None, np.array(["r"], dtype=object)],
            "kind": pd.Categorical(["k", "k", None]),
            7: [np.int64(7), np.float32(0.5), True],
        }
    )
    named = rows_of(frame)
    assert named is not None
    found = [json.loads(spelt_row(row, "x")) for row in named[0].rows]
    day = "2024-05-01T12:30:00+00:00"
    assert found[0] == {
        "prompt": "a", "completion": "x", "score": 1.5, "count": 1, "at": day, "tags": ["p", "q"], "kind": "k", "7": 7,
    }  # fmt: skip
    assert found[1] == {
        "prompt": None, "completion": "y", "score": None, "count": None, "at": None, "tags": None,
        "kind": "k", "7": 0.5,
    }  # fmt: skip
    assert (found[2]["completion"], found[2]["count"], found[2]["tags"], found[2]["7"]) == (None, 2**60, ["r"], True)


def test_conversations_in_a_table_are_read() -> None:
    """Lists of messages in cells become conversations, as they come from a file or from Arrow."""
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]
    frame = pd.DataFrame({"messages": [turns, np.array(turns, dtype=object)]})
    first, second = didact.read(frame)
    assert first.kind == "chat"
    assert [turn["content"] for turn in first.dialogue()] == ["Hi", "Hello."]
    assert first.id == second.id


def test_rows_of_an_iterator_are_never_held_together() -> None:
    """Twenty megabytes of rows that come one by one pass through less than one."""
    import tracemalloc

    made = ({"text": "a" * 1000 + str(number)} for number in range(20_000))
    with Spool() as spool:
        spool.write("warm", [])
        tracemalloc.start()
        (folder,) = as_paths(made, spool)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert (Path(folder) / "<rows>").read_bytes().count(b"\n") == 20_000
    assert peak < 1_000_000


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), JSON))
def test_json_values_are_written_as_they_are(row: dict[str, Any]) -> None:
    """What is JSON already comes back equal, large integers and all characters included, on one line."""
    line = spelt_row(row, "x")
    assert b"\n" not in line
    assert json.loads(line) == row


def test_values_that_json_lacks_are_spelt() -> None:
    """Times, decimals and identifiers become text, bytes base 64, not-a-number and NaT null."""
    row = {
        "at": datetime.datetime(2024, 5, 1, 12, 30),
        "day": datetime.date(2024, 5, 1),
        "span": datetime.timedelta(seconds=90),
        "amount": decimal.Decimal("1.50"),
        "id": uuid.UUID(int=1),
        "raw": b"\xff\x00",
        "gone": [float("nan"), pd.NaT],
        "array": np.arange(3),
    }
    assert json.loads(spelt_row(row, "x")) == {
        "at": "2024-05-01T12:30:00",
        "day": "2024-05-01",
        "span": "0:01:30",
        "amount": "1.50",
        "id": "00000000-0000-0000-0000-000000000001",
        "raw": "/wA=",
        "gone": [None, None],
        "array": [0, 1, 2],
    }


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"instruction": "a"}, "a dict is one row"),
        (5, "a int is neither a path nor rows"),
        (iter(["a.jsonl"]), "give paths as a list"),
        ([5], "the first row is a number"),
        ([{"a": object()}], "<rows>, row 0: cannot be written as JSON"),
        ([{"a": {1, 2}}], "a set is no value of a row"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "two columns of the table have the same name"),
    ],
)
def test_what_are_no_rows_is_refused(given: Any, told: str) -> None:
    """A call with something else is one line that says what was given and what is wanted."""
    with pytest.raises(CallError, match=told):
        didact.validate(given)


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".x", "a\0b"])
def test_names_cannot_lead_out_of_the_spool(name: str) -> None:
    """Rows are never written beside the folder made for them, whatever they are called."""
    with pytest.raises(CallError, match="cannot name rows"):
        didact.validate(ROWS, name=name)


def rows_that_fail() -> Iterator[dict[str, Any]]:
    """Rows whose author raises midway."""
    yield ROWS[0]
    raise ZeroDivisionError


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that rows were written into are gone when reading ends, fails or is given up."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert len(list(didact.read(ROWS))) == 2
    with pytest.raises(ZeroDivisionError):
        list(didact.read(rows_that_fail()))
    given_up: Iterator[Record] = didact.read(ROWS)
    next(given_up)
    assert len(list(tmp_path.iterdir())) == 1
    del given_up
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    """A spool whose process is gone is removed by the next one; that of a living process is not."""
    with Spool(tmp_path) as living:
        abandoned = tmp_path / "didact-spool-abandoned"
        abandoned.mkdir()
        (abandoned / "lock").touch()
        (abandoned / "rows").touch()
        kept = living.folder
        assert abandoned.exists() is False
        with Spool(tmp_path) as other:
            assert other.folder != kept
            assert kept.exists()
    assert list(tmp_path.iterdir()) == []
