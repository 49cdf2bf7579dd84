"""The published JSON Schemas, generated from the models: records by kind, header, recipe,
manifest, plan of a build, validation report.

`python -m didact.build.schemas DIR` writes them; a test compares the committed files with the models.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel

from didact.durable import write_json
from didact.recipe.load import Recipe
from didact.records import KINDS, Header
from didact.records.examples import EXAMPLES
from didact.report.plan_json import BuildPlan
from didact.report.validation_json import ValidationReport
from didact.store.manifest import Manifest

SCHEMA_VERSION = 1
"""Counts incompatible changes of the published schemas; part of every `$id`."""

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
"""JSON Schema's words for bounds that pydantic leaves under its own when a number may be null or written as text."""


def published() -> dict[str, dict[str, Any]]:
    """Every published schema by name, each a JSON Schema 2020-12 with a versioned `$id`."""
    models: dict[str, type[BaseModel]] = {
        **KINDS,
        "header": Header,
        "recipe": Recipe,
        "manifest": Manifest,
        "plan": BuildPlan,
        "validation": ValidationReport,
    }
    return {name: _schema(name, model) for name, model in models.items()}


def _schema(name: str, model: type[BaseModel]) -> dict[str, Any]:
    content = _in_standard_words(model.model_json_schema(by_alias=True, mode="validation"))
    for section in (content, *content.get("$defs", {}).values()):
        for told in section.get("properties", {}).values():
            _show_default(told)
    examples = {"examples": [EXAMPLES[name]]} if name in EXAMPLES else {}
    return {"$schema": _DIALECT, "$id": f"urn:didact:schema:{SCHEMA_VERSION}:{name}", **content, **examples}


def _in_standard_words(node: Any) -> Any:
    if isinstance(node, list):
        return [_in_standard_words(item) for item in node]
    if not isinstance(node, dict):
        return node
    renamed = _BOUNDS if "anyOf" in node or "type" in node else {}
    return {renamed.get(key, key): _in_standard_words(value) for key, value in node.items()}


def _show_default(told: dict[str, Any]) -> None:
    """A field without an example of its own shows its default, which is one."""
    default = told.get("const", told.get("default"))
    if "examples" not in told and default is not None:
        told["examples"] = [default]


def write_schemas(folder: Path) -> list[Path]:
    """Write one file per schema, sorted keys, so that a change of a model is a readable diff."""
    paths = []
    for name, content in published().items():
        path = folder / f"{name}.schema.json"
        write_json(path, orjson.loads(orjson.dumps(content)))
        paths.append(path)
    return paths


if __name__ == "__main__":
    for written in write_schemas(Path(sys.argv[1])):
        sys.stdout.write(f"{written}\n")
