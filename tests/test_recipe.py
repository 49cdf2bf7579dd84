"""Recipes: what cannot be meant is refused with the key's path and what to do; quantities read as people write them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from didact.errors import CallError, InputMissing, RecipeError
from didact.recipe.load import Recipe, load_recipe
from didact.recipe.quantity import parse_bytes, parse_count

GOOD: dict[str, Any] = {
    "name": "good",
    "sources": {"a": {"path": "a.jsonl"}, "b": {"path": ["b.csv", "c.csv"], "columns": {"prompt": "query"}}},
    "filters": [{"signal": "response.words", "min": 1}, {"set": "instruction", "sources": ["a"]}],
    "dedup": {"minhash": {"threshold": 0.7}},
    "split": {"validation": 0.1, "test": 0.1, "sources": ["a"]},
    "mixes": {
        "finetune": {"unit": "tokens", "budget": "2M", "sources": {"a": {"share": 0.5}, "b": {"count": "10k"}}},
        "more": {"purpose": "pretrain", "sources": {"b": {"epochs": 2}}, "on_exhaust": {"repeat": 4}},
    },
    "finetune": {"epochs": 2},
    "evaluate": {"tasks": [{"name": "t", "split": "test"}]},
}


def changed(place: str, value: Any) -> dict[str, Any]:
    """The good recipe with one value set at a dotted place."""
    recipe = copy.deepcopy(GOOD)
    section: Any = recipe
    *path, last = place.split(".")
    for part in path:
        section = section[int(part)] if part.isdigit() else section.setdefault(part, {})
    section[last] = value
    return recipe


def test_a_good_recipe_is_read_as_meant() -> None:
    """Quantities become numbers, defaults are filled in, purposes come from names."""
    recipe, _ = load_recipe(GOOD)
    assert recipe.mixes["finetune"].budget == 2_000_000 and recipe.mixes["finetune"].sources["b"].count == 10_000
    assert (recipe.purpose("finetune"), recipe.purpose("more")) == ("finetune", "pretrain")
    assert recipe.dedup.exact and recipe.dedup.minhash is not None and recipe.dedup.minhash.ngram == 5
    assert load_recipe(recipe)[0] is recipe


BAD = [
    ("sorces", {}, "sorces: unknown key; did you mean 'sources'?"),
    ("sources.a.fromat", "alpaca", "sources.a.fromat: unknown key; did you mean 'format'?"),
    ("clean.pii.emial", "mask", "clean.pii.emial: unknown key; did you mean 'email'?"),
    ("dedup.minhash.treshold", 0.8, "dedup.minhash.treshold: unknown key; did you mean 'threshold'?"),
    ("mixes.finetune.sources.a.shares", 1, "mixes.finetune.sources.a.shares: unknown key; did you mean 'share'?"),
    ("finetune.epoch", 1, "finetune.epoch: unknown key; did you mean 'epochs'?"),
    ("evaluate.tasks.0.metrics", "f1", "evaluate.tasks.0.metrics: unknown key; did you mean 'metric'?"),
    ("filters.0.zzz", 1, "filters.0.zzz: unknown key; known keys: max, min, set, signal, sources"),
    ("mixes.finetune.sources.a.share", -1, "mixes.finetune.sources.a.share: Input should be greater than 0"),
    ("mixes.finetune.sources.c", {"share": 1}, "mixes.finetune.sources: unknown source 'c'; known: a, b"),
    ("filters.1.sources", ["aa"], "filters[1].sources: unknown source 'aa'; did you mean a?"),
    ("split.sources", ["x"], "split.sources: unknown source 'x'"),
    ("dedup.sources", ["x"], "dedup.sources: unknown source 'x'"),
    ("mixes.finetune.sources.a.epochs", 1, "give exactly one of 'share', 'epochs', 'count'"),
    ("mixes.mine", {"sources": {"a": {"share": 1}}}, "mixes.mine: give its 'purpose'"),
    ("mixes.finetune.budget", "many", "mixes.finetune.budget: Input should be a valid integer"),
    ("mixes.finetune.budget", 0, "mixes.finetune.budget: Input should be greater than or equal to 1"),
    ("sources.a.path", 7, "sources.a.path"),
    ("sources.a.path", "", "path is empty"),
    ("sources.b.columns", {"query": "prompt"}, "'query' is none of"),
    ("sources", {}, "sources: Dictionary should have at least 1 item"),
    ("name", "a/b", "name: String should match pattern"),
    ("split.validation", 0.95, "leave nothing to train on"),
    ("filters.0.max", 0, "nothing would be kept"),
    ("dedup.minhash.views", ["response"], "equal responses alone do not make duplicates"),
    ("tokenizer", None, "tokenizer is null, but training and mixes in tokens need one"),
    ("finetune.warmup", 0.9, "must not exceed 1"),
    ("evaluate.tasks.0.path", "x.jsonl", "exactly one of path and split"),
    ("seed", -1, "seed: Input should be greater than or equal to 0"),
]


@pytest.mark.parametrize(("place", "value", "told"), BAD, ids=[f"{place}={value}" for place, value, _ in BAD])
def test_a_bad_recipe_is_refused_with_its_place(place: str, value: Any, told: str) -> None:
    """Each mistake is one line that names the key's path, and exit code 2."""
    with pytest.raises(RecipeError) as caught:
        load_recipe(changed(place, value))
    assert told in str(caught.value) and "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_recipes_are_yaml_with_each_key_once(tmp_path: Path) -> None:
    """A file is read relative to its folder; twice the same key, broken YAML and lists are refused with their line."""
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(GOOD), encoding="utf-8")
    assert load_recipe(path) == (load_recipe(GOOD)[0], tmp_path.resolve())
    for text, told in [
        ("name: a\nseed: 1\nname: b\n", r"recipe\.yaml:3:1: not valid YAML: key 'name' is given twice"),
        ("name: a\nsources: {a: {path: x, path: y}}\n", r"recipe\.yaml:2:24: .*key 'path' is given twice"),
        ("name: [a\n", r"recipe\.yaml:2:1: not valid YAML"),
        ("- name\n", "a recipe is a mapping of sections, found list"),
        ("", "a recipe is a mapping of sections, found NoneType"),
        ("name: !!python/object/apply:os.getcwd []\n", "not valid YAML: could not determine a constructor"),
    ]:
        path.write_text(text, encoding="utf-8")
        with pytest.raises(RecipeError, match=told):
            load_recipe(path)


def test_a_recipe_that_is_not_there_or_no_text_is_told(tmp_path: Path) -> None:
    """Absent files, folders and other encodings are the caller's errors."""
    with pytest.raises(InputMissing, match=r"no\.yaml: no such recipe; `didact init DIR`"):
        load_recipe(tmp_path / "no.yaml")
    with pytest.raises(InputMissing):
        load_recipe(tmp_path)
    (tmp_path / "latin.yaml").write_bytes("name: caf\xe9".encode("latin-1"))
    with pytest.raises(CallError, match="UTF-8"):
        load_recipe(tmp_path / "latin.yaml")


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "sources", "mixes", "a", "path", "share"]), inner, max_size=4), max_leaves=8))  # fmt: skip # noqa: E501
def test_whatever_a_file_says_is_a_recipe_or_a_recipe_error(content: Any) -> None:
    """No content of a YAML file ends in another error."""
    try:
        recipe, _ = load_recipe(content if isinstance(content, dict) else {"name": content, "sources": content})
    except RecipeError as error:
        assert str(error)
    else:
        assert isinstance(recipe, Recipe)


@given(st.integers(0, 10**6), st.sampled_from(["", "k", "M", "G", "B", "T"]))
def test_counts_read_as_written(number: int, scale: str) -> None:
    """A count with a letter is the number times a power of a thousand."""
    power = {"": 0, "k": 1, "M": 2, "G": 3, "B": 3, "T": 4}[scale]
    assert parse_count(f"{number}{scale}") == parse_count(f" {number:_} {scale.lower()}") == number * 1000**power


def test_quantities_that_are_none_are_left_alone() -> None:
    """What is no quantity stays as it is, for the schema to refuse."""
    for value in ("-3", "2 apples", "", "1.5.2", "0x10", None, 2.5, [1]):
        assert parse_count(value) == value and parse_bytes(value) == value
    assert parse_count("1e6") == 10**6 and parse_count(3.0) == 3 and parse_count("1.5k") == 1500
    assert (parse_bytes("64MB"), parse_bytes("64MiB"), parse_bytes("10"), parse_bytes("2kB")) == (
        64 * 10**6, 64 * 2**20, 10, 2000,
    )  # fmt: skip
