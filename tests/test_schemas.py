"""The published schemas: those committed are those of the models, valid, described, true of what is written, and of
one mind with the models that read records.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError
from strategies import RECORDS
from tiny_recipe import build_tiny, tiny

import didact
from didact.build.schemas import published, write_schemas
from didact.durable import read_json
from didact.records import KINDS, AnyRecord, Header, Record
from didact.records.examples import EXAMPLES
from didact.records.findings import Finding

ROOT = Path(__file__).parent.parent
SCHEMAS = ROOT / "schemas"
SAMPLES = sorted(path for folder in ("world", "dirty") for path in (ROOT / "sample_data" / folder).iterdir())
PUBLISHED = published()
VALIDATORS = {name: Draft202012Validator(schema) for name, schema in PUBLISHED.items()}


def test_committed_schemas_are_those_of_the_models(tmp_path: Path) -> None:
    """`make schemas` would change nothing."""
    written = {path.name: path.read_bytes() for path in write_schemas(tmp_path)}
    assert {path.name: path.read_bytes() for path in SCHEMAS.iterdir()} == written


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_schemas_are_valid_and_carry_their_version(name: str) -> None:
    """Each is a JSON Schema 2020-12 with an `$id` that tells its version, in words that the dialect knows."""
    content = PUBLISHED[name]
    Draft202012Validator.check_schema(content)
    assert content["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    assert content["$id"] == f"urn:didact:schema:1:{name}"
    assert {key for node in nodes(content) for key in node} <= WORDS


WORDS = {
    *("$schema", "$id", "$defs", "$ref", "type", "const", "enum", "anyOf", "oneOf", "items", "prefixItems"),
    *("properties", "required", "additionalProperties", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    *("minLength", "maxLength", "minItems", "maxItems", "minProperties", "pattern"),
    *("title", "description", "default", "examples", "format", "discriminator"),
}
"""What the schemas may say; `discriminator` is OpenAPI's hint beside a `oneOf` that says the same."""


def nodes(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A schema and every schema inside it."""
    yield schema
    for group in ("properties", "$defs"):
        for inner in schema.get(group, {}).values():
            yield from nodes(inner)
    for group in ("anyOf", "oneOf", "prefixItems"):
        for inner in schema.get(group, ()):
            yield from nodes(inner)
    for inner in (schema.get("items"), schema.get("additionalProperties")):
        if isinstance(inner, dict):
            yield from nodes(inner)


def properties(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every property at any depth of a schema and of its definitions, with its name."""
    for node in nodes(schema):
        yield from node.get("properties", {}).items()


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_every_field_is_described_and_shown(name: str) -> None:
    """No field is published without saying what it means, and without an example that its own schema accepts."""
    schema = PUBLISHED[name]
    fields = list(properties(schema))
    assert len(fields) > 10
    for field, told in fields:
        assert told.get("description"), field
        assert told.get("examples"), field
        own = Draft202012Validator({**told, "$defs": schema.get("$defs", {})})
        assert [error.message for example in told["examples"] for error in own.iter_errors(example)] == [], field


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_full_example_of_a_kind_is_a_record(kind: str) -> None:
    """The example in the schema and on its page is valid for both sides, shows every field, and has its own id."""
    text = orjson.dumps(EXAMPLES[kind])
    record = AnyRecord.validate_json(text)
    assert PUBLISHED[kind]["examples"] == [EXAMPLES[kind]]
    assert agreed(text) == kind
    assert record.id == record.content_id()
    assert EXAMPLES[kind].keys() | {"header"} == type(record).model_fields.keys()


@pytest.mark.parametrize(
    "path",
    [
        "sample_data/recipe.yaml",
        "docs/examples/real.yaml",
        "docs/examples/preference.yaml",
        "docs/examples/classifier.yaml",
    ],
)
def test_real_recipes_fit_the_schema(path: str) -> None:
    """An editor that checks YAML against the schema has nothing to say about the recipes that we publish."""
    VALIDATORS["recipe"].validate(yaml.safe_load((ROOT / path).read_text(encoding="utf-8")))


def test_what_a_build_writes_fits_the_schemas(tmp_path: Path) -> None:
    """The manifest, the recipe and every record in the shards are valid under the committed schemas."""
    version = build_tiny(tmp_path)
    schemas = {path.name.split(".")[0]: json.loads(path.read_bytes()) for path in SCHEMAS.iterdir()}
    Draft202012Validator(schemas["manifest"]).validate(read_json(version.path / "manifest.json"))
    Draft202012Validator(schemas["recipe"]).validate(tiny(tmp_path))
    for mix in version.manifest.mixes:
        for row in version.table(mix).to_pylist():
            Draft202012Validator(schemas[row["kind"]]).validate(json.loads(row["record"]))


# --- One mind: the models and a validator that knows nothing of them ------------------------------------------------


def agreed(text: bytes) -> str | None:
    """The kind of record that a JSON text is, by the models and by the schemas alike; None when it is none."""
    try:
        by_model = AnyRecord.validate_json(text, strict=True).kind
    except ValidationError:
        by_model = None
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        value = None
    by_schema = [kind for kind in KINDS if VALIDATORS[kind].is_valid(value)]
    assert by_schema == ([] if by_model is None else [by_model]), text
    return by_model


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_sample_records_are_valid_for_both(path: Path) -> None:
    """The records of every sample file, spelt short and in full, are of their kind by the models and by the schema."""
    findings: list[Finding] = []
    if path.name == "tasks.json":
        return
    for record in didact.read(path, limit=200, findings=findings):
        assert agreed(record.canonical()) == record.kind
        assert agreed(orjson.dumps(record.model_dump(mode="json"))) == record.kind


ODD: st.SearchStrategy[Any] = st.sampled_from([
    None, True, False, 0, 1, -1, 1.0, 0.5, -0.0, 2**53, 2**53 + 1, 2**63, -(2**63), 1e308, 1.7e308, "", "x", "1",
    "é\u2028", "text", "qa", "assistant", "0" * 32, "0" * 32 + "\n", "0" * 31 + "٣", "tool_call", [], {}, [[]], [None],
    ["x"], [{}], [1], {"x": None}, {"type": "text"}, {"text": "x"}, {"type": "text", "text": "x"},
    {"label": "A", "text": "x"}, {"role": "user", "parts": []}, [{"role": "user", "parts": [{"text": "x"}]}],
    [{"text": "x", "start": 1.0}],
])  # fmt: skip
"""Values that sit on the edge of some rule: coerced types, bounds, patterns, parts without a type."""
RAW = st.sampled_from(
    [b"NaN", b"Infinity", b"1e400", b"-1e400", b"1" + b"0" * 400, b'"\\ud800"', b"1.0", b"1E0", b"-0", b"9" * 25]
)
"""Values that only JSON text can spell, or that it cannot."""


def places(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value inside a JSON value, and its own."""
    yield way
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield from places(item, (*way, key))


def mutated(data: st.DataObject, value: Any) -> Any:
    """A copy with one thing changed: a value replaced, doubled, turned to text, a key taken away, added or renamed."""
    copy = deepcopy(value)
    way = data.draw(st.sampled_from(list(places(copy))))
    holder: Any = copy
    for key in way[:-1]:
        holder = holder[key]
    found = holder[way[-1]] if way else copy
    change = data.draw(st.sampled_from(["replace", "delete", "add", "rename", "spell", "empty", "repeat"]))
    if change == "add" and isinstance(found, dict):
        known = sorted({key for kind in EXAMPLES.values() for key in kind} | {"start", "type", "weight", "x"})
        found[data.draw(st.sampled_from(known))] = data.draw(ODD)
    elif not way:
        return data.draw(ODD)
    elif change == "delete":
        del holder[way[-1]]
    elif change == "rename" and isinstance(holder, dict):
        holder[way[-1] + data.draw(st.sampled_from(["s", " ", "\0"]))] = holder.pop(way[-1])
    elif change == "spell":
        holder[way[-1]] = str(found)
    elif change == "empty":
        holder[way[-1]] = type(found)() if found is not None else ""
    elif change == "repeat":
        holder[way[-1]] = [found, found]
    else:
        holder[way[-1]] = data.draw(ODD)
    return copy


@given(st.sampled_from(sorted(EXAMPLES)), st.data())
def test_mutated_examples_get_one_verdict(kind: str, data: st.DataObject) -> None:
    """However a full record is damaged, models and schemas take it or refuse it alike."""
    value = EXAMPLES[kind]
    for _ in range(data.draw(st.integers(1, 3))):
        value = mutated(data, value)
    agreed(orjson.dumps(value))


@given(RECORDS, st.data())
def test_mutated_records_get_one_verdict(record: Record, data: st.DataObject) -> None:
    """Any record agrees, and any record damaged once does."""
    value = orjson.loads(record.canonical())
    assert agreed(record.canonical()) == record.kind
    agreed(orjson.dumps(mutated(data, value)))


@given(st.sampled_from(sorted(EXAMPLES)), st.data(), RAW)
def test_numbers_and_words_that_are_no_json_get_one_verdict(kind: str, data: st.DataObject, raw: bytes) -> None:
    """NaN, infinities, huge numbers and half surrogates are judged alike wherever they stand."""
    copy = deepcopy(EXAMPLES[kind])
    way = data.draw(st.sampled_from([way for way in places(copy) if way]))
    holder: Any = copy
    for key in way[:-1]:
        holder = holder[key]
    holder[way[-1]] = "\0here\0"
    agreed(orjson.dumps(copy).replace(b'"\\u0000here\\u0000"', raw))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (b'{"kind":"qa","question":"q","answers":[{"text":"a","start":1.0}]}', "qa"),
        (b'{"kind":"qa","question":"q","answers":[{"text":"a","start":1.5}]}', None),
        (b'{"kind":"qa","question":"q","answers":[{"text":"a","start":true}]}', None),
        (b'{"question":"q"}', None),
        (b'{"kind":"Qa","question":"q"}', None),
        (b'{"kind":"qa","question":"q","answerable":"true"}', None),
        (b'{"kind":"text","text":"x","id":"%s\\n"}' % (b"0" * 32), None),
        (b'{"kind":"text","text":"x","origin":{"format":"f","extra":{"a":NaN}}}', None),
        (b'{"kind":"chat","messages":[{"role":"user","parts":[{"text":"x"}]}]}', None),
        (b'{"kind":"chat","messages":[{"role":"user","parts":[],"weight":-0.0}]}', "chat"),
        (b'{"kind":"chat","messages":[{"role":"user","parts":[],"weight":1e400}]}', None),
        (b'{"kind":"preference","prompt":[],"candidates":[]}', None),
    ],
)
def test_edges_are_judged_as_stated(text: bytes, kind: str | None) -> None:
    """The cases in which a coercing reader and a schema would part are judged as here, by both."""
    assert agreed(text) == kind


@given(st.data())
def test_mutated_headers_get_one_verdict(data: st.DataObject) -> None:
    """What a file says once is judged alike too."""
    shown = PUBLISHED["header"]["properties"]
    value = {field: told["examples"][0] for field, told in shown.items()}
    VALIDATORS["header"].validate(value)
    text = orjson.dumps(mutated(data, value))
    try:
        Header.model_validate_json(text)
    except ValidationError:
        assert not VALIDATORS["header"].is_valid(orjson.loads(text)), text
    else:
        VALIDATORS["header"].validate(orjson.loads(text))
