"""The published schemas: those committed are those of the models, valid, described, and true of what is written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from tiny_recipe import build_tiny, tiny

from didact.build.schemas import published, write_schemas
from didact.durable import read_json

SCHEMAS = Path(__file__).parent.parent / "schemas"


def test_committed_schemas_are_those_of_the_models(tmp_path: Path) -> None:
    """`make schemas` would change nothing."""
    written = {path.name: path.read_bytes() for path in write_schemas(tmp_path)}
    assert {path.name: path.read_bytes() for path in SCHEMAS.iterdir()} == written


@pytest.mark.parametrize("name", sorted(published()))
def test_schemas_are_valid_and_carry_their_version(name: str) -> None:
    """Each is a JSON Schema 2020-12 with an `$id` that tells its version."""
    content = published()[name]
    Draft202012Validator.check_schema(content)
    assert content["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    assert content["$id"] == f"urn:didact:schema:1:{name}"


def properties(schema: Any, place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every property of a schema and of its definitions, with its place."""
    for name, content in schema.get("properties", {}).items():
        yield f"{place}/{name}", content
    for name, content in schema.get("$defs", {}).items():
        yield from properties(content, f"{place}/{name}")


def is_described(content: dict[str, Any], schema: dict[str, Any]) -> bool:
    """Whether a property says what it means, or is of a section that does and says the same, or is a constant."""
    section = schema.get("$defs", {}).get(content.get("$ref", "").rpartition("/")[2], {})
    return bool(content.get("description") or section.get("description") or "const" in content)


@pytest.mark.parametrize("name", sorted(published()))
def test_every_property_is_described(name: str) -> None:
    """No key is published without saying what it means."""
    schema = published()[name]
    assert [place for place, content in properties(schema) if not is_described(content, schema)] == []


def test_what_a_build_writes_fits_the_schemas(tmp_path: Path) -> None:
    """The manifest, the recipe and every record in the shards are valid under the committed schemas."""
    version = build_tiny(tmp_path)
    schemas = {path.name.split(".")[0]: json.loads(path.read_bytes()) for path in SCHEMAS.iterdir()}
    Draft202012Validator(schemas["manifest"]).validate(read_json(version.path / "manifest.json"))
    Draft202012Validator(schemas["recipe"]).validate(tiny(tmp_path))
    for mix in version.manifest.mixes:
        for row in version.table(mix).to_pylist():
            Draft202012Validator(schemas[row["kind"]]).validate(json.loads(row["record"]))
