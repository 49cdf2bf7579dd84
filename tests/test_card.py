"""The dataset card: readers of Hugging Face take its header, and a person finds licences, losses and splits in it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tiny_recipe import build_tiny, tiny, write_inputs

from didact.build.pipeline import build
from didact.store.card import card
from didact.store.licenses import TERMS, hub_name, restriction, roll_up
from didact.store.version import Version


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Version:
    """A version of sources with licences of several kinds, and one without."""
    home = tmp_path_factory.mktemp("card")
    write_inputs(home)
    recipe = tiny(home)
    recipe["sources"]["stories"] |= {"license": "CC-BY-NC-4.0", "language": "en-GB"}
    recipe["sources"]["sums"]["license"] = "MIT"
    return build(recipe, workers=1)


def header(text: str) -> Any:
    """The YAML between the first two lines of dashes."""
    return yaml.safe_load(text.split("---\n")[1])


def table(text: str, title: str) -> list[list[str]]:
    """Rows of the first table under a heading, without its head."""
    lines = text.split(f"## {title}\n")[1].splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("|---"))
    rows = []
    for line in lines[start + 1 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def test_the_hub_reads_the_header(version: Version) -> None:
    """The hub's own library reads licence, language, size and configs as they are."""
    from huggingface_hub import DatasetCard

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = DatasetCard.load(version.path / "README.md").data.to_dict()
    assert data["license"] == ["unknown", "cc-by-nc-4.0", "mit"] and data["language"] == ["en"]
    assert data["size_categories"] == ["n<1K"] and data["pretty_name"] == "tiny"
    assert [(one["config_name"], one.get("default", False)) for one in data["configs"]] == [
        ("finetune", True), ("pretrain", False),
    ]  # fmt: skip


def test_licences_come_most_restrictive_first_and_unknown_ones_are_named(version: Version) -> None:
    """The roll-up begins with what nobody stated, which a sentence names once more."""
    text = (version.path / "README.md").read_text()
    rows = table(text, "Licences, the most restrictive first")
    assert [(row[0], row[2]) for row in rows] == [("unknown", "prose"), ("CC-BY-NC-4.0", "stories"), ("MIT", "sums")]
    assert "**No licence is stated for prose.**" in text and "Status: not checked." in text


def test_counts_are_those_of_the_accounting(version: Version) -> None:
    """Rows in = rejected + dropped + kept in each line, kept = train + validation + test, as the manifest has them."""
    text = (version.path / "README.md").read_text()
    splits = {row[0]: [int(cell) for cell in row[1:]] for row in table(text, "Splits")}
    for name, _, _, files, rows_in, rejected, dropped, kept in table(text, "Sources"):
        assert int(rows_in) == int(rejected) + int(dropped) + int(kept) and int(kept) == sum(splits[name])
        assert int(files) == len(version.manifest.sources[name].files)
    achieved = version.manifest.splits["stories"].achieved
    assert splits["stories"] == [achieved[split] for split in ("train", "validation", "test")]


@pytest.mark.parametrize(
    ("expression", "terms"),
    [
        ("MIT", "attribution"),
        ("cc-by-nc-sa-4.0", "no commercial use, share alike"),
        ("MIT OR GPL-3.0-only", "attribution"),
        ("MIT AND GPL-3.0-or-later", "share alike"),
        ("GPL-2.0-only WITH Classpath-exception-2.0 OR CC0-1.0", "no conditions"),
        ("(MIT AND CC-BY-ND-4.0) OR CC-BY-NC-4.0", "no commercial use"),
        ("unknown", TERMS[0]),
        ("LicenseRef-ours", TERMS[1]),
        ("MIT AND LicenseRef-ours", TERMS[1]),
        ("free to use", TERMS[1]),
        ("(MIT", TERMS[1]),
        ("MIT )", TERMS[1]),
        ("MIT AND", TERMS[1]),
        ("", TERMS[1]),
    ],
)
def test_terms_of_expressions(expression: str, terms: str) -> None:
    """AND asks for the stricter side, OR leaves the choice; what is no SPDX expression has terms nobody knows."""
    assert TERMS[restriction(expression)] == terms


@given(st.lists(st.sampled_from(["MIT", "(", ")", "AND", "OR", "WITH", "CC0-1.0", "x"]), max_size=9))
def test_any_licence_has_a_place(words: list[str]) -> None:
    """No text a recipe can state as a licence breaks the roll-up, and its order is that of the terms."""
    rolled = roll_up({" ".join(words): ["a"], "MIT": ["b"], "unknown": ["c"]})
    assert [TERMS.index(one.terms) for one in rolled] == sorted(TERMS.index(one.terms) for one in rolled)


def test_the_hub_has_its_own_names() -> None:
    """Identifiers are spelled as the hub lists them; what it does not list is `other`."""
    names = ["MIT", "CC-BY-SA-3.0", "ODbL-1.0", "PDDL-1.0", "GPL-3.0-only", "MIT OR GPL-3.0", "LicenseRef-x", "unknown"]
    expected = ["mit", "cc-by-sa-3.0", "odbl", "pddl", "gpl-3.0", "other", "other", "unknown"]
    assert [hub_name(name) for name in names] == expected


HOSTILE = "x|y\n---\n# <script>alert(1)</script> [a](javascript:b) **c** &lt; !"


@given(st.text(max_size=60) | st.just(HOSTILE))
def test_names_from_outside_are_text(version: Version, name: str) -> None:
    """Whatever a licence is called: the header stays YAML with the same configs, tables keep their columns, and no tag
    or link gets in.
    """
    manifest = version.manifest.model_copy(deep=True)
    manifest.licenses = {name or "-": ["stories"]}
    manifest.sources["stories"].license = name
    text = card(manifest)
    assert header(text)["configs"] == header(card(version.manifest))["configs"]
    body = text.split("---\n", 2)[2]
    assert "<script" not in body and "](java" not in body
    assert len(table(text, "Licences, the most restrictive first")) == 1 and len(table(text, "Sources")) == 3


def test_a_version_without_a_held_out_row_says_so(tmp_path: Path) -> None:
    """Nothing held out is told as such."""
    assert "Nothing was held out" in card(build_tiny(tmp_path, split={"validation": 0, "test": 0}).manifest)
