"""The benchmarks measure what they say: same data, same work, ratios of one run."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner
from tiny_recipe import tiny, write_inputs

from benchmarks.__main__ import main
from benchmarks.material import instructions, synthetic, write_jsonl
from benchmarks.rounds import Comparison, compare
from benchmarks.scale import lines
from benchmarks.scaling import Timed, report
from benchmarks.scaling import main as scaling


def test_material_is_the_same_each_time_and_read_back_from_a_file(tmp_path: Path) -> None:
    """Synthetic rows depend on the seed alone, and come back from a file as they went in."""
    rows = synthetic(200)
    assert rows == synthetic(200)
    assert rows != synthetic(200, seed=2)
    read = instructions(write_jsonl(rows, tmp_path / "rows.jsonl"), 150)
    assert [row["output"] for row in read] == [row["output"] for row in rows[:150]]
    assert all(row["input"] in other["instruction"] for row, other in zip(rows, read, strict=False))


def test_material_of_any_size_has_copies_and_dirt_in_their_shares() -> None:
    """Lines depend on the seed alone; copies, near-copies and each kind of dirt are there as often as stated."""
    made = list(lines(20_000))
    assert made == list(lines(20_000)) and made[:50] != list(lines(50, seed=2))
    assert len(made) == 20_000 and 20 <= sum(line.startswith(b"\n") for line in made) <= 70
    assert 10 <= sum(not _is_json(line) for line in made) <= 60
    outputs = [orjson.loads(line)["output"] for line in made if _is_json(line)]
    copies = len(outputs) - len(set(outputs))
    assert 0.02 < copies / len(outputs) < 0.05
    lengths = sorted(len(output.split()) for output in outputs)
    assert 25 <= lengths[len(lengths) // 2] <= 40 and lengths[-1] > 200
    for mark in ("@", "\u20ac", "<p>"):
        assert any(mark in output for output in outputs)


def _is_json(line: bytes) -> bool:
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return True


def test_contenders_take_turns() -> None:
    """Each contender runs once uncounted and once a round, and another one begins each round."""
    order: list[str] = []

    def run(name: str) -> int:
        order.append(name)
        return 1

    found = compare("turns", "calls", {name: partial(run, name) for name in ("first", "second")}, rounds=2)
    assert order == ["first", "second", "first", "second", "second", "first"]
    assert {name: len(speeds) for name, speeds in found.speeds.items()} == {"first": 2, "second": 2}


def test_ratios_are_taken_round_by_round() -> None:
    """A ratio compares speeds of the same round, so a slow round does not distort it."""
    found = Comparison("t", "u", {"own": [10.0, 1.0], "peer": [5.0, 0.5]})
    assert found.ratios("peer") == [2.0, 2.0]
    assert "2.00 (2.00 to 2.00)" in found.lines()[-1]


@pytest.mark.parametrize("name", ["minhash", "tokenizer", "validating"])
def test_a_benchmark_runs_and_checks_equal_results(name: str) -> None:
    """A benchmark ends well only when both contenders gave the same results, and prints their ratio."""
    ran = CliRunner().invoke(main, [name, "--records", "300", "--rounds", "1"])
    assert ran.exit_code == 0, ran.output
    assert " / " in ran.output
    assert "processor:" in ran.output


def test_scaling_is_told_by_round() -> None:
    """Ratios are those of the two builds of a round; what stages do not account for is told as the rest."""
    builds = {
        1: [Timed("v", 1000, whole, {"read, clean, measure": read}) for whole, read in ((10.0, 6.0), (12.0, 9.0))],
        2: [Timed("v", 1000, whole, {"read, clean, measure": read}) for whole, read in ((5.0, 3.0), (4.0, 3.0))],
    }
    told = "\n".join(report(builds))
    assert re.search(r"start, inputs, report, end +3\.50 +1\.50\n", told)
    assert "1,000 rows, 2 workers: 225 (200 to 250) rows/s" in told
    assert "read, clean, measure, 1 against 2 workers: 2.50 (2.00 to 3.00) times as fast" in told
    assert "whole command, 1 against 2 workers: 2.50 (2.00 to 3.00) times as fast" in told


@pytest.mark.slow
def test_scaling_times_whole_commands(tmp_path: Path) -> None:
    """Builds with each number of workers make one version, and nothing stays beside the recipe."""
    write_inputs(tmp_path)
    recipe = tmp_path / "recipe.json"
    recipe.write_bytes(orjson.dumps(tiny(tmp_path)))
    before = sorted(tmp_path.iterdir())
    done = CliRunner().invoke(scaling, [str(recipe), "--rounds", "1"])
    assert done.exit_code == 0 and "1 against 2 workers" in done.output, done.output
    assert sorted(tmp_path.iterdir()) == before
