"""explain: the life of a record agrees with its file, with the shards and with what was written down as lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from tiny_recipe import ALPACA, NEAR, TWINS, alpaca_rows, build_tiny, gsm8k_lines

from didact.build.pipeline import build
from didact.cli import cli
from didact.errors import CallError
from didact.store.explain import Life
from didact.store.version import Version


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Version:
    """A version with losses of every kind; a story is seen twice in training."""
    mix = {"sources": {"stories": {"epochs": 2}, "sums": {"epochs": 1}}}
    return build_tiny(tmp_path_factory.mktemp("life"), mixes={"finetune": mix})


def one(lives: list[Life]) -> Life:
    """The only life there is."""
    (life,) = lives
    return life


def test_every_row_of_the_inputs_has_a_life(version: Version) -> None:
    """Each row of the files is found by its place, and is in a shard, dropped or rejected, as the file has it."""
    fates: dict[str, int] = {}
    for index, row in enumerate(alpaca_rows()):
        life = next(one for one in version.explain(f"alpaca.json#{index}") if one.place.index == index)
        if life.record is not None:
            assert (life.record["definition"], life.record["outputs"]) == (row["instruction"], [row["output"]])
        fate = life.loss.reason if life.loss else "kept"
        assert (fate == "kept") == bool(life.shards) and bool(life.split) == bool(life.shards)
        fates[fate] = fates.get(fate, 0) + 1
    assert fates == {
        "kept": ALPACA, "duplicate.exact": TWINS, "duplicate.near": NEAR, "response.words<1": 1, "JS002": 1,
    }  # fmt: skip


def test_shards_and_rows_are_where_it_says(version: Version) -> None:
    """Every appearance is the row of the shard that holds the record, and there are as many as epochs."""
    for row in version.table("finetune").slice(0, 20).to_pylist():
        life = one([life for life in version.explain(row["id"]) if not life.loss])
        for place in life.shards:
            found = pq.read_table(version.path / place.shard, partitioning=None).slice(place.row, 1).to_pylist()[0]
            assert (found["id"], found["epoch"]) == (row["id"], place.epoch)
            assert json.loads(found["record"]) == life.record and (place.mix, place.split) == ("finetune", life.split)
        assert len(life.shards) == (2 if row["source"] == "stories" else 1)


def test_signals_are_those_of_the_text(version: Version) -> None:
    """The signals told of a kept record are what its text measures."""
    life = one(version.explain("alpaca.json#20"))
    assert life.signals["response.chars"] == len(alpaca_rows()[20]["output"])
    assert life.signals["response.words"] == 60


def test_duplicates_name_each_other(version: Version) -> None:
    """The kept one lists the dropped, each dropped one names the kept; near copies with their similarity."""
    rows = alpaca_rows()
    copies = version.explain("alpaca.json#0")[0].id
    assert copies is not None
    kept, dropped = version.explain(copies)
    assert (kept.place.index, dropped.place.index) == (0, ALPACA) and rows[0] == rows[ALPACA]
    for life in (kept, dropped):
        assert life.cluster is not None and life.cluster.kept == copies and life.cluster.place == kept.place
        assert [(twin.place.index, twin.reason) for twin in life.cluster.dropped] == [(ALPACA, "duplicate.exact")]
    near = one(version.explain("alpaca.json#10"))
    assert near.loss is not None and near.loss.reason == "duplicate.near" and near.cluster is not None
    winner = one([life for life in version.explain(near.cluster.kept) if life.id == near.cluster.kept])
    assert winner.place.index == ALPACA + TWINS and winner.cluster == near.cluster
    assert near.cluster.dropped[0].evidence in near.loss.evidence


def test_a_chain_of_duplicates_ends_at_the_one_that_stayed(tmp_path: Path) -> None:
    """A copy of a row that a longer near copy replaced belongs to the cluster of that near copy."""
    words = "the quick brown fox jumps over the lazy dog while seven grey geese walk slowly home along a river bank"
    row = {"instruction": "Tell me about animals.", "input": "", "output": f"So {words} and {words[::-1]}."}
    longer = row | {"output": row["output"].removesuffix(".") + " indeed."}
    (tmp_path / "a.json").write_text(json.dumps([row, row, longer]))
    recipe = {"name": "c", "store": str(tmp_path / "s"), "sources": {"a": {"path": str(tmp_path / "a.json")}}}
    version = build(recipe | {"split": {"validation": 0, "test": 0}}, workers=1)
    lives = [version.explain(f"a.json#{index}") for index in range(3)]
    assert [life.loss.reason if life.loss else None for (life,) in lives] == ["duplicate.near", "duplicate.exact", None]
    clusters = [life.cluster for (life,) in lives]
    assert clusters[0] == clusters[1] == clusters[2] and clusters[2] is not None
    assert clusters[2].kept == lives[2][0].id and [twin.place.index for twin in clusters[2].dropped] == [0, 1]


def test_rejected_rows_are_told_by_their_place(version: Version) -> None:
    """A row that never became a record is found by path and line, with its code and its bytes."""
    life = one(version.explain("sums.jsonl:13"))
    assert life.id is None and life.loss is not None and life.raw == gsm8k_lines()[12]
    assert (life.loss.stage, life.loss.reason, life.place.line) == ("read", "JS001", 13)


def test_warnings_and_cleaning_are_told(tmp_path: Path) -> None:
    """Warnings of the row and texts before and after cleaning belong to the life; masked data is not shown."""
    row = {"instruction": "Ask me@mail.org &amp; wait.", "input": "N/A", "output": "Fish &amp; chips", "id": "x-1"}
    (tmp_path / "a.json").write_text(json.dumps([row, {"instruction": "Say no.", "input": "", "output": "No."}]))
    recipe = {"name": "c", "store": str(tmp_path / "s"), "sources": {"a": {"path": str(tmp_path / "a.json")}}}
    version = build(recipe | {"clean": {"pii": {"email": "mask"}}, "split": {"validation": 0, "test": 0}}, workers=1)
    life = version.explain("a.json#0")[0]
    assert [found["code"] for found in life.findings] == ["CO003", "CO012", "CO012"] and life.key == "x-1"
    assert life.cleaned == [
        {"field": "definition", "rules": ["entities", "pii.email"], "before": None, "after": "Ask [EMAIL] & wait."},
        {"field": "outputs/0", "rules": ["entities"], "before": "Fish &amp; chips", "after": "Fish & chips"},
    ]
    assert "me@mail.org" not in json.dumps(life.as_json())


def test_the_beginning_of_an_id_is_enough(version: Version) -> None:
    """A prefix of four digits or more finds its record; one that several records have names them."""
    whole = one(version.explain("alpaca.json#20")).id
    assert whole is not None and one(version.explain(whole[:8])).id == whole


def test_an_ambiguous_beginning_lists_the_ids(tmp_path: Path) -> None:
    """Ids that begin alike are listed in one line, at most ten of them."""
    lines = [{"question": f"What is {n}?", "answer": f"{n}"} for n in range(1500)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    recipe = {"name": "many", "store": str(tmp_path / "s"), "dedup": {"minhash": None}, "tokenizer": None}
    sources = {"a": {"path": str(tmp_path / "a.jsonl"), "format": "qa"}}
    version = build(recipe | {"sources": sources, "split": {"validation": 0, "test": 0}}, workers=1)
    ids = version.table("finetune")["id"].to_pylist()
    starts = [one[:4] for one in ids]
    shared = next(start for start in starts if starts.count(start) > 1)
    alike = sorted(one for one in ids if one.startswith(shared))
    with pytest.raises(CallError, match=f"'{shared}' begins {len(alike)} ids: {', '.join(alike)}; give more digits"):
        version.explain(shared)


@given(
    st.text(max_size=40) | st.from_regex(r"[0-9a-f]{4,32}", fullmatch=True) | st.from_regex(r".{1,9}[:#][0-9]{1,20}")
)
def test_what_fits_nothing_is_a_bad_call(version: Version, written: str) -> None:
    """Any other question is a CallError, or the life of a row."""
    try:
        assert version.explain(written)
    except CallError as error:
        assert "\n" not in str(error).replace(written, "")


def test_the_command_tells_it_in_lines_and_as_json(version: Version) -> None:
    """Lines without control characters for a person; one object with everything for a program."""
    arguments = ["explain", str(version.path), "alpaca.json#10"]
    told = CliRunner().invoke(cli, arguments)
    assert told.exit_code == 0 and "duplicate.near" in told.stdout and "kept" in told.stdout
    answer: dict[str, Any] = json.loads(CliRunner().invoke(cli, [*arguments, "--json"]).stdout)
    assert answer == {"rows": [json.loads(json.dumps(life.as_json())) for life in version.explain("alpaca.json#10")]}
    assert answer["rows"][0]["place"] == {"source": "stories", "path": "alpaca.json", "index": 10, "line": 52}


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path) -> None:
    """What a file holds cannot move the cursor of who asks about it."""
    row = {"instruction": "Say \x1b[31mred\x1b[0m.", "input": "", "output": "Red."}
    (tmp_path / "a.json").write_text(json.dumps([row, {"instruction": "\x1b[2J"}]))
    recipe = {"name": "c", "store": str(tmp_path / "s"), "sources": {"a": {"path": str(tmp_path / "a.json")}}}
    version = build(recipe | {"clean": {"controls": False}, "split": {"validation": 0, "test": 0}}, workers=1)
    for index in (0, 1):
        told = CliRunner().invoke(cli, ["explain", str(version.path), f"a.json#{index}"])
        assert told.exit_code == 0 and "\x1b" not in told.stdout
