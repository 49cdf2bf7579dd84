"""The reference pages of `docs/`, generated from what the code declares: recipe, formats, codes, records.

`python -m didact.report.reference DIR` writes them; a test compares the committed pages with the code.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, get_args, get_origin

import orjson
from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo

from didact.durable import write_atomic
from didact.formats.registry import Adapter, adapters
from didact.recipe.load import Recipe
from didact.records import KINDS, Header
from didact.records.codes import CODES, Code
from didact.records.examples import EXAMPLES

_BOUNDS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
    "minLength": "length ≥ {}",
    "minItems": "entries ≥ {}",
    "minProperties": "entries ≥ {}",
    "pattern": "matches `{}`",
}
_AREAS = {
    "IO": "Files",
    "WB": "Web pages and archives",
    "JS": "JSON",
    "CS": "CSV and TSV",
    "SC": "Fields of a row",
    "RO": "Roles of a conversation",
    "CO": "Contents",
    "QA": "Questions and answers",
    "TK": "Tasks",
    "PR": "Preferences",
    "MM": "Media",
    "TO": "Tools",
    "UN": "Unicode",
    "RE": "Rendering",
    "DU": "Duplicates",
    "LK": "Leaks",
    "MX": "Mixes",
    "PV": "Provenance",
}


def pages() -> dict[str, str]:
    """Every generated page by file name."""
    return {
        "recipe.md": recipe_page(),
        "formats.md": formats_page(),
        "codes.md": codes_page(),
        "schemas.md": schemas_page(),
    }


def write_pages(folder: Path) -> list[Path]:
    """Write all pages into a folder."""
    for name, content in pages().items():
        write_atomic(folder / name, content.encode())
    return [folder / name for name in pages()]


def recipe_page() -> str:
    """Every key of a recipe with its type, default, bounds and meaning, section by section."""
    lines = [
        "# The recipe, key by key",
        "",
        "Generated from the recipe's models by `make docs`. A recipe is one YAML file. A key that is not listed here, "
        "a wrong type or a value out of bounds is refused when the file is read, with the key's path. Paths are "
        "relative to the recipe. Where the type is *amount*, 20M, 1e6 and 1_000 are understood, and 64MB or 64MiB "
        "for bytes. NAME stands for a name of your own, [] for each entry of a list, *section* for keys in a table "
        "of their own below. *required*: has no default.",
    ]
    for path, model in recipe_sections():
        lines += ["", f"## {path}", "", " ".join((model.__doc__ or "").split()), ""]
        lines += ["| key | type | default | bounds | meaning |", "|---|---|---|---|---|"]
        schema = model.model_json_schema(by_alias=True)
        lines += [_key_row(schema, name, field) for name, field in model.model_fields.items()]
    return "\n".join([*lines, ""])


def recipe_sections() -> list[tuple[str, type[BaseModel]]]:
    """Every section of a recipe with the path of its keys, the recipe itself first, each model once."""
    found: dict[type[BaseModel], str] = {}

    def visit(path: str, model: type[BaseModel]) -> None:
        if model in found:
            return
        found[model] = path
        for name, field in model.model_fields.items():
            for place, inner in _sections_in(field.annotation):
                visit(f"{'' if model is Recipe else path + '.'}{name}{place}", inner)

    visit("recipe", Recipe)
    return [(path, model) for model, path in found.items()]


def _sections_in(annotation: Any) -> Iterator[tuple[str, type[BaseModel]]]:
    """Models inside a type, each with what a path says on the way to it."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield "", annotation
        return
    step = ".NAME" if get_origin(annotation) is dict else "[]" if get_origin(annotation) in (list, tuple) else ""
    for argument in get_args(annotation):
        for place, model in _sections_in(argument):
            yield f"{step}{place}", model


def _key_row(schema: dict[str, Any], name: str, field: FieldInfo) -> str:
    told = schema["properties"][name]
    kind = _type_words(told)
    if _is_amount(field):
        kind = kind.replace("integer or text", "amount")
    default = "*required*" if name in schema.get("required", ()) else _default_words(field)
    cells = [f"`{name}`", kind, default, ", ".join(_bounds(told, field)), field.description or ""]
    return f"| {' | '.join(_cell(cell) for cell in cells)} |"


def _type_words(told: dict[str, Any]) -> str:
    """A JSON Schema node in words."""
    if "enum" in told or "const" in told:
        return " or ".join(f"`{value}`" for value in told.get("enum", [told.get("const")]))
    if "anyOf" in told:
        return " or ".join(dict.fromkeys(_type_words(one) for one in told["anyOf"]))
    if "$ref" in told:
        return "section" if told["$ref"].startswith("#/$defs/") and "JsonValue" not in told["$ref"] else "any value"
    if told.get("type") == "array":
        return f"list of {_type_words(told.get('items', {}))}"
    if told.get("type") == "object":
        inner = told.get("additionalProperties")
        return f"NAME: {_type_words(inner)}" if isinstance(inner, dict) else "section"
    return {"string": "text", "number": "number", "null": "null"}.get(
        told.get("type", ""), told.get("type", "any value")
    )


def _is_amount(field: FieldInfo) -> bool:
    """Whether a number may be written with a unit, such as 20M."""
    inner = (data for argument in get_args(field.annotation) for data in getattr(argument, "__metadata__", ()))
    return any(isinstance(data, BeforeValidator) for data in (*field.metadata, *inner))


def _default_words(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, BaseModel):
        return "its defaults"
    return f"`{orjson.dumps(value, default=str).decode()}`"


def _bounds(told: dict[str, Any], field: FieldInfo) -> list[str]:
    """Bounds of a key. Those of an amount that may be null are in the field alone, not in its JSON Schema."""
    signs = {Ge: ("≥", "ge"), Gt: (">", "gt"), Le: ("≤", "le"), Lt: ("<", "lt")}
    own = [
        f"{sign} {getattr(data, name)}"
        for data in field.metadata
        for kind, (sign, name) in signs.items()
        if type(data) is kind
    ]
    stated = list(_schema_bounds(told))
    if _is_amount(field):
        # How an amount may be written is told once, at the top of the page.
        stated = [bound for bound in stated if not bound.startswith("matches")]
    return list(dict.fromkeys([*stated, *own]))


def _schema_bounds(told: dict[str, Any]) -> list[str]:
    own = [words.format(told[key]) for key, words in _BOUNDS.items() if key in told]
    return own + [bound for branch in told.get("anyOf", ()) for bound in _schema_bounds(branch)]


def formats_page() -> str:
    """Every format with an example, how the example is read, and the columns a recipe may map."""
    lines = [
        "# Formats",
        "",
        "Generated from the adapters by `make docs`. `format: auto` scores all of them on the first rows of a file and "
        "refuses to guess when two fit alike. Each is read from JSON lines, a JSON array, CSV, TSV, Parquet or Arrow, "
        "plain or compressed, unless it says that a file is one object or plain text.",
    ]
    lines += ["", "| format | written | kinds | rows |", "|---|---|---|---|", *map(_format_row, adapters().values())]
    for adapter in adapters().values():
        lines += ["", f"## {adapter.name}", "", f"{adapter.description[:1].upper()}{adapter.description[1:]}."]
        lines += [*_shape(adapter), "", "```json", adapter.example, "```", "", *_as_read(adapter), *_variants(adapter)]
    return "\n".join([*lines, ""])


def _format_row(adapter: Adapter) -> str:
    """A format in the overview; all formats are read."""
    cells = [f"`{adapter.name}`", "yes" if adapter.write is not None else "no", ", ".join(adapter.kinds)]
    return f"| {' | '.join(_cell(cell) for cell in [*cells, adapter.description])} |"


def _shape(adapter: Adapter) -> list[str]:
    lines = []
    if adapter.list_key is not None:
        lines.append(f"A file is one object; `{adapter.list_key}` holds its rows.")
    if adapter.unfold is not None:
        lines.append("Rows are nested; each is counted, with what stands above it.")
    lines.append("Read and written." if adapter.write is not None else "Read only.")
    if adapter.columns:
        pairs = ", ".join(f"{generic} (`{own}`)" for generic, own in adapter.columns.items())
        lines.append(f"Columns that `columns:` can map: {pairs}.")
    return ["", " ".join(lines)] if lines else []


def _variants(adapter: Adapter) -> list[str]:
    """Other rows of the same format."""
    if not adapter.variants:
        return []
    rows = [(name, orjson.dumps(row).decode()) for name, row in adapter.variants.items()]
    return ["", "Also read so:", *(line for name, row in rows for line in ("", f"{name}:", "", "```json", row, "```"))]


def _as_read(adapter: Adapter) -> list[str]:
    """What the example becomes: its kind, and the dialogue or text it trains on."""
    given = orjson.loads(adapter.example)
    row = given if adapter.list_key is None else given[adapter.list_key][0]
    header = None
    if adapter.header is not None and isinstance(given, dict):
        header = adapter.header({key: value for key, value in given.items() if key != adapter.list_key}, "example")
    if adapter.unfold is not None:
        row = adapter.unfold(row)[0][1]
    record = adapter.read(row, header).record
    spoken = [(turn["role"], turn["content"] or turn.get("tool_calls", "")) for turn in record.dialogue(header)]
    said = spoken or [(text.role, text.text) for text in record.texts()]
    rows = [f"| {role} | {_cell(text).replace(chr(10), '<br>')} |" for role, text in said]
    return [f"Read as a record of kind `{record.kind}`:", "", "| role | text |", "|---|---|", *rows]


def codes_page() -> str:
    """The catalogue of findings, area by area: a table of all, then each with its example under its own anchor."""
    lines = [
        "# Codes of findings",
        "",
        "Generated from the catalogue by `make docs`; `didact codes CODE` prints one entry. An error rejects its row, "
        "which is written to `rejected/` with its place and its first bytes; a warning is counted and the row is kept. "
        "A finding is about one *row* by itself, about a whole *file*, or about a row among the others (*set*); those "
        "of files and sets cost no row.",
        "",
        "| code | severity | about | title |",
        "|---|---|---|---|",
        *(f"| [{c.code}](#{c.code.lower()}) | {c.severity} | {c.level} | {_cell(c.title)} |" for c in CODES.values()),
    ]
    for area, codes in groupby(CODES.values(), key=lambda entry: entry.code[:2]):
        lines += ["", f"## {_AREAS[area]}"]
        for entry in codes:
            lines += ["", *_code_lines(entry)]
    return "\n".join([*lines, ""])


def _code_lines(entry: Code) -> list[str]:
    mended = f"`--fix` applies `{entry.fix}`" if entry.fix else "no safe fix"
    fence = _fence(entry.example)
    return [
        f"### {entry.code}",
        "",
        f"**{entry.title[:1].upper()}{entry.title[1:]}**: {entry.severity}, {entry.level}; "
        f"reported by {', '.join(f'`{name}`' for name in entry.commands)}; {mended}.",
        "",
        entry.about,
        "",
        fence,
        entry.example,
        fence,
    ]


def _fence(text: str) -> str:
    """A fence that no line of a text can close."""
    return "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))


def schemas_page() -> str:
    """Every kind of record with its fields and a full example, then the parts that fields are made of."""
    lines = [
        "# Records and their schemas",
        "",
        "Generated from the models by `make docs`. A record is one JSON object of one *kind*. The "
        "[schemas](../schemas/) are JSON Schema 2020-12; `didact schema KIND` prints one, and `$id` tells its "
        "version. A key that is not listed and a value of another type are errors, for a schema validator and for "
        "Didact alike. A field that is not *required* may be left out and then has its default. The recipe's keys "
        "are in `recipe.md`, the manifest's in `files.md`.",
    ]
    parts: dict[str, Any] = {}
    for kind, model in KINDS.items():
        schema = model.model_json_schema()
        parts |= schema["$defs"]
        lines += [*_fields_section(kind, schema), "", f"Its texts, in order: {model.texts_are}.", "", "```json"]
        lines += [orjson.dumps(EXAMPLES[kind], option=orjson.OPT_INDENT_2).decode(), "```"]
    header = Header.model_json_schema()
    parts |= header["$defs"]
    lines += _fields_section("header", header)
    for name, part in sorted(parts.items()):
        if "properties" in part:
            lines += _fields_section(name, part)
    return "\n".join([*lines, ""])


def _fields_section(name: str, schema: dict[str, Any]) -> list[str]:
    lines = ["", f"## {name}", "", schema.get("description", ""), "", "| field | type | required | meaning |"]
    lines.append("|---|---|---|---|")
    for field, told in schema["properties"].items():
        default = orjson.dumps(
            told.get("const", told.get("default", [] if told.get("type") == "array" else {}))
        ).decode()
        required = "*required*" if field in schema.get("required", ()) else f"no; `{default}`"
        kind = ", ".join([_field_words(told), *_schema_bounds(told)])
        lines.append(f"| `{field}` | {_cell(kind)} | {required} | {_cell(told['description'])} |")
    return lines


def _field_words(told: dict[str, Any]) -> str:
    """The type of a record's field in words; parts are named, so that they can be looked up."""
    branches = told.get("oneOf") or told.get("anyOf")
    if branches:
        return " or ".join(dict.fromkeys(map(_field_words, branches)))
    if told.get("type") == "array":
        return f"list of {_field_words(told.get('items', {}))}"
    name = told.get("$ref", "").rpartition("/")[2]
    if name and name != "JsonValue":
        return name
    return "object" if told.get("type") == "object" else _type_words(told)


def _cell(text: str) -> str:
    """Text as one cell of a table."""
    return text.replace("|", "\\|")


if __name__ == "__main__":
    for written in write_pages(Path(sys.argv[1])):
        sys.stdout.write(f"{written}\n")
