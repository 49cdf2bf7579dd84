"""The generated pages of docs/ say what the code says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import orjson
import pytest

from didact.formats.registry import adapters
from didact.recipe.load import Recipe, load_recipe
from didact.records import KINDS, AnyRecord, Header
from didact.records.findings import CODES
from didact.report.reference import pages, recipe_sections, write_pages

DOCS = Path(__file__).parent.parent / "docs"


@pytest.mark.parametrize("name", ["recipe.md", "formats.md", "codes.md", "schemas.md"])
def test_the_committed_pages_are_the_generated_ones(name: str) -> None:
    """Whoever changes a recipe key, a format, a code or a record runs `make docs` before committing."""
    assert (DOCS / name).read_text(encoding="utf-8") == pages()[name]


def _keys(schema: dict[str, Any]) -> set[str]:
    """Every property name of a JSON Schema, nested definitions included."""
    inner = [_keys(definition) for definition in schema.get("$defs", {}).values()]
    return set(schema.get("properties", {})).union(*inner)


def test_every_key_of_the_recipe_is_on_its_page() -> None:
    """The page lists the same keys as the JSON Schema, which pydantic walks on its own, each with a meaning."""
    rows = [line.split(" | ") for line in pages()["recipe.md"].splitlines() if line.startswith("| `")]
    assert {row[0].strip("| `") for row in rows} == _keys(Recipe.model_json_schema())
    assert all(len(row[-1].rstrip(" |")) > 10 for row in rows)


def test_every_section_has_a_place_in_a_recipe() -> None:
    """A path of the page leads to its section, whichever way the models nest."""
    paths = [path for path, _ in recipe_sections()]
    assert {"sources.NAME", "filters[]", "dedup.minhash", "mixes.NAME.sources.NAME", "evaluate.tasks[]"} <= set(paths)
    assert len(paths) == len(set(paths))


def test_every_format_and_code_is_on_its_page() -> None:
    """No adapter and no code is left out, and each example is JSON."""
    made = pages()
    for name, adapter in adapters().items():
        assert f"## {name}\n" in made["formats.md"]
        assert orjson.loads(adapter.example)
    for code, entry in CODES.items():
        assert f"| [{code}](#{code.lower()}) | {entry.severity} | {entry.level} |" in made["codes.md"]
        assert f"\n### {code}\n" in made["codes.md"]
        assert f"\n{entry.example}\n```" in made["codes.md"]


def test_the_records_page_shows_every_field_and_valid_examples() -> None:
    """Each kind, and each part of one, lists its fields; the printed examples are records of their kinds."""
    page = pages()["schemas.md"]
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    for kind, model in {**KINDS, "header": Header}.items():
        schema = model.model_json_schema()
        for name, part in {kind: schema, **schema["$defs"]}.items():
            if "properties" in part:
                assert re.findall(r"^\| `(\w+)`", sections[name], re.MULTILINE) == list(part["properties"])
    examples = [
        AnyRecord.validate_json(found, strict=True) for found in re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    ]
    assert [record.kind for record in examples] == list(KINDS)


def test_pages_are_written_whole(tmp_path: Path) -> None:
    """The command writes the same text that the function returns, and says where."""
    written = write_pages(tmp_path / "docs")
    assert [path.name for path in written] == list(pages())
    assert all(path.read_text(encoding="utf-8") == pages()[path.name] for path in written)


def test_the_example_recipe_loads() -> None:
    """docs/examples/real.yaml is a recipe, and uses the sections it explains."""
    path = DOCS / "examples" / "real.yaml"
    recipe, base = load_recipe(path)
    assert base == path.parent
    assert set(recipe.sources) == {"alpaca", "alpaca_zh", "gsm8k", "t0", "shakespeare", "law"}
    assert recipe.pretrain and recipe.finetune and recipe.evaluate
