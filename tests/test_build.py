"""The whole data path: every row is accounted for, and nothing that should not matter changes a byte."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pyarrow.parquet as pq
import pytest
from tiny_recipe import (
    ALPACA,
    NEAR,
    TWINS,
    alpaca_rows,
    build_tiny,
    bytes_of,
    gsm8k_lines,
    lost,
    prose,
    sentence,
    tiny,
    write_inputs,
)

from didact.build.pipeline import build
from didact.durable import sha256_file
from didact.errors import ImpossibleMix, InputMissing, NothingKept, TooManyRejected
from didact.records.findings import CODES
from didact.store.version import Version


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the inputs and a store."""
    folder = tmp_path_factory.mktemp("tiny")
    write_inputs(folder)
    return folder


@pytest.fixture(scope="module")
def version(home: Path) -> Version:
    """The version the recipe describes."""
    return build_tiny(home)


def plain_counts() -> dict[str, int]:
    """What must be lost, counted with nothing but json and sets."""
    rows = [row for row in alpaca_rows() if isinstance(row, dict)]
    seen = {json.dumps(row) for row in rows}
    broken = 0
    for line in gsm8k_lines():
        try:
            json.loads(line)
        except ValueError:
            broken += 1
    return {
        "duplicate.exact": len(rows) - len(seen),
        "response.words<1": sum(not row["output"] for row in rows),
        "duplicate.near": NEAR,
        "JS002": len(alpaca_rows()) - len(rows),
        "JS001": broken,
    }


def test_every_row_is_kept_or_lost_for_a_known_reason(version: Version) -> None:
    """Losses are those an independent count finds, and each stage takes in what the one before kept."""
    assert lost(version) == plain_counts()
    rows = {"stories": len(alpaca_rows()), "sums": len(gsm8k_lines()), "prose": len(prose().splitlines())}
    for source, count in rows.items():
        accounts = [account for account in version.manifest.accounting if account.source == source]
        assert [account.stage for account in accounts] == ["read", "filter", "dedup", "mix"]
        assert accounts[0].rows_in == count
        for before, after in pairwise(accounts):
            assert after.rows_in == before.kept == before.rows_in - before.lost
        splits = version.manifest.splits[source].achieved
        assert sum(splits.values()) == accounts[-1].kept
    assert version.manifest.splits["stories"].achieved["train"] + 12 == ALPACA


def test_shards_hold_exactly_the_kept_rows(version: Version) -> None:
    """The texts of all shards are the texts of the rows that an independent reading keeps."""
    tables = [version.table("finetune", split) for split in ("train", "validation", "test")]
    found = [row["messages"] for table in tables for row in table.to_pylist() if row["source"] == "stories"]
    kept = alpaca_rows()[:ALPACA]
    near = {row["output"] for row in alpaca_rows()[ALPACA + TWINS : ALPACA + TWINS + NEAR]}
    expected = {(row["instruction"], row["output"]) for row in kept}
    said = {(turns[0]["content"], turns[1]["content"]) for turns in found}
    # Of a near-duplicate pair the longer answer stays, which is the copy's.
    assert {question for question, _ in said} == {question for question, _ in expected}
    assert len(found) == ALPACA and len(said - expected) == NEAR
    assert {answer for _, answer in said - expected} == near


def test_every_lost_row_is_on_file_with_place_reason_and_text(version: Version) -> None:
    """dropped/ and rejected/ name the place of each lost row, and what stands there is that row."""
    dropped = pq.read_table(version.path / "dropped").to_pylist()
    rejected = pq.read_table(version.path / "rejected").to_pylist()
    assert len(dropped) + len(rejected) == sum(lost(version).values())
    rows = alpaca_rows()
    for row in dropped:
        assert row["source"] == "stories" and row["path"] == "alpaca.json"
        assert rows[row["index"]]["instruction"] in row["record"]
        assert row["stage"] and row["reason"] and row["evidence"]
    by_code = {row["code"]: row for row in rejected}
    assert by_code["JS002"]["index"] == len(rows) - 1 and by_code["JS002"]["raw"] == b'"no object"'
    assert by_code["JS001"]["line"] == 13 and by_code["JS001"]["raw"].decode() == gsm8k_lines()[12]


def test_what_became_of_a_record_is_on_file(tmp_path: Path) -> None:
    """Warnings, changed texts and the row kept for a duplicate stand in the version; masked personal data does not."""
    rows = [
        {"id": "a-1", "instruction": "Name a fish &amp; a dish, please.", "input": "", "output": "Cod and chips."},
        {"id": "a-2", "instruction": "Write to me@mail.org &amp; wait.", "input": "N/A", "output": "It is written."},
        {"id": "a-3", "instruction": "Name a fish & a dish, please.", "input": "", "output": "Cod and chips."},
        {"id": "a-4", "instruction": "Name a bird of the sea.", "input": "", "output": "The albatross is one."},
    ]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    source = {"path": str(tmp_path / "a.json"), "format": "alpaca"}
    clean = {"pii": {"email": "mask"}}
    recipe = {"name": "told", "store": str(tmp_path / "s"), "sources": {"a": source}, "clean": clean, "seed": 1}
    version = build(recipe | {"split": {"validation": 0, "test": 0}}, workers=1)
    cleaned = {row["index"]: row for row in pq.read_table(version.path / "cleaned").to_pylist()}
    assert cleaned.keys() == {0, 1}
    assert cleaned[0] == {
        "source": "a",
        "path": "a.json",
        "index": 0,
        "line": 1,
        "field": "definition",
        "rules": ["entities"],
        "before": "Name a fish &amp; a dish, please.",
        "after": "Name a fish & a dish, please.",
    }
    assert cleaned[1]["before"] is None and cleaned[1]["after"] == "Write to [EMAIL] & wait."
    assert cleaned[1]["rules"] == ["entities", "pii.email"]
    warned = [(row["index"], row["code"]) for row in pq.read_table(version.path / "findings").to_pylist()]
    assert sorted(warned) == [(0, "CO012"), (1, "CO003"), (1, "CO012")]
    kept = {row["key"]: row for row in version.table("finetune").to_pylist()}
    assert kept.keys() == {"a-1", "a-2", "a-4"} and kept["a-4"]["content"] is None
    (twin,) = pq.read_table(version.path / "dropped").to_pylist()
    # The third row is what the first one became.
    assert twin["kept"] == kept["a-1"]["id"] and twin["id"] == kept["a-1"]["content"]
    for path in version.path.rglob("*.parquet"):
        assert b"me@mail.org" not in str(pq.read_table(path, partitioning=None).to_pylist()).encode()


def test_every_row_says_where_it_comes_from(version: Version, home: Path) -> None:
    """A shard's rows carry file, digest and index of the row they were read from, and the licence of the recipe."""
    rows = alpaca_rows()
    for row in version.table("finetune", "test").to_pylist():
        if row["source"] == "stories":
            assert rows[row["row"]["index"]]["instruction"] == row["messages"][0]["content"]
            assert row["row"]["digest"] == sha256_file(home / "alpaca.json") and row["license"] == "CC0-1.0"
        assert json.loads(row["record"])["kind"] == row["kind"]


def test_an_empty_file_is_a_finding(version: Version) -> None:
    """The empty file is told, and costs no row."""
    assert version.manifest.findings["sums"]["IO001"] == 1


def test_the_manifest_has_the_hash_and_rows_of_every_file(version: Version) -> None:
    """Sizes, hashes and row counts agree with the files."""
    for file in version.manifest.files:
        path = version.path / file.path
        assert (sha256_file(path), path.stat().st_size) == (file.sha256, file.bytes)
        if path.suffix == ".parquet":
            assert pq.read_metadata(path).num_rows == file.rows
    for name, mix in version.manifest.mixes.items():
        for split, count in mix.rows.items():
            assert count == sum(pq.read_metadata(shard).num_rows for shard in version.shards(name, split))


def test_verify_finds_what_was_changed(tmp_path: Path) -> None:
    """A flipped bit, a missing and an extra file are each told; an untouched version is whole."""
    version = build_tiny(tmp_path)
    assert version.verify() == []
    shard = version.shards("finetune")[0]
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    (version.path / "README.md").unlink()
    (version.path / "data" / "extra.parquet").write_bytes(b"x")
    assert version.verify() == [
        "README.md: missing",
        "data/extra.parquet: not in the manifest",
        f"{shard.relative_to(version.path)}: content differs from its SHA-256",
    ]


def test_workers_and_orders_change_no_byte(version: Version, tmp_path: Path) -> None:
    """Two workers, files listed in another order and sources in another order make the same bytes."""
    write_inputs(tmp_path)
    recipe = tiny(tmp_path)
    recipe["sources"]["sums"]["path"].reverse()
    recipe["sources"] = dict(reversed(recipe["sources"].items()))
    recipe["mixes"] = dict(reversed(recipe["mixes"].items()))
    other = build(recipe, workers=2)
    assert bytes_of(other) == bytes_of(version)


def test_what_does_not_shape_the_data_makes_no_new_version(version: Version, home: Path) -> None:
    """Another store and sections of training lead to the same version; the second time nothing is built."""
    told: list[str] = []

    class Tell:
        """Remembers the stages."""

        def stage(self, name: str) -> None:
            """Remember."""
            told.append(name)

        def advance(self, done: int, total: int | None, unit: str, about: str = "", **more: float | None) -> None:
            """Forget."""

        def note(self, text: str) -> None:
            """Forget."""

    changed = tiny(home, model={"depth": 2}, finetune={"epochs": 1}, evaluate={"tasks": []})
    again = build(changed, workers=1, tell=Tell())
    assert again.path == version.path and told == ["inputs"]
    elsewhere = build(changed, store=home / "elsewhere", workers=1)
    assert elsewhere.path != version.path and bytes_of(elsewhere) == bytes_of(version)


def test_another_threshold_reuses_every_chunk(tmp_path: Path) -> None:
    """A changed bound makes a new version, whose parent is the one before, from the chunks there are."""
    first = build_tiny(tmp_path)
    chunks = tmp_path / "store" / "builds" / "chunks"
    before = {path: path.stat().st_mtime_ns for path in chunks.iterdir()}
    second = build_tiny(tmp_path, filters=[{"signal": "response.words", "min": 5, "sources": ["stories"]}])
    assert {path: path.stat().st_mtime_ns for path in chunks.iterdir()} == before
    assert second.manifest.version != first.manifest.version and second.manifest.parent == first.manifest.version
    assert lost(second)["response.words<5"] == 1
    assert first.verify() == second.verify() == []


def test_a_changed_input_makes_a_new_version(tmp_path: Path) -> None:
    """One byte more in an input is another plan; the chunks of the other sources are reused."""
    first = build_tiny(tmp_path)
    chunks = tmp_path / "store" / "builds" / "chunks"
    before = set(chunks.iterdir())
    with (tmp_path / "prose.txt").open("a", encoding="utf-8") as handle:
        handle.write("One more line of prose, which nobody has told before.\n")
    second = build(tiny(tmp_path), workers=1)
    assert second.manifest.plan != first.manifest.plan
    assert len(set(chunks.iterdir()) - before) == 6


def test_too_many_rejected_rows_end_a_build(tmp_path: Path) -> None:
    """With a bound on rejected rows, one above it is refused and nothing is published."""
    write_inputs(tmp_path)
    with pytest.raises(TooManyRejected, match="2 rows were rejected"):
        build(tiny(tmp_path), workers=1, max_rejected=1)
    assert not (tmp_path / "store" / "data").exists()
    assert build(tiny(tmp_path), workers=1, max_rejected=2).verify() == []
    with pytest.raises(TooManyRejected):
        build(tiny(tmp_path), workers=1, max_rejected=1)


def test_paths_of_a_mapping_are_relative_to_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recipe given as a mapping reads and stores where the caller stands; as a file, beside the file."""
    write_inputs(tmp_path / "here")
    recipe: dict[str, Any] = {
        "name": "here",
        "sources": {"sums": {"path": "here/sums.jsonl", "format": "gsm8k"}},
        "tokenizer": None,
    }
    recipe["split"] = {"validation": 0, "test": 0}
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    monkeypatch.chdir(tmp_path)
    version = build(recipe, workers=1)
    assert version.path.resolve() == tmp_path / "store" / "data" / "here" / version.manifest.version
    monkeypatch.chdir(tmp_path / "here")
    assert build(tmp_path / "recipe.yaml", workers=1).path == tmp_path / "store" / "data" / "here" / version.path.name


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    """A path that is not there is the caller's error, before anything is written."""
    with pytest.raises(InputMissing, match=r"prose\.txt: no such file"):
        build(tiny(tmp_path), workers=1)
    assert list(tmp_path.iterdir()) == []


def finetune(**sources: Any) -> dict[str, Any]:
    """A fine-tuning mix in records."""
    return {"finetune": {"sources": sources}}


def test_a_mix_without_enough_rows_is_refused_repeated_or_shared_out(home: Path) -> None:
    """`on_exhaust` decides what becomes of a budget that a source cannot supply."""
    mix: dict[str, Any] = {"budget": 80, "sources": {"stories": {"share": 1}, "sums": {"share": 1}}}
    with pytest.raises(ImpossibleMix, match="sums"):
        build_tiny(home, mixes={"finetune": mix})
    repeated = build_tiny(home, mixes={"finetune": mix | {"on_exhaust": {"repeat": 4}}})
    table = repeated.table("finetune").to_pylist()
    assert [sum(row["source"] == name for row in table) for name in ("stories", "sums")] == [40, 40]
    epochs = [row["epoch"] for row in table if row["source"] == "sums"]
    own = repeated.manifest.splits["sums"].achieved["train"]
    assert epochs == sorted(epochs) and max(epochs) == (40 - 1) // own
    assert repeated.manifest.mixes["finetune"].sources["sums"].epochs == pytest.approx(40 / own)
    rare = {"sources": mix["sources"] | {"prose": {"share": 1e-4}}, "purpose": "pretrain"}
    shared = build_tiny(home, mixes={"finetune": mix | rare | {"budget": 50, "on_exhaust": "renormalise"}})
    entries = shared.manifest.mixes["finetune"].sources
    assert [(name, entry.exhausted, entry.achieved.records > 0) for name, entry in sorted(entries.items())] == [
        ("prose", False, False), ("stories", False, True), ("sums", True, True),
    ]  # fmt: skip
    found = shared.manifest.findings
    assert found["sums"]["MX001"] == 1 and found["prose"]["MX002"] == 1 and not {"MX001"} & found["stories"].keys()
    assert (entries["sums"].achieved.records, entries["stories"].achieved.records) == (own, 50 - own)


def test_a_build_that_keeps_nothing_is_no_result(tmp_path: Path) -> None:
    """When every row is lost, or there was none, the build fails with what each stage took, and publishes nothing."""
    rows = [{"instruction": "Say it again.", "input": "", "output": "Again."}] * 3
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"instruction": ')
    (tmp_path / "empty.jsonl").write_bytes(b"")
    recipe: dict[str, Any] = {"name": "x", "filters": [{"signal": "response.words", "min": 2}], "tokenizer": None}
    told = r"no record is left of 4 rows: read lost 1 \(JS001 1\), filter lost 3 \(response\.words<2 3\); .*validate"
    for file, match in (("rows", told), ("empty", "the sources hold no row")):
        sources = {"s": {"path": str(tmp_path / f"{file}.jsonl"), "format": "alpaca"}}
        with pytest.raises(NothingKept, match=match):
            build(recipe | {"sources": sources}, store=tmp_path / "store", workers=1)
    assert not (tmp_path / "store" / "data").exists()


def test_without_mixes_every_source_with_rows_is_taken_once(home: Path) -> None:
    """A recipe without mixes makes one for each purpose its rows suit; a source that lost every row is no error."""
    filters = [{"signal": "response.words", "min": 1000, "sources": ["sums"]}]
    version = build_tiny(home, mixes={}, filters=filters)
    assert {name: list(mix.sources) for name, mix in version.manifest.mixes.items()} == {
        "finetune": ["stories"],
        "pretrain": ["prose"],
    }
    assert lost(version)["response.words<1000"] == 20 and "mix.unused" not in lost(version)


CURRICULUM: dict[str, Any] = {
    "pretrain": {
        "unit": "tokens",
        "phases": [
            {"temperature": 2, "cap": 4000, "sources": {"prose": {}, "stories": {}}},
            {
                "name": "sums",
                "budget": 1500,
                "sources": {"sums": {"share": 0.7}, "prose": {"share": 0.3}},
                "on_exhaust": {"repeat": 4},
            },
        ],
    },
}
"""A mix for pre-training of prose and instruction records, in two phases."""


def test_a_curriculum_is_rows_in_order_of_phases(tmp_path: Path) -> None:
    """Phases stand one after the other with exact amounts, counted from the shards; a source goes on where the phase
    before left it; two workers and sources in another order make the same bytes.
    """
    version = build_tiny(tmp_path, mixes=CURRICULUM)
    entry = version.manifest.mixes["pretrain"]
    table = version.table("pretrain").select(["phase", "source", "epoch", "id"]).to_pylist()
    assert [row["phase"] for row in table] == [name for name in ("1", "sums") for row in table if row["phase"] == name]
    assert set(version.table("pretrain", "validation")["phase"].to_pylist()) == {None}
    for phase in entry.phases:
        rows = [row for row in table if row["phase"] == phase.name]
        assert phase.rows == len(rows) > 0
        for name, source in phase.sources.items():
            own = [row for row in rows if row["source"] == name]
            assert source.achieved.records == len(own)
            assert source.planned.tokens == pytest.approx(source.achieved.tokens, abs=200)
            assert source.planned.records == pytest.approx(len(own), abs=2)
    assert sum(part.planned.tokens or 0 for part in entry.phases[1].sources.values()) == 1500
    prose = [(row["epoch"], row["id"]) for row in table if row["source"] == "prose"]
    assert prose == sorted(prose, key=lambda row: row[0])
    once = version.manifest.splits["prose"].achieved["train"]
    assert len(prose) > once and len({name for _, name in prose[:once]}) == once
    before = bytes_of(version)
    shutil.rmtree(tmp_path / "store")
    other = copy.deepcopy(CURRICULUM)
    for settings in other["pretrain"]["phases"]:
        settings["sources"] = dict(reversed(settings["sources"].items()))
    assert bytes_of(build(tiny(tmp_path, mixes=other), workers=2)) == before


def test_instruction_records_are_pretrained_on_as_plain_dialogue(home: Path) -> None:
    """In a mix for pre-training an instruction record is its messages with the speakers' names, and its tokens are
    counted as those of that text.
    """
    from didact.render.renderer import render_text
    from didact.render.tokenizer import Tokenizer

    mixes = {"pretrain": {"unit": "tokens", "sources": {"sums": {"epochs": 1}, "prose": {"epochs": 1}}}}
    version = build_tiny(home, mixes=mixes)
    tokenizer = Tokenizer.load(version.path / "tokenizer")
    rows = version.table("pretrain").to_pylist()
    for row in rows:
        record = json.loads(row["record"])
        if row["source"] == "sums":
            assert row["text"].startswith(f"User: {record['question']}\n\nAssistant: She has ")
        else:
            assert row["text"] == record["text"]
    counted = sum(part.achieved.tokens or 0 for part in version.manifest.mixes["pretrain"].sources.values())
    assert counted == sum(render_text(row["text"], tokenizer).ids.size for row in rows)


def test_rows_that_no_mix_takes_are_on_file(home: Path) -> None:
    """What a count leaves out is dropped by the mix, and counted."""
    version = build_tiny(home, mixes=finetune(stories={"count": 10}))
    unused = lost(version)["mix.unused"]
    train = version.manifest.splits["stories"].achieved["train"]
    others = sum(sum(version.manifest.splits[name].achieved.values()) for name in ("sums", "prose"))
    assert unused == train - 10 + others
    on_file = pq.read_table(version.path / "dropped").column("reason").to_pylist()
    assert on_file.count("mix.unused") == unused


def test_shares_of_tokens_are_kept(home: Path) -> None:
    """A mix in trained tokens has its shares in trained tokens, as a count over the written dialogues shows."""
    from didact.render.renderer import render_batch
    from didact.render.tokenizer import Tokenizer

    mix = {"unit": "trained_tokens", "sources": {"stories": {"share": 3}, "sums": {"share": 1}}}
    version = build_tiny(home, mixes={"finetune": mix})
    tokenizer = Tokenizer.load(version.path / "tokenizer")
    entries = version.manifest.mixes["finetune"].sources
    trained = {}
    for name in ("stories", "sums"):
        rows = [row["messages"] for row in version.table("finetune").to_pylist() if row["source"] == name]
        rendered = render_batch(rows, tokenizer)
        trained[name] = int(rendered.weights.sum())
        assert entries[name].achieved.tokens == len(rendered.ids)
        assert entries[name].achieved.trained_tokens == trained[name]
        assert entries[name].planned.trained_tokens == pytest.approx(trained[name], abs=200)
    assert trained["stories"] / sum(trained.values()) == pytest.approx(0.75, abs=0.05)


def test_limit_where_and_system_select_and_shape_rows(home: Path) -> None:
    """`limit` counts rows, `where` selects them and accounts for the others, `system` begins the dialogue."""
    lines = [
        {"prompt": f"Question {i}?", "completion": f"Answer number {i}.", "lang": "en" if i % 2 else "de"}
        for i in range(30)
    ]
    (home / "chosen.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    source = {"path": str(home / "chosen.jsonl"), "limit": 20, "where": {"lang": "en"}, "system": "Be brief."}
    version = build_tiny(home, sources={"chosen": source}, mixes={}, filters=[], split={"validation": 0, "test": 0})
    rows = version.table("finetune").to_pylist()
    assert {row["messages"][1]["content"] for row in rows} == {f"Question {i}?" for i in range(1, 20, 2)}
    assert {(row["messages"][0]["role"], row["messages"][0]["content"]) for row in rows} == {("system", "Be brief.")}
    read = version.manifest.accounting[0]
    assert (read.rows_in, read.kept, read.dropped) == (20, 10, {"where": 10})


def test_what_a_file_says_once_is_kept_once_and_rendered_everywhere(home: Path) -> None:
    """Definitions of task files are in headers/ once, and in every dialogue of their rows."""
    instances = [{"id": str(i), "input": f"Number {i}", "output": [f"It is {i}."]} for i in range(12)]
    task = {
        "Definition": ["Say which number it is."],
        "Positive Examples": [],
        "Negative Examples": [],
        "Instances": instances,
    }
    bbh = {"canary": "the canary", "examples": [{"input": f"not ( {i} ) is", "target": "False"} for i in range(12)]}
    (home / "task1_number.json").write_text(json.dumps(task), encoding="utf-8")
    (home / "logic.json").write_text(json.dumps(bbh), encoding="utf-8")
    sources = {"numbers": {"path": str(home / "task1_number.json")}, "logic": {"path": str(home / "logic.json")}}
    version = build_tiny(home, sources=sources, mixes={}, filters=[], dedup={"minhash": None})
    headers = pq.read_table(version.path / "headers").to_pylist()
    assert len(headers) == 2
    texts = [row["header"] for row in headers]
    assert sum("Say which number it is." in text for text in texts) == sum("the canary" in text for text in texts) == 1
    rows = version.table("finetune").to_pylist()
    numbers = [row for row in rows if row["source"] == "numbers"]
    assert numbers and all("Say which number it is." in row["messages"][0]["content"] for row in numbers)
    assert not any("Say which number it is." in row["record"] for row in numbers)
    found = version.header(json.loads(numbers[0]["record"])["header"])
    assert found is not None and found["definition"] == ["Say which number it is."]


def test_preferences_become_prompt_chosen_rejected(home: Path) -> None:
    """A preference mix has the three columns, best answer and worst answer as they were."""
    rows = [
        {"prompt": f"Question {i}?", "chosen": f"A good answer to {i}.", "rejected": f"Bad {i}."} for i in range(12)
    ]
    (home / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    mixes = {"preference": {"sources": {"pairs": {"epochs": 1}}}}
    sources = {"pairs": {"path": str(home / "pairs.jsonl")}}
    version = build_tiny(home, sources=sources, mixes=mixes, filters=[], split={"validation": 0, "test": 0})
    found = [
        {name: row[name][-1]["content"] for name in ("prompt", "chosen", "rejected")}
        for row in version.table("preference").to_pylist()
    ]
    assert sorted(found, key=str) == sorted(rows, key=str)


def test_held_out_rows_share_no_prompt_with_training(home: Path) -> None:
    """Rows that repeat a prompt stand on one side of the split, and so do rows of one group."""
    rows = [
        {"prompt": f"Question {i // 3}?", "completion": f"Answer {i}, in its own words.", "page": f"p{i // 6}"}
        for i in range(120)
    ]
    (home / "groups.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    source = {"path": str(home / "groups.jsonl"), "group": "page"}
    split = {"validation": 0.2, "test": 0.2}
    version = build_tiny(home, sources={"groups": source}, mixes={}, filters=[], dedup={"minhash": None}, split=split)
    sides = {name: version.table("finetune", name).to_pylist() for name in ("train", "validation", "test")}
    prompts = [{row["messages"][0]["content"] for row in rows} for rows in sides.values()]
    groups = [{row["group"] for row in rows} for rows in sides.values()]
    for parts in (prompts, groups):
        assert sum(map(len, parts)) == len(set.union(*parts)) and all(parts)
    check = version.manifest.leak_check
    assert check is not None and check.held_out == len(sides["validation"]) + len(sides["test"])


@pytest.mark.parametrize("numbers", [1, 3])
def test_of_a_crowd_that_is_alike_the_best_is_kept(numbers: int, tmp_path: Path) -> None:
    """Of hundreds of answers that differ in a word, which all bands find alike, the longest stays, wherever it stands,
    and is the evidence against each of the others; where their numbers differ, so it is for each number.
    """
    said = sentence(Random(1), 60).removesuffix(".")
    names = [f"{n:09b}".translate(str.maketrans("01", "xy")) for n in range(450)]
    best = range(240, 240 + numbers)
    answers = [f"{said} {'at long last' if n in best else names[n]} {n % numbers}." for n in range(450)]
    rows = [{"instruction": "Describe it.", "input": "", "output": answer} for answer in answers]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    recipe = {
        "name": "crowd",
        "store": str(tmp_path / "store"),
        "sources": {"rows": {"path": str(tmp_path / "rows.jsonl"), "license": "MIT"}},
        "split": {"validation": 0, "test": 0},
        "mixes": {"finetune": {"sources": {"rows": {"epochs": 1}}}},
    }
    version = build(recipe, workers=1)
    kept = {row["id"]: row["messages"][-1]["content"] for row in version.table("finetune").to_pylist()}
    assert sorted(kept.values()) == sorted(answers[n] for n in best)
    dropped = pq.read_table(version.path / "dropped").to_pylist()
    assert len(dropped) == 450 - numbers
    for row in dropped:
        assert row["reason"] == "duplicate.near" and row["kept"] in row["evidence"]
        assert kept[row["kept"]] == answers[240 + (row["index"] - 240) % numbers]


def test_builds_of_one_plan_wait_for_each_other(tmp_path: Path) -> None:
    """Started at once, several builds of one recipe all succeed and find one version."""
    write_inputs(tmp_path)
    code = "import json, sys; from didact import build; print(build(json.loads(sys.argv[1]), workers=1).path)"
    command = [sys.executable, "-c", code, json.dumps(tiny(tmp_path))]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    found = {process.communicate()[0].strip() for process in running}
    assert [process.returncode for process in running] == [0, 0, 0] and len(found) == 1
    assert Version.open(found.pop()).verify() == []


def test_what_only_a_build_can_see_has_codes_too(version: Version) -> None:
    """Dropped duplicates, sources without a licence and leaks are counted by code beside the warnings about rows."""
    dropped: dict[str, int] = {}
    for account in version.manifest.accounting:
        for reason, count in account.dropped.items():
            dropped[reason] = dropped.get(reason, 0) + count
    counted = {code: sum(codes.get(code, 0) for codes in version.manifest.findings.values()) for code in CODES}
    assert counted["DU001"] == dropped.get("duplicate.exact", 0) > 0
    assert counted["DU002"] == dropped.get("duplicate.near", 0)
    licenses = version.manifest.licenses
    assert counted["PV001"] == len(licenses.get("unknown", []))
    check = version.manifest.leak_check
    assert check is not None
    assert counted["LK001"] == check.same_prompt + check.near_prompt
