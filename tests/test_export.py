"""Exports: other programs read them, they hold what the version holds, and nothing half-written is left anywhere."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator
from tiny_recipe import build_tiny, bytes_of

from didact import validate
from didact.build.pipeline import build
from didact.cli import cli
from didact.durable import sha256_file
from didact.errors import CallError, CorruptVersion, DataError, UnknownName
from didact.store.version import Version

SCHEMAS = Path(__file__).parent.parent / "schemas"


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Version:
    """A version with a mix of answers and one of prose."""
    return build_tiny(tmp_path_factory.mktemp("export"))


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Version:
    """A version of conversations with tools, weights and preferences."""
    home = tmp_path_factory.mktemp("spoken")
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
    chat = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "One and one?"},
        {"role": "assistant", "content": "Let me see.", "tool_calls": [call], "weight": 0},
        {"role": "tool", "content": "2", "tool_call_id": "c1"},
        {"role": "assistant", "content": "Two.", "weight": 1},
    ]
    plain = [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Good day to you."}]
    rows = [{"messages": chat, "tools": [tool]}, {"messages": plain}]
    (home / "chats.jsonl").write_text("\n".join(map(json.dumps, rows)))
    pair = {"prompt": "Say red.", "chosen": "Red it is.", "rejected": "Blue."}
    (home / "pairs.jsonl").write_text(json.dumps(pair))
    sources = {name: {"path": str(home / f"{name}.jsonl"), "license": "MIT"} for name in ("chats", "pairs")}
    mixes = {"finetune": {"sources": {"chats": {"epochs": 1}}}, "preference": {"sources": {"pairs": {"epochs": 2}}}}
    recipe = {"name": "spoken", "store": str(home / "store"), "sources": sources, "mixes": mixes, "tokenizer": None}
    return build(recipe | {"split": {"validation": 0, "test": 0}}, workers=1)


def lines(path: Path) -> list[Any]:
    """The values of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def listing(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of an export but its own manifest."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "export.json")
    return {str(path.relative_to(folder)): sha256_file(path) for path in files}


@pytest.mark.parametrize("to", ["hf", "jsonl", "messages"])
def test_every_file_is_listed_with_its_hash(spoken: Version, tmp_path: Path, to: str) -> None:
    """export.json names each file with the SHA-256, size and rows it has; the version is as it was."""
    before = bytes_of(spoken)
    done = spoken.export(tmp_path / "out", to, ["finetune"])
    told = json.loads((tmp_path / "out" / "export.json").read_text())
    assert told == json.loads(json.dumps(done.as_json())) and told["version"] == f"spoken@{spoken.path.name}"
    assert {file["path"]: file["sha256"] for file in told["files"]} == listing(tmp_path / "out")
    assert all((tmp_path / "out" / file["path"]).stat().st_size == file["bytes"] for file in told["files"])
    assert bytes_of(spoken) == before


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("streaming", [False, True])
def test_a_dataset_folder_loads_offline(
    version: Version, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, streaming: bool
) -> None:
    """`datasets.load_dataset(folder, mix)` gives the rows of every split in training order, streamed or not."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    version.export(tmp_path / "out", "hf")
    for mix, entry in version.manifest.mixes.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = datasets.load_dataset(str(tmp_path / "out"), mix, streaming=streaming)
            ids = {split: [row["id"] for row in found[split]] for split in found}
        assert ids == {split: version.table(mix, split)["id"].to_pylist() for split, rows in entry.rows.items() if rows}


def test_a_dataset_folder_holds_the_chosen_mixes_only(version: Version, tmp_path: Path) -> None:
    """One mix alone is its shards and a card that names no other; lost rows are not given away."""
    version.export(tmp_path / "out", "hf", ["pretrain"])
    files = {
        str(path.relative_to(version.path))
        for s in ("train", "validation", "test")
        for path in version.shards("pretrain", s)
    }
    assert set(listing(tmp_path / "out")) == {"README.md", *files}
    readme = (tmp_path / "out" / "README.md").read_text()
    assert "data/pretrain/train" in readme and "data/finetune" not in readme and "`export.json`" in readme


def test_records_are_valid_and_complete(version: Version, tmp_path: Path) -> None:
    """Every line of a jsonl export is valid under the published schema of its kind, and is the record of its row."""
    version.export(tmp_path / "out", "jsonl")
    for mix, entry in version.manifest.mixes.items():
        for split in entry.rows:
            records = lines(tmp_path / "out" / mix / f"{split}.jsonl")
            assert records == [json.loads(text) for text in version.table(mix, split)["record"].to_pylist()]
            for record in records:
                schema = json.loads((SCHEMAS / f"{record['kind']}.schema.json").read_text())
                Draft202012Validator(schema).validate(record)


def test_headers_go_with_records(tmp_path: Path) -> None:
    """What a file says once is exported beside the records that refer to it, valid under its schema."""
    task = {
        "Definition": ["Turn the number into a word."],
        "Positive Examples": [{"input": "1", "output": "one", "explanation": "-"}],
        "Negative Examples": [],
        "Instances": [{"id": f"t-{n}", "input": f"The number {n}", "output": [f"word {n}"]} for n in range(4)],
    }
    (tmp_path / "task1_numbers.json").write_text(json.dumps(task))
    recipe = {"name": "h", "store": str(tmp_path / "s"), "tokenizer": None, "split": {"validation": 0, "test": 0}}
    version = build(
        recipe | {"sources": {"a": {"path": str(tmp_path / "task1_numbers.json"), "format": "sni"}}}, workers=1
    )
    version.export(tmp_path / "out", "jsonl")
    (header,) = lines(tmp_path / "out" / "headers.jsonl")
    Draft202012Validator(json.loads((SCHEMAS / "header.schema.json").read_text())).validate(header)
    assert header["definition"] == task["Definition"]
    assert {record["header"] for record in lines(tmp_path / "out" / "finetune" / "train.jsonl")} == {header["id"]}


def test_messages_are_openai_lines(spoken: Version, tmp_path: Path) -> None:
    """Chats have messages and tools as the API spells them, calls as objects and weights as integers; pairs their three
    parts; every repeat is a line.
    """
    spoken.export(tmp_path / "out", "messages")
    chats = sorted(lines(tmp_path / "out" / "finetune" / "train.jsonl"), key=len)
    assert chats[0] == {
        "messages": [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Good day to you."}]
    }
    assert [tool["function"]["name"] for tool in chats[1]["tools"]] == ["add"]
    asked, answered = chats[1]["messages"][2], chats[1]["messages"][3]
    assert asked["tool_calls"] == [
        {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    ]
    assert asked["weight"] == 0 and isinstance(asked["weight"], int)
    assert answered == {"role": "tool", "content": "2", "tool_call_id": "c1"}
    pairs = lines(tmp_path / "out" / "preference" / "train.jsonl")
    assert pairs == 2 * [
        {
            "input": {"messages": [{"role": "user", "content": "Say red."}]},
            "preferred_output": [{"role": "assistant", "content": "Red it is."}],
            "non_preferred_output": [{"role": "assistant", "content": "Blue."}],
        }
    ]


def test_messages_are_read_again_without_a_finding(spoken: Version, tmp_path: Path) -> None:
    """`didact validate` reads the exported chats as the OpenAI format and finds nothing wrong."""
    spoken.export(tmp_path / "out", "messages", ["finetune"])
    report = validate(tmp_path / "out" / "finetune" / "train.jsonl")
    assert report.files[0].format == "openai" and report.files[0].valid == 2 and report.clean()


def test_a_third_party_format_reads_back(version: Version, tmp_path: Path) -> None:
    """An Alpaca export of Alpaca rows is read again as the same contents."""
    from didact import read

    only = build_tiny(tmp_path, mixes={"finetune": {"sources": {"stories": {"epochs": 1}}}})
    done = only.export(tmp_path / "out", "alpaca")
    again = [record.with_texts([text.text for text in record.texts()]).content_id()
             for record in read(tmp_path / "out" / "finetune" / "train.jsonl", "alpaca")]  # fmt: skip
    assert again == only.table("finetune")["id"].to_pylist() and not done.lost and not done.left_out
    assert json.loads((tmp_path / "out" / "export.json").read_text())["licenses"] == {"stories": "CC0-1.0"}


WRAPPED: dict[str, dict[str, Any]] = {
    "sni": {
        f"task00{number}_sorting.json": {
            "Definition": [f"Sort {number} numbers."],
            "Positive Examples": [{"input": "2 1", "output": "1 2", "explanation": "By size."}],
            "Negative Examples": [],
            "Categories": ["Sorting"],
            "URL": ["somewhere"],
            "Instances": [{"id": f"{number}-{n}", "input": f"{n} 1", "output": [f"1 {n}"]} for n in range(2, 7)],
        }
        for number in (1, 2)
    },
    "bbh": {
        "negation.json": {
            "canary": "canary GUID 1",
            "examples": [{"input": f"not True and {n} is", "target": "False"} for n in range(5)],
        }
    },
    "squad": {
        "dev.json": {
            "version": "v2.0",
            "data": [
                {
                    "title": title,
                    "paragraphs": [
                        {
                            "context": f"{title} is a town of {n} people.",
                            "qas": [
                                {"id": f"{title}{n}", "question": f"How many live in {title}?", "answers": [
                                    {"text": str(n), "answer_start": len(f"{title} is a town of ")}]},
                                {"id": f"{title}{n}x", "question": "Who is mayor?", "answers": [],
                                 "is_impossible": True},
                            ],
                        }
                        for n in (300, 4000)
                    ],
                }
                for title in ("Ahlen", "Bonn")
            ],
        }
    },
    "self_instruct": {
        "seeds.jsonl": {
            "id": "seed_task_0",
            "name": "sorting",
            "instruction": "Sort the letters.",
            "instances": [{"input": f"b a {n}", "output": f"a b {n}"} for n in range(4)],
            "is_classification": False,
        }
    },
}  # fmt: skip
"""Files of formats that wrap their rows."""


@pytest.mark.parametrize("to", WRAPPED)
def test_formats_that_wrap_rows_read_back(to: str, tmp_path: Path) -> None:
    """What was read from files of a nesting format is exported into such files, and reads as the same records."""
    from didact import read

    (tmp_path / "in").mkdir()
    for name, content in WRAPPED[to].items():
        (tmp_path / "in" / name).write_text(json.dumps(content))
    recipe = {
        "name": "wrapped", "store": str(tmp_path / "store"), "tokenizer": None, "dedup": {"minhash": None},
        "sources": {"own": {"path": str(tmp_path / "in"), "format": to}}, "split": {"validation": 0, "test": 0},
        "mixes": {"finetune": {"sources": {"own": {"epochs": 2}}}},
    }  # fmt: skip
    version = build(recipe, workers=1)
    done = version.export(tmp_path / "out", to)
    assert not done.lost and not done.left_out
    assert done.mixes["finetune"]["train"] == version.table("finetune").num_rows == sum(f.rows for f in done.files)
    written = [path for path in sorted((tmp_path / "out" / "finetune").rglob("*")) if path.is_file()]
    given = Counter(record.canonical() for record in read(tmp_path / "in", to))
    again = Counter(record.canonical() for path in written for record in read(path, to))
    assert len(again) == len(given) > 3 and set(again.values()) == {2}
    assert {one.content_id() for one in read(tmp_path / "in", to)} == {
        one.content_id() for path in written for one in read(path, to)
    }
    if to == "sni":
        assert [path.name for path in written] == list(WRAPPED["sni"])
        assert (
            json.loads(written[0].read_text())["Positive Examples"]
            == WRAPPED["sni"][written[0].name]["Positive Examples"]
        )


def test_objects_too_large_to_be_held_become_several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of one task that are more than is held at once stand in further folders under the same name."""
    from didact import read

    monkeypatch.setattr("didact.store.foreign._HELD", 600)
    only = build_tiny(tmp_path, mixes={"finetune": {"sources": {"sums": {"epochs": 1}}}})
    done = only.export(tmp_path / "out", "bbh")
    names = [file.path for file in done.files if file.path.startswith("finetune/train")]
    assert names[0] == "finetune/train/part-00001/rows.json" and names[-1] == "finetune/train/rows.json"
    asked = [vars(record)["input"] for name in names for record in read(tmp_path / "out" / name, "bbh")]
    records = map(json.loads, only.table("finetune")["record"].to_pylist())
    assert sorted(asked) == sorted(record["question"] for record in records) and len(names) == 3
    assert sum(file.rows for file in done.files) == sum(only.manifest.mixes["finetune"].rows.values())


def test_loss_is_refused_or_counted(version: Version, tmp_path: Path) -> None:
    """A format that cannot hold the records is one error that names the first; with leave, what is lost is counted and
    rows in = lines + left out.
    """
    with pytest.raises(DataError, match=r"record [0-9a-f]{32}: format 'gsm8k' does not hold .*--allow-loss"):
        version.export(tmp_path / "out", "gsm8k")
    assert list(tmp_path.iterdir()) == []
    done = version.export(tmp_path / "out", "gsm8k", allow_loss=True)
    written = sum(len(lines(path)) for path in (tmp_path / "out").rglob("*.jsonl"))
    rows = sum(sum(mix.rows.values()) for mix in version.manifest.mixes.values())
    assert done.lost and written + done.left_out == rows
    assert written == sum(sum(splits.values()) for splits in done.mixes.values())


def test_what_is_there_is_not_written_over(version: Version, tmp_path: Path) -> None:
    """A folder that holds something, a file, and a place inside the version are refused; an empty folder is taken."""
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine").write_text("mine")
    for place in (full, full / "mine", version.path / "data" / "new", version.path):
        with pytest.raises(CallError):
            version.export(place, "jsonl")
    assert listing(full) == {"mine": sha256_file(full / "mine")} and version.verify() == []
    (tmp_path / "empty").mkdir()
    version.export(tmp_path / "empty", "jsonl")
    assert listing(tmp_path / "empty")


def test_what_does_not_fit_is_a_bad_call(version: Version, tmp_path: Path) -> None:
    """Unknown formats and mixes, formats that are only read, and prose as messages are told before anything is done."""
    for to, mixes, told in (
        ("parqet", None, "unknown export format 'parqet'"),
        ("jsonl", ["fintune"], "unknown mix 'fintune'; did you mean finetune"),
        ("bare_text", None, "unknown export format"),
    ):
        with pytest.raises(UnknownName, match=told):
            version.export(tmp_path / "out", to, mixes)
    with pytest.raises(CallError, match="is for pre-training"):
        version.export(tmp_path / "out", "messages", ["pretrain"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("to", ["hf", "jsonl"])
def test_a_damaged_version_is_not_exported(tmp_path: Path, to: str) -> None:
    """A shard that is not what the manifest says ends the export, which leaves nothing behind."""
    version = build_tiny(tmp_path)
    shard = version.shards("finetune", "validation")[0]
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    with pytest.raises(CorruptVersion, match="not what the manifest says"):
        version.export(tmp_path / "deep" / "out", to)
    assert list((tmp_path / "deep").iterdir()) == []


KILLED = """
import os, signal, sys
from didact.store import export
from didact.store.version import Version
def killed(path, content):
    os.kill(os.getpid(), signal.SIGKILL)
export.write_json = killed
Version.open(sys.argv[1]).export(sys.argv[2], "jsonl")
"""


def test_a_killed_export_leaves_no_folder_of_that_name(version: Version, tmp_path: Path) -> None:
    """Killed before its last file, an export is not there; the same call succeeds afterwards."""
    command = [sys.executable, "-c", KILLED, str(version.path), str(tmp_path / "out")]
    assert subprocess.run(command, check=False, env=dict(os.environ)).returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    assert version.export(tmp_path / "out", "jsonl").files


def test_the_command_exports(version: Version, tmp_path: Path) -> None:
    """`didact export` writes what the API writes and tells rows, or one JSON object."""
    arguments = ["export", str(version.path), str(tmp_path / "a"), "--to", "jsonl", "--mix", "finetune"]
    told = CliRunner().invoke(cli, arguments)
    assert told.exit_code == 0 and "finetune" in told.stdout and "train" in told.stdout
    arguments[2] = str(tmp_path / "b")
    answer = json.loads(CliRunner().invoke(cli, [*arguments, "--json"]).stdout)
    assert answer["mixes"] == {"finetune": version.manifest.mixes["finetune"].rows}
    assert listing(tmp_path / "a") == listing(tmp_path / "b")
