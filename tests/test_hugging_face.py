"""Data sets of Hugging Face's library: saved folders, repositories, the hub; its own rows are what is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import fsspec
import pyarrow.parquet as pq
import pytest
from tiny_sources import source

import didact
from didact.errors import CallError
from didact.records import Chat, Record
from didact.records.findings import Finding
from didact.sources import hub
from didact.sources.elsewhere import Elsewhere, fetched_files
from didact.sources.files import list_files
from didact.sources.plan import plan_source

ALPACA = [{"instruction": f"do {i}", "input": "", "output": f"done {i}"} for i in range(50)]
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": {"city": "Ulm"}}}
OTHER_CALL = {"id": "2", "type": "function", "function": {"name": "g", "arguments": {"days": 3}}}
CHATS: list[dict[str, Any]] = [
    {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello.", "weight": 1.0}]},
    {"messages": [{"role": "user", "content": "Weather?"}, {"role": "assistant", "tool_calls": [CALL]}]},
    {
        "messages": [
            {"role": "user", "name": "Ann", "content": "And?"},
            {"role": "assistant", "tool_calls": [OTHER_CALL]},
        ]
    },
]
"""Messages with different keys, which Arrow fills with nulls."""


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No progress bars, and no cache outside of the test."""
    datasets.disable_progress_bars()
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def read(given: Any, **settings: Any) -> list[Record]:
    """The records of something, none of whose rows is rejected."""
    return list(didact.read(given, **settings))


def contents(records: list[Record]) -> list[dict[str, Any]]:
    """What records hold, beside the split."""
    return [record.model_dump(exclude={"split"}) for record in records]


def chat_file(folder: Path) -> Path:
    """The conversations as JSON lines, where absent keys are absent."""
    path = folder / "chats.jsonl"
    path.write_text("\n".join(map(json.dumps, CHATS)))
    return path


def test_a_saved_data_set_is_read_as_its_rows(tmp_path: Path) -> None:
    """A folder of `save_to_disk` gives the rows in order; its descriptions and later caches give none."""
    made = datasets.Dataset.from_list(ALPACA)
    made.save_to_disk(tmp_path / "saved", num_shards=3)
    kept = datasets.load_from_disk(tmp_path / "saved")
    kept.filter(lambda row: row["instruction"] != "do 3")
    assert list((tmp_path / "saved").glob("cache-*.arrow"))
    assert [record.texts()[0].text for record in read(tmp_path / "saved")] == [row["instruction"] for row in made]


def test_splits_of_a_saved_dict_reach_the_records(tmp_path: Path) -> None:
    """Each split of a saved DatasetDict is read, in the order of their names, and stands in its records."""
    splits = {
        name: datasets.Dataset.from_list(ALPACA[start : start + 5]) for name, start in (("train", 0), ("test", 5))
    }
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "saved")
    records = read(tmp_path / "saved")
    assert [record.split for record in records] == ["test"] * 5 + ["train"] * 5
    assert [record.texts()[0].text for record in records] == [f"do {i}" for i in (*range(5, 10), *range(5))]
    assert {record.split for record in read(tmp_path / "saved" / "train")} == {"train"}


def test_a_folder_that_lacks_a_file_is_refused(tmp_path: Path) -> None:
    """A saved folder without one of its files is not read as if it were whole; nor one that names files elsewhere."""
    datasets.Dataset.from_list(ALPACA).save_to_disk(tmp_path / "saved", num_shards=2)
    (tmp_path / "saved" / "data-00001-of-00002.arrow").unlink()
    with pytest.raises(CallError, match="data-00001-of-00002"):
        read(tmp_path / "saved")
    state = tmp_path / "saved" / "state.json"
    state.write_text(json.dumps({"_data_files": [{"filename": "../../secret"}]}))
    assert [relative for _, relative in list_files(["saved"], tmp_path)] == [
        "data-00000-of-00002.arrow",
        "dataset_info.json",
        "state.json",
    ]


def test_a_repository_of_parquet_files_is_read_without_its_card(tmp_path: Path) -> None:
    """Shards of a downloaded repository are rows of the split in their names; the card beside them is not."""
    table = datasets.Dataset.from_list(ALPACA).data.table
    (tmp_path / "data").mkdir()
    for name in ("train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001"):
        pq.write_table(table, tmp_path / "data" / f"{name}.parquet")
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\nA card.")
    records = read(tmp_path)
    assert [record.split for record in records] == ["test"] * 50 + ["train"] * 100


@pytest.mark.parametrize("url", ["", "memory://about/"])
def test_what_tells_about_data_is_no_data(url: str, tmp_path: Path) -> None:
    """In a folder with files of rows the card and the licence are left out, wherever the rows are. A text among texts,
    a file with another name and one that is named or matched itself are read. URLs are like paths.
    """
    told = [
        "README.md",
        "README_zh-CN.md",
        "sub/LICENSE",
        "Licence.txt",
        "CITATION.cff",
        "notice",
        "dataset_infos.json",
    ]
    others = ["license-questions.txt", "readme.csv", "readable.txt", "deep/rows.tab.gz", "notice_2021.md"]
    listed = []
    memory = fsspec.filesystem("memory")

    def files(*paths: str) -> list[tuple[Path, str]]:
        return fetched_files(paths, Elsewhere(tmp_path / "copies")) if url else list_files(paths, tmp_path)

    for folder, names in (("repository", [*told, *others]), ("texts", ["README.md", "page.md"])):
        for name in names:
            if url:
                memory.pipe(f"/about/{folder}/{name}", b"x")
            else:
                (tmp_path / folder / name).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / folder / name).write_text("x")
        listed.append([relative for _, relative in files(f"{url}{folder}")])
    assert listed == [sorted(others), ["README.md", "page.md"]]
    named = [f"{url}repository/{name}" for name in ("Licence.txt", "readme.csv")]
    assert [relative for _, relative in files(*named)] == ["Licence.txt", "readme.csv"]
    assert len(files(f"{url}repository/*")) == 10


@pytest.mark.parametrize("how", ["saved", "parquet", "memory", "streamed"])
def test_keys_that_arrow_fills_in_are_absent(tmp_path: Path, how: str) -> None:
    """Conversations whose messages have different keys are the same records as from JSON lines."""
    made = datasets.Dataset.from_list(CHATS)
    assert made[0]["messages"][0]["tool_calls"] is None
    given: Any = made
    if how == "saved":
        made.save_to_disk(tmp_path / "saved")
        given = tmp_path / "saved"
    elif how == "parquet":
        given = tmp_path / "x.parquet"
        pq.write_table(made.data.table, given)
    elif how == "streamed":
        given = made.to_iterable_dataset()
    records = read(given)
    assert contents(records) == contents(read(chat_file(tmp_path)))
    assert isinstance(records[1], Chat)
    assert records[1].origin is not None
    assert records[1].origin.extra == {}


def load_locally(folder: Path) -> Any:
    """The library's loader, with a local folder in the place of the hub."""
    real = datasets.load_dataset

    def load(name: str, config: str | None, *, split: str | None, revision: str) -> Any:
        assert len(revision) == 40
        return real(str(folder / name), config, split=split)

    return load


@pytest.fixture
def hub_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub with one repository: a card, two configurations, two splits; its newest commit is all a's, v1 all b's."""
    folder = tmp_path / "owner" / "name"
    for config, rows in (("plain", ALPACA), ("chat", CHATS)):
        (folder / config).mkdir(parents=True)
        for split in ("train", "test"):
            (folder / config / f"{split}.jsonl").write_text(
                "\n".join(map(json.dumps, rows[: 3 if split == "train" else 2]))
            )
    files = "\n".join(
        f"- config_name: {name}\n  data_files:\n"
        + "".join(f"  - {{split: {split}, path: {name}/{split}.jsonl}}\n" for split in ("train", "test"))
        for name in ("plain", "chat")
    )
    (folder / "README.md").write_text(f"---\nconfigs:\n{files}---\n")
    monkeypatch.setattr(hub, "find_commit", lambda name, revision: ("b" if revision == "v1" else "a") * 40)
    monkeypatch.setattr(datasets, "load_dataset", load_locally(tmp_path))
    return tmp_path


@pytest.mark.usefixtures("hub_of")
def test_a_data_set_of_the_hub_is_read_by_configuration_and_split(tmp_path: Path) -> None:
    """Configuration and split are those of the URL; without a split all are read; paths name the commit."""
    assert contents(read("hf://owner/name?config=chat&split=train")) == contents(read(chat_file(tmp_path)))
    assert [record.split for record in read("hf://owner/name?config=plain")] == ["test"] * 2 + ["train"] * 3
    files = plan_source("s", source("hf://owner/name?config=plain"), tmp_path)
    assert [file.relative for file in files] == [
        "owner/name@aaaaaaaaaaaa/plain/test/name-test.arrow",
        "owner/name@aaaaaaaaaaaa/plain/train/name-train.arrow",
    ]
    (file,) = plan_source("s", source("hf://owner/name?config=plain&split=test&revision=v1"), tmp_path)
    assert file.relative.startswith("owner/name@bbbbbbbbbbbb/")


@pytest.mark.usefixtures("hub_of")
def test_a_build_tells_which_commit_it_was_made_of(tmp_path: Path) -> None:
    """The manifest of a version names the hub's commit."""
    recipe = {
        "name": "x",
        "sources": {"s": {"path": "hf://owner/name?config=plain&split=train"}},
        "tokenizer": None,
        "split": {"validation": 0, "test": 0},
    }
    version = didact.build(recipe, store=tmp_path / "store", workers=1)
    assert list(version.manifest.sources["s"].files) == ["owner/name@aaaaaaaaaaaa/plain/train/name-train.arrow"]


def test_without_a_network_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that cannot be reached is a bad call, with what to do; a data set named by commit needs no look-up."""

    def unreachable(*_: object, **__: object) -> Any:
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(hub, "find_commit", unreachable)
    with pytest.raises(CallError, match=r"cannot be found on the hub \(no route to host\)"):
        read("hf://owner/name")
    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(CallError, match=r"cannot be loaded \(no route to host\)"):
        read(f"hf://owner/name?revision={'c' * 40}")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("hf://", "names no data set"),
        ("hf://a/b/c", "names no data set"),
        ("hf://a/..", "names no data set"),
        ("hf://a/b?configuration=x", "unknown option 'configuration'"),
        ("hf://a/b?split=train[:10%]", "a split is a name"),
    ],
)
def test_a_url_that_cannot_be_meant_is_refused(url: str, told: str) -> None:
    """Misspelt names and options are told before anything is asked of the hub."""
    with pytest.raises(CallError, match=told):
        read(url)


def test_findings_in_a_saved_data_set_have_their_place(tmp_path: Path) -> None:
    """A bad row is told by its file and its number."""
    rows = [*ALPACA[:3], {"instruction": "", "input": "", "output": "x"}]
    datasets.Dataset.from_list(rows).save_to_disk(tmp_path / "saved")
    found: list[Finding] = []
    list(didact.read(tmp_path / "saved", findings=found))
    assert [(one.code, one.path, one.index) for one in found] == [("CO001", "data-00000-of-00001.arrow", 3)]
