"""diff: what came, went and changed between two versions, and who did it, against what plain sets of rows say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_recipe import build_tiny, tiny, write_inputs

from didact.build.pipeline import build
from didact.errors import CorruptVersion
from didact.store.diff import Diff, setting_changes
from didact.store.pairing import matched
from didact.store.version import Version

FILTER = {"signal": "response.words", "min": 1, "sources": ["stories", "sums"]}


def held(version: Version) -> dict[tuple[str, int], tuple[str, str]]:
    """Id and record at each place of a version, read with nothing but Parquet."""
    found = {}
    for shard in sorted((version.path / "data").rglob("*.parquet")):
        for row in pq.read_table(shard, partitioning=None).to_pylist():
            found[row["row"]["path"], row["row"]["index"]] = (row["id"], row["record"])
    return found


def places(table: Any) -> set[tuple[str, int]]:
    """Places that a table of a diff lists."""
    return {(row["path"], row["index"]) for row in table.to_pylist()}


def by(counts: Any) -> dict[str, int]:
    """Causes as they are told, with the number of records."""
    return {str(count.cause): count.records for count in counts}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the inputs of a version."""
    return tmp_path_factory.mktemp("diff")


@pytest.fixture(scope="module")
def version(home: Path) -> Version:
    """The version to compare with."""
    return build_tiny(home)


def test_a_version_does_not_differ_from_itself(version: Version) -> None:
    """Nothing is told where there is nothing to tell."""
    found = version.diff(version)
    records = len(held(version))
    assert found.same and found.counts == {
        "added": 0, "removed": 0, "changed": 0, "unchanged": records, "resplit": 0, "moved": 0,
    }  # fmt: skip
    assert not (found.settings or found.inputs or found.libraries or found.mixes or found.removed_by or found.added_by)


def test_a_bound_tells_which_records_it_cost(version: Version, home: Path) -> None:
    """Records that a new filter drops are listed with stage and reason; the way back they are added for the same."""
    other = build_tiny(home, filters=[FILTER, {"signal": "prompt.chars", "max": 98, "sources": ["stories"]}])
    gone = held(version).keys() - held(other).keys()
    assert 10 < len(gone) < 50
    found = version.diff(other)
    assert places(found.removed) == gone and found.counts["removed"] == len(gone) and not found.counts["added"]
    assert found.counts["unchanged"] == len(held(other)) and not found.counts["changed"]
    (cause,) = found.removed_by
    assert (str(cause.cause), cause.records) == ("filter: prompt.chars>98", len(gone))
    assert cause.settings == ["/filters/1"] == [change.pointer for change in found.settings]
    assert set(found.removed["cause"].to_pylist()) == {"filter: prompt.chars>98"}
    back = other.diff(version)
    assert places(back.added) == gone and by(back.added_by) == by(found.removed_by)
    assert back.counts["added"] == len(gone) and not back.counts["removed"]


def test_amounts_of_mixes_are_those_of_the_shards(version: Version, home: Path) -> None:
    """The change of records of each source in a mix is the change of rows in its shards; tokens change with them."""
    other = build_tiny(home, mixes={"finetune": {"sources": {"stories": {"count": 10}, "sums": {"epochs": 1}}}})
    found = version.diff(other)
    deltas = {(change.mix, change.source): change.delta() for change in found.mixes}
    assert deltas.keys() == {("finetune", "stories"), ("pretrain", "prose")}
    before = version.table("finetune").to_pylist()
    stories = sum(row["source"] == "stories" for row in before)
    assert deltas["finetune", "stories"]["records"] == 10 - stories
    assert deltas["pretrain", "prose"]["records"] == -version.table("pretrain").num_rows
    assert all((delta["tokens"] or 0) < 0 for delta in deltas.values())
    assert by(found.removed_by) == {
        "mix: mix.unused": stories - 10 + len([k for k in held(version) if "prose" in k[0]])
    }


def written(folder: Path, rows: list[dict[str, str]], **changes: Any) -> Version:
    """A version of alpaca rows, nothing held out."""
    folder.mkdir(exist_ok=True)
    (folder / "a.json").write_text(json.dumps(rows), encoding="utf-8")
    recipe = {"name": "d", "store": str(folder / "store"), "sources": {"a": {"path": str(folder / "a.json")}}}
    settings = {"split": {"validation": 0, "test": 0}, "dedup": {"exact": True, "minhash": None}, "tokenizer": None}
    return build(recipe | settings | changes, workers=1)


def row(number: int, **other: str) -> dict[str, str]:
    """A row without likeness to another."""
    return {"instruction": f"Say {number} in words &amp; digits.", "input": "", "output": f"It is {number}."} | other


def test_an_edited_row_is_changed_and_a_shifted_one_is_not(tmp_path: Path) -> None:
    """After a row is put on top, one is edited and one deleted, exactly those three are told."""
    rows = [row(i, id=f"n-{i}") for i in range(12)]
    old = written(tmp_path, rows)
    edited = [row(99, id="n-99"), *rows[:5], rows[5] | {"output": "Another answer."}, *rows[6:11]]
    new = written(tmp_path, edited)
    found = old.diff(new)
    assert found.counts == {
        "added": 1, "removed": 1, "changed": 1, "unchanged": 10, "resplit": 0, "moved": 11,
    }  # fmt: skip
    (changed,) = found.changed.to_pylist()
    assert (changed["index"], changed["by"]) == (6, "input")
    assert changed["old_id"] == held(old)["a.json", 5][0] and changed["id"] == held(new)["a.json", 6][0]
    assert by(found.removed_by) == by(found.added_by) == {"input: the file lacks the row": 1}
    assert [(change.source, change.changed) for change in found.inputs] == [("a", ["a.json"])]
    assert places(found.added) == {("a.json", 0)} and places(found.removed) == {("a.json", 11)}


def test_without_an_identifier_the_place_tells_an_edited_row(tmp_path: Path) -> None:
    """A row without an author's identifier that is edited where it stands is changed, neither removed nor added."""
    rows = [row(i) for i in range(6)]
    old = written(tmp_path, rows)
    found = old.diff(written(tmp_path, [*rows[:2], row(2) | {"output": "Nobody knows."}, *rows[3:]]))
    assert found.counts["removed"] == found.counts["added"] == 0 and found.changed_by == {"input": 1, "clean": 0}
    assert places(found.changed) == {("a.json", 2)}


def test_other_cleaning_changes_records(tmp_path: Path) -> None:
    """A cleaning rule that is switched off changes the records it had touched, and is named."""
    rows = [row(1), row(2), {"instruction": "Nothing to clean.", "input": "", "output": "Right."}]
    found = written(tmp_path, rows).diff(written(tmp_path, rows, clean={"entities": False}))
    assert found.counts["changed"] == 2 and found.changed_by == {"input": 0, "clean": 2}
    assert set(found.changed["by"].to_pylist()) == {"clean"}
    assert [(change.pointer, change.old, change.new) for change in found.settings] == [("/clean/entities", True, False)]


def test_every_other_cause_is_told(tmp_path: Path) -> None:
    """Rows of a source or file that is gone, unreadable rows, duplicates, and rows that are not selected are told."""
    rows = [row(i) for i in range(6)]
    more = tmp_path / "more.json"
    more.write_text(json.dumps([row(i) for i in range(6, 9)]))
    (tmp_path / "b.json").write_text(json.dumps([row(20)]))
    sources = {"a": {"path": [str(tmp_path / "a.json"), str(more)]}, "b": {"path": str(tmp_path / "b.json")}}
    old = written(tmp_path, rows, sources=sources)
    broken = [rows[0], {"instruction": "no output"}, *rows[2:4], row(0) | {"lang": "x"}, rows[5]]
    new = written(tmp_path, broken, sources={"a": {"path": str(tmp_path / "a.json"), "limit": 5}})
    assert by(old.diff(new).removed_by) == {
        "input: the source lacks the file": 3,
        "input: the recipe lacks the source": 1,
        "input: the file lacks the row": 1,
        "read: rejected SC001": 1,
        "dedup: duplicate.exact": 1,
    }
    limited = written(tmp_path, broken, sources={"a": {"path": str(tmp_path / "a.json"), "limit": 4}})
    rest = written(tmp_path, broken, sources={"a": {"path": str(tmp_path / "a.json")}}).diff(limited)
    (cause,) = rest.removed_by
    assert str(cause.cause).startswith("read: not selected") and cause.settings == ["/sources/a/limit"]


def test_another_split_and_repeats_are_no_other_records(version: Version, home: Path) -> None:
    """Records that are held out elsewhere, or repeated, are neither added nor removed."""
    mix = {"sources": {"stories": {"epochs": 3}, "sums": {"epochs": 1}}}
    other = build_tiny(home, seed=4, mixes={"finetune": mix, "pretrain": tiny(home)["mixes"]["pretrain"]})
    found = version.diff(other)
    assert found.counts["added"] == found.counts["removed"] == found.counts["changed"] == 0
    split = {side: {(r["row"]["path"], r["row"]["index"]): name for name in ("train", "validation", "test")
             for mix in ("finetune", "pretrain") for r in made.table(mix, name).to_pylist()}
             for side, made in (("old", version), ("new", other))}  # fmt: skip
    assert found.counts["resplit"] == sum(split["old"][place] != split["new"][place] for place in split["old"]) > 0


def test_listing_is_bounded_and_counting_is_not(version: Version, home: Path) -> None:
    """With a limit the tables are short and the counts whole."""
    other = build_tiny(home, mixes={"finetune": {"sources": {"sums": {"epochs": 1}}}})
    whole, short = version.diff(other), version.diff(other, limit=3)
    assert short.counts == whole.counts and by(short.removed_by) == by(whole.removed_by)
    assert short.removed.num_rows == 3 and short.removed.equals(whole.removed.slice(0, 3))
    assert json.loads(json.dumps(short.as_json()))["counts"] == whole.counts


def test_a_damaged_shard_is_told(tmp_path: Path) -> None:
    """A shard that is no Parquet, or lacks a column, is a CorruptVersion that names it."""
    write_inputs(tmp_path)
    version = build(tiny(tmp_path), workers=1)
    shard = version.shards("finetune")[0]
    table = pq.read_table(shard, partitioning=None)
    pq.write_table(table.drop_columns(["content"]), shard)
    with pytest.raises(CorruptVersion, match=r"train-00000-of-00001\.parquet: lacks the columns content"):
        version.diff(version)
    shard.write_bytes(b"PAR1")
    with pytest.raises(CorruptVersion, match="cannot be read as Parquet"):
        version.diff(version)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab/~", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab/~", max_size=2), inner, max_size=3),
)


def put(value: Any, pointer: str, new: Any) -> Any:
    """The value with another one at a JSON pointer (RFC 6901); a list grows by what is put behind its end."""
    if not pointer:
        return new
    *path, last = [part.replace("~1", "/").replace("~0", "~") for part in pointer[1:].split("/")]
    inside = value
    for part in path:
        inside = inside[int(part) if isinstance(inside, list) else part]
    if isinstance(inside, list) and int(last) == len(inside):
        inside.append(new)
    else:
        inside[int(last) if isinstance(inside, list) else last] = new
    return value


@given(JSON, JSON)
def test_putting_the_changes_into_the_old_value_makes_the_new_one(old: Any, new: Any) -> None:
    """The pointers are right and complete: what they name, changed, is the new value, but for what it lacks."""
    changes = list(setting_changes(old, new))
    assert bool(changes) == (json.dumps(old, sort_keys=True) != json.dumps(new, sort_keys=True))
    made = json.loads(json.dumps(old))
    for change in changes:
        made = put(made, change.pointer, change.new)
    assert not list(_present(setting_changes(made, new)))


def _present(changes: Any) -> Any:
    """Changes but those that say that a value is missing, which setting null cannot make true."""
    return (change for change in changes if not (change.old is None and change.new is None))


@given(st.lists(st.integers(1, 6), max_size=12), st.lists(st.integers(1, 6), max_size=12))
def test_matching_pairs_equal_values_one_to_one(left: list[int], right: list[int]) -> None:
    """Each value is paired as often as both sides have it, and with itself."""
    a, b = matched(np.array(left, np.uint64), np.array(right, np.uint64))
    assert [left[i] for i in a] == [right[i] for i in b] and len({*a}) == len(a) and len({*b}) == len(b)
    assert len(a) == sum(min(left.count(value), right.count(value)) for value in {*left})


def test_a_diff_is_typed_plainly(version: Version) -> None:
    """`Version.diff` gives a Diff whose tables have the documented columns, empty or not."""
    found = version.diff(version)
    assert isinstance(found, Diff)
    assert found.added.column_names == ["id", "source", "path", "index", "line", "split", "cause"]
    assert found.changed.column_names == ["id", "source", "path", "index", "line", "split", "old_id", "by"]
