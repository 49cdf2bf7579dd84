"""From settings to records: every row is a record, rejected, or not asked for, and keeps its place."""

from __future__ import annotations

import csv
import gzip
import json
import pickle
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from didact.canonical import content_hash
from didact.durable import sha256_file
from didact.errors import CallError, DataError, InputMissing, UnknownName
from didact.formats.registry import adapters, get
from didact.recipe.sources import Source
from didact.records import Chat, Record, Task
from didact.records.columns import to_table
from didact.records.findings import CODES, Finding
from didact.sources.blocks import Block
from didact.sources.read import BlockRead, plan_source, read, read_block, source_blocks

ALPACA = [{"instruction": f"do {i}", "input": "" if i % 2 else f"on {i}", "output": f"done {i}"} for i in range(20)]


def read_all(source: Source, folder: Path, block_bytes: int = 1 << 20) -> tuple[list[BlockRead], list[Finding]]:
    """Every block of a source, read, and the findings no block carries."""
    blocks: list[BlockRead] = []
    loose: list[Finding] = []
    for file, found in source_blocks(plan_source("s", source, folder), source, block_bytes):
        if isinstance(found, Block):
            # A pool of workers sends blocks this way; the bytes are our own.
            sent = pickle.loads(pickle.dumps(found))  # noqa: S301
            blocks.append(read_block(sent, file, source))
        else:
            loose.append(found)
    return blocks, loose


def records_of(source: Source, folder: Path, block_bytes: int = 1 << 20) -> list[Record]:
    """The records of a source."""
    return [record for block in read_all(source, folder, block_bytes)[0] for record in block.records]


def write_everywhere(rows: list[dict[str, Any]], folder: Path) -> dict[str, str]:
    """The same rows in every container; file names by container."""
    (folder / "a.json").write_text(json.dumps(rows, indent=1))
    (folder / "a.jsonl").write_bytes(b"\n".join(orjson.dumps(row) for row in rows))
    (folder / "a.json.gz").write_bytes(gzip.compress(json.dumps(rows).encode()))
    with (folder / "a.csv").open("w", newline="") as sheet:
        writer = csv.DictWriter(sheet, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return {name: name for name in ("a.json", "a.jsonl", "a.json.gz", "a.csv")}


@pytest.mark.parametrize("block_bytes", [64, 1 << 20])
@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.json.gz", "a.csv"])
def test_same_rows_in_any_container_are_the_same_records(tmp_path: Path, name: str, block_bytes: int) -> None:
    """Format and container are found, and records have equal contents and ids whatever the file and the block size."""
    write_everywhere(ALPACA, tmp_path)
    (file,) = plan_source("s", Source(path=name), tmp_path)
    assert (file.format, file.sha256) == ("alpaca", sha256_file(tmp_path / name))
    records = records_of(Source(path=name), tmp_path, block_bytes)
    assert [record.dialogue()[-1]["content"] for record in records] == [row["output"] for row in ALPACA]
    assert [record.id for record in records] == [
        Task(definition=row["instruction"], input=row["input"], outputs=[row["output"]]).content_id() for row in ALPACA
    ]


LINE = st.sampled_from(
    [
        b'{"instruction": "a", "input": "", "output": "b"}',
        b'{"instruction": "a", "input": "", "output": ""}',
        b'{"instruction": 5, "input": null, "output": "b", "id": 7}',
        b'{"instruction": "a", "output": ["b"]}',
        b'{"output": "b"}',
        b"5",
        b"{",
        b"\xff",
        b"",
    ]
)


@given(lines=st.lists(LINE, max_size=15), block_bytes=st.integers(1, 200))
def test_every_row_is_accounted_for(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], block_bytes: int
) -> None:
    """Rows are records plus rejected rows; each rejected one has an error, its place and its own bytes."""
    folder = tmp_path_factory.mktemp("rows")
    (folder / "x.jsonl").write_bytes(b"\n".join(lines))
    blocks, loose = read_all(Source(path="x.jsonl", format="alpaca"), folder, block_bytes)
    expected = [(number, line) for number, line in enumerate(lines, 1) if line]
    assert sum(block.rows for block in blocks) == len(expected)
    assert [finding.code for finding in loose] == ([] if expected else ["IO001"])
    seen: dict[int, int] = {}
    for block in blocks:
        assert block.rows == len(block.records) + len(block.rejected)
        assert len(block.records) == len(block.places)
        seen |= {place.index: place.line for place in block.places}
        for rejected in block.rejected:
            assert CODES[rejected.finding.code].severity == "error"
            assert rejected.raw == expected[rejected.finding.index][1]
            seen[rejected.finding.index] = rejected.finding.line
    assert seen == {index: number for index, (number, _) in enumerate(expected)}


def test_settings_of_the_source_stand_in_its_records(tmp_path: Path) -> None:
    """Licence, language, task, split, group and the source's name reach every record."""
    (tmp_path / "x.jsonl").write_bytes(orjson.dumps({"prompt": "a", "completion": "b", "page": 7}))
    source = Source(path="x.jsonl", license="MIT", language="en", task="t", split="train", group="page")
    (record,) = records_of(source, tmp_path)
    assert (record.source, record.license, record.language, record.task, record.split, record.group) == (
        "s",
        "MIT",
        "en",
        "t",
        "train",
        "7",
    )


def test_system_prompt_makes_conversations(tmp_path: Path) -> None:
    """A source's system prompt comes before every record's dialogue but where the author has one."""
    lines = [
        orjson.dumps({"instruction": "a", "input": "b", "output": "c"}),
        orjson.dumps({"instruction": "a", "input": "", "output": "c", "system": "mine"}),
    ]
    (tmp_path / "x.jsonl").write_bytes(b"\n".join(lines))
    first, second = records_of(Source(path="x.jsonl", system="Be brief."), tmp_path)
    assert isinstance(first, Chat)
    assert [turn["content"] for turn in first.dialogue()] == ["Be brief.", "a\n\nb", "c"]
    assert [turn["content"] for turn in second.dialogue()] == ["mine", "a", "c"]
    (tmp_path / "x.txt").write_text("Once.")
    with pytest.raises(CallError, match="plain text, which has no place for a system prompt"):
        plan_source("s", Source(path="x.txt", system="Be brief."), tmp_path)


def test_where_and_limit_choose_rows(tmp_path: Path) -> None:
    """`limit` takes the first rows over all files; `where` leaves rows out, counted; a cell equals what it spells."""
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text(
            "prompt,completion,n,on\n" + "".join(f"{name}{i},x,{i % 2},true\n" for i in range(6))
        )
    blocks, _ = read_all(Source(path="*.csv", limit=9), tmp_path, 32)
    assert sum(block.rows for block in blocks) == 9
    blocks, _ = read_all(Source(path="*.csv", where={"n": 1, "on": True}), tmp_path)
    assert [(block.rows, len(block.records), block.unselected) for block in blocks] == [(6, 3, 3), (6, 3, 3)]
    (tmp_path / "c.jsonl").write_text(
        '{"prompt": "a", "completion": "b", "n": 1}\n{"prompt": "a", "completion": "b", "n": true}\n'
    )
    assert len(records_of(Source(path="c.jsonl", where={"n": 1}), tmp_path)) == 1


def test_columns_are_renamed_before_reading(tmp_path: Path) -> None:
    """Mapped columns are read under the format's own names."""
    (tmp_path / "x.jsonl").write_text('{"query": "a", "reply": "b"}\n')
    (record,) = records_of(Source(path="x.jsonl", columns={"prompt": "query", "response": "reply"}), tmp_path)
    assert [turn["content"] for turn in record.dialogue()] == ["a", "b"]


def test_task_file_gives_header_and_records(tmp_path: Path) -> None:
    """A task file is one block whose records refer to the header that comes with it."""
    content = {
        "Definition": ["Sort."],
        "Instances": [{"input": f"{i}", "output": [f"{i}"]} for i in range(4)] + [{"input": "x"}],
        "Categories": ["c"],
    }
    (tmp_path / "task1.json").write_text(json.dumps(content, indent=1))
    (block,), loose = read_all(Source(path="task1.json"), tmp_path)
    assert loose == []
    (header,) = block.headers.values()
    assert [record.header for record in block.records] == [header.id] * 4
    assert [rejected.finding.code for rejected in block.rejected] == ["SC001"]
    assert b'"input": "x"' in block.rejected[0].raw


def test_unreadable_header_rejects_its_rows(tmp_path: Path) -> None:
    """When what a file says once is wrong, each of its rows is rejected with that reason."""
    (tmp_path / "task1.json").write_text(
        '{"Definition": [5], "Instances": [{"input": "a", "output": "b"}, {"input": "a", "output": "b"}]}'
    )
    (block,), _ = read_all(Source(path="task1.json"), tmp_path)
    assert [rejected.finding.code for rejected in block.rejected] == ["SC002", "SC002"]


def test_one_object_may_be_one_row(tmp_path: Path) -> None:
    """A file of one JSON object that holds no list of a known task format is one row."""
    (tmp_path / "x.json").write_text(json.dumps(ALPACA[0], indent=2))
    assert len(records_of(Source(path="x.json"), tmp_path)) == 1


def test_folder_may_mix_formats_and_hold_empty_files(tmp_path: Path) -> None:
    """Each file of a folder is recognised on its own; an empty one is a warning."""
    (tmp_path / "a.jsonl").write_bytes(orjson.dumps(ALPACA[0]))
    (tmp_path / "b.jsonl").write_text('{"question": "q", "answer": "#### 4"}')
    (tmp_path / "c.json").write_text("")
    blocks, loose = read_all(Source(path="."), tmp_path)
    assert [record.kind for block in blocks for record in block.records] == ["task", "qa"]
    assert [(finding.code, finding.path) for finding in loose] == [("IO001", "c.json")]


@pytest.mark.parametrize(
    ("name", "content", "settings", "told"),
    [
        ("x.jsonl", '{"q": "1"}', {}, "'x.jsonl': no format fits"),
        ("x.jsonl", '{"q": "1"}', {"format": "alpacca"}, "did you mean alpaca"),
        (
            "x.jsonl",
            '{"instruction": "a", "output": "b"}\n' * 2,
            {"format": "sni"},
            "holds|rows in 'Instances'; this file is jsonl",
        ),
        ("x.txt", "Once upon a time.", {"format": "alpaca"}, "needs rows with fields; this file is plain text"),
        ("x.bin", "a\0b", {}, "looks like binary data"),
        ("x.jsonl", '{"a": 1}', {"format": "gsm8k", "columns": {"prompt": "a"}}, "has no column 'prompt'"),
    ],
)
def test_bad_call_is_refused_before_reading(
    tmp_path: Path, name: str, content: str, settings: dict[str, Any], told: str
) -> None:
    """What cannot be read as asked is one line that names source, file and remedy, with exit code 2."""
    (tmp_path / name).write_text(content)
    with pytest.raises(CallError, match=told) as caught:
        plan_source("s", Source(path=name, **settings), tmp_path)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("odd", "told"), [(1, None), (2, "(1 more file of"), (4, "(3 more files of")])
def test_how_many_files_cannot_be_read_is_told_at_once(tmp_path: Path, odd: int, told: str | None) -> None:
    """One line names the first file that is in no known format, and how many others are in none."""
    (tmp_path / "good.jsonl").write_bytes(orjson.dumps(ALPACA[0]))
    for number in range(odd):
        (tmp_path / f"odd-{number}.jsonl").write_text('{"q": "1"}')
    with pytest.raises(CallError, match=r"'odd-0\.jsonl': no format fits") as caught:
        plan_source("s", Source(path="."), tmp_path)
    message = str(caught.value)
    assert told in message if told else "more file" not in message
    assert "\n" not in message


def test_missing_path_is_refused(tmp_path: Path) -> None:
    """A source whose file is not there names the path."""
    with pytest.raises(InputMissing, match=r"gone\.json"):
        plan_source("s", Source(path="gone.json"), tmp_path)


@pytest.mark.parametrize(
    "settings",
    [
        {"path": ""},
        {"path": []},
        {"path": "x", "columns": {"promt": "a"}},
        {"path": "x", "limit": 0},
        {"path": "x", "formt": "a"},
    ],
)
def test_source_settings_are_checked(settings: dict[str, Any]) -> None:
    """An empty path, an unknown column meaning, a limit of nothing and an unknown key are refused."""
    with pytest.raises(ValidationError):
        Source.model_validate(settings)


def test_api_reads_records_and_hides_nothing(tmp_path: Path) -> None:
    """`read` yields records; a rejected row raises unless a list takes the findings."""
    (tmp_path / "x.jsonl").write_bytes(orjson.dumps(ALPACA[0]) + b"\n{broken\n" + orjson.dumps(ALPACA[1]))
    findings: list[Finding] = []
    assert [record.id for record in read(tmp_path / "x.jsonl", findings=findings)] == [
        content_hash(
            [
                "task",
                [
                    ["definition", "user", row["instruction"]],
                    ["input", "user", row["input"]],
                    ["outputs/0", "assistant", row["output"]],
                ],
                None,
                None,
            ]
        )
        for row in ALPACA[:2]
    ]
    assert [(finding.code, finding.line) for finding in findings] == [("JS001", 2)]
    with pytest.raises(DataError, match="JS001"):
        list(read(tmp_path / "x.jsonl"))
    with pytest.raises(UnknownName):
        list(read(tmp_path / "x.jsonl", "alpacca"))
    with pytest.raises(CallError, match="limit"):
        list(read(tmp_path / "x.jsonl", limit=0))


HOSTILE_KEYS = sorted(
    {key for adapter in adapters().values() for key in (*adapter.columns.values(), *json.loads(adapter.example))}
    | {"role", "content", "from", "value", "type", "tool_calls", "function", "name", "arguments", "label", "history"}
)
DEEP_TEXT = st.integers(1, 1000).map(lambda depth: '[{"a":' * depth + "1" + "}]" * depth)
HOSTILE = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.just(1.5) | st.text(max_size=3) | DEEP_TEXT
    | st.sampled_from(["user", "assistant", "text", "tool_call", "[", "[1]", '[{"role": "user", "content": null}]']),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(HOSTILE_KEYS), inner, max_size=4),
    max_leaves=10,
)  # fmt: skip


@pytest.mark.parametrize("name", sorted(name for name, adapter in adapters().items() if adapter.list_key is None))
@settings(max_examples=60)
@given(values=st.lists(HOSTILE, min_size=1, max_size=4), data=st.data())
def test_no_row_stops_a_file(
    tmp_path_factory: pytest.TempPathFactory, name: str, values: list[Any], data: st.DataObject
) -> None:
    """Whatever JSON stands under the keys of a format, each row is a record that can be written, or rejected."""
    keys = sorted({*json.loads(get(name).example), *get(name).columns.values()})
    rows = [data.draw(st.fixed_dictionaries(dict.fromkeys(keys, HOSTILE), optional={})) for _ in values] + values
    path = tmp_path_factory.mktemp("hostile") / "x.jsonl"
    path.write_bytes(b"\n".join(map(orjson.dumps, rows)))
    blocks, _ = read_all(Source(path=path.name, format=name), path.parent)
    for block in blocks:
        assert block.rows == len(block.records) + len(block.rejected)
        to_table(block.records, block.places)


def test_json_inside_text_that_nests_too_deep_is_a_finding(tmp_path: Path) -> None:
    """Tools, calls and extra keys that hide their depth in a text are told like rows that show it."""
    deep: Any = "x"
    for _ in range(400):
        deep = {"a": deep}
    said = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    call = {"role": "function_call", "content": json.dumps({"name": "f", "arguments": deep})}
    rows = [
        {"messages": said, "tools": json.dumps([deep])},
        {"messages": [said[0], call]},
        {"messages": json.dumps([said[0], {**said[1], "x": deep}])},
    ]
    (tmp_path / "x.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (block,), _ = read_all(Source(path="x.jsonl", format="openai"), tmp_path)
    # What a call's text holds may stay a text; then nothing of it is nested.
    assert {0, 2} <= {one.finding.index for one in block.rejected} and block.rows == 3
    to_table(block.records, block.places)
    assert all(len(one.finding.pointer) < 200 for one in block.rejected)
