"""What a sample says of a build is what the build does, within the interval it states, and leaves nothing behind."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import jsonschema
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from test_plan import tree
from tiny_recipe import build_tiny, tiny, write_inputs

from didact.build.pipeline import build
from didact.build.plan import plan
from didact.build.sample import estimated
from didact.build.schemas import published
from didact.cli import cli
from didact.report.plan_json import Sampled


def sample_of(recipe: dict[str, Any], rows: int) -> Sampled:
    """The sample of a plan."""
    found = plan(recipe, sample=rows, workers=1).sample
    assert found is not None
    return found


def test_a_sample_of_all_rows_is_what_the_build_does(tmp_path: Path) -> None:
    """With as many rows as there are nothing is estimated: filters, codes and tokens are the build's own."""
    write_inputs(tmp_path)
    own = {"sources": ["stories"]}
    bounds = [{"signal": "response.chars", "max": 420, **own}, {"signal": "prompt.chars", "min": 100, **own}]
    recipe = tiny(tmp_path, filters=[*tiny(tmp_path)["filters"], *bounds], split={"validation": 0, "test": 0})
    version = build(recipe, workers=1)
    recipe["tokenizer"] = {"file": str(version.path / "tokenizer")}
    by = {(one.stage, one.source): one for one in version.manifest.accounting}
    for one in sample_of(recipe, 10_000).sources:
        read, filtered = by["read", one.source], by["filter", one.source]
        assert one.sampled == one.of == read.rows_in
        assert {code: found.estimate for code, found in one.rejected.items()} == read.rejected
        assert {bound.reason: bound.drops.seen for bound in one.bounds if bound.drops.seen} == filtered.dropped
        assert all(bound.alone.seen >= bound.drops.seen == bound.drops.low for bound in one.bounds)
        assert one.kept.estimate == filtered.kept
        assert one.exact_duplicates >= by["dedup", one.source].dropped.get("duplicate.exact", 0)
        if one.source == "prose":
            achieved = version.manifest.mixes["pretrain"].sources["prose"].achieved
            assert one.tokens["pretrain"].estimate == achieved.tokens
    assert len(by["filter", "stories"].dropped) == 3


def test_a_sample_is_the_same_each_time_and_spread_over_the_files(tmp_path: Path) -> None:
    """No more rows than asked for, from every file, and nothing but times differs from run to run."""
    for number in range(4):
        rows = [{"instruction": f"Say {number} and {n}.", "output": f"{n} it is."} for n in range(500)]
        (tmp_path / f"{number}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe: dict[str, Any] = {
        "name": "spread",
        "store": str(tmp_path / "s"),
        "sources": {"a": {"path": str(tmp_path), "format": "alpaca"}},
    }
    recipe |= {"filters": [{"signal": "response.words", "min": 3}], "tokenizer": None}
    first, second = (sample_of(recipe, 60) for _ in range(2))
    assert first.sources == second.sources
    assert (first.sources[0].sampled, first.sources[0].of) == (60, 2000)
    assert first.tokenizer is None and first.sources[0].tokens == {}


def test_intervals_hold_the_truth(tmp_path: Path) -> None:
    """Of many sources in each of which a bound drops a known share, nearly every interval holds the true number."""
    sources: dict[str, Any] = {}
    truth: dict[str, int] = {}
    for number in range(24):
        every = 3 + number
        rows = [{"instruction": f"Say {n}.", "output": "no" if n % every == 0 else "yes it is"} for n in range(1500)]
        (tmp_path / f"{number}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        sources[f"s{number:02}"] = {"path": str(tmp_path / f"{number}.jsonl"), "format": "alpaca"}
        truth[f"s{number:02}"] = sum(n % every == 0 for n in range(1500))
    recipe: dict[str, Any] = {"name": "many", "store": str(tmp_path / "s"), "sources": sources, "tokenizer": None}
    found = sample_of(recipe | {"filters": [{"signal": "response.words", "min": 2}]}, 120).sources
    held = [one.bounds[0].drops.low <= truth[one.source] <= one.bounds[0].drops.high for one in found]
    assert len(held) == 24 and sum(held) >= 21
    near = [abs(one.bounds[0].drops.estimate - truth[one.source]) / truth[one.source] for one in found]
    assert sum(near) / len(near) < 0.4


@given(st.integers(1, 500), st.data())
def test_an_estimate_lies_in_its_interval(whole: int, data: st.DataObject) -> None:
    """What was seen is there, what was seen otherwise is not, and the estimate is between the bounds."""
    looked = data.draw(st.integers(1, whole))
    count = data.draw(st.integers(0, looked))
    found = estimated(count, looked, whole)
    assert count <= found.low <= found.estimate + 1e-9 and found.estimate - 1e-9 <= found.high <= whole - (
        looked - count
    )


def test_columnar_and_nested_files_are_sampled_too(tmp_path: Path) -> None:
    """Rows of Parquet files are found where they stand; of nested files the elements are taken whole."""
    rows = [{"instruction": f"Say {n}.", "output": "no" if n % 5 == 0 else "yes it is"} for n in range(300)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet", row_group_size=70)
    asked = [
        {"id": f"{n}", "question": f"How long is {n}?", "answers": [{"text": "long", "answer_start": 13}]}
        for n in range(3)
    ]
    passage = {"context": "The river is long.", "qas": asked}
    squad = {"version": "1.1", "data": [{"title": f"t{n}", "paragraphs": [passage]} for n in range(40)]}
    (tmp_path / "squad.json").write_text(json.dumps(squad))
    sources = {
        "a": {"path": str(tmp_path / "a.parquet"), "format": "alpaca"},
        "q": {"path": str(tmp_path / "squad.json"), "format": "squad"},
    }
    recipe: dict[str, Any] = {"name": "kinds", "store": str(tmp_path / "s"), "sources": sources, "tokenizer": None}
    recipe |= {"filters": [{"signal": "response.words", "min": 2, "sources": ["a"]}]}
    whole = {one.source: one for one in sample_of(recipe, 1000).sources}
    assert whole["a"].bounds[0].drops.seen == 60 and whole["q"].sampled == 120
    part = {one.source: one for one in sample_of(recipe, 20).sources}
    assert (part["a"].sampled, part["a"].of) == (20, 300)
    assert (part["q"].sampled, part["q"].of, part["q"].exact_duplicates > 0) == (60, 120, True)


def test_a_sample_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inputs, store and the folder for temporary files are as they were; the object is what its schema says."""
    build_tiny(tmp_path / "home")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "home" / "recipe.json").write_text(json.dumps(tiny(tmp_path / "home", clean={"entities": False})))
    before = tree(tmp_path / "home")
    calls = ["build", str(tmp_path / "home" / "recipe.json"), "--plan", "--sample", "30"]
    told = CliRunner().invoke(cli, [*calls, "--json"])
    assert told.exit_code == 0, told.output
    assert tree(tmp_path / "home") == before and list((tmp_path / "temporary").iterdir()) == []
    content = json.loads(told.stdout)
    jsonschema.validate(content, published()["plan"], cls=jsonschema.Draft202012Validator)
    # The store holds a build that ran every stage, so every stage's time is known.
    assert content["sample"]["not_estimated"] == [] and content["sample"]["seconds"]["shards"] > 0
    assert content["sample"]["results_bytes"] > 10_000
    assert "95 % interval" in CliRunner().invoke(cli, calls).stdout
    alone = CliRunner().invoke(cli, ["build", str(tmp_path / "home" / "recipe.json"), "--sample", "30"])
    assert alone.exit_code == 2 and "--sample goes with --plan" in alone.output
