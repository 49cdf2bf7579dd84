"""Tool definitions as checked JSON Schemas: bounded in size, depth and work, without the network, without backtracking.

The schemas come from data files, so each is an attack until shown otherwise: a pattern that backtracks for hours, a
reference to an address, definitions that double with every level.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from functools import cache, lru_cache
from typing import Any, NamedTuple, TypeAlias

import orjson
import re2
from jsonschema import Draft7Validator, Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT7, DRAFT202012

MOST_BYTES = 64 << 10
"""Longest schema and longest arguments that are checked; the longest definition in the public tool sets is a tenth."""
MOST_DEPTH = 64
"""Deepest nesting of a schema."""
MOST_STEPS = 20_000
"""Keywords evaluated for one call, so that no schema takes more than about half a second."""

Schema: TypeAlias = Mapping[str, Any]
_Keyword: TypeAlias = Callable[[Any, Any, Any, Any], Iterable[ValidationError] | None]

_DIALECTS = {
    "json-schema.org/draft/2020-12/schema": (Draft202012Validator, DRAFT202012),
    "json-schema.org/draft-07/schema": (Draft7Validator, DRAFT7),
}
_REFERENCES = ("$ref", "$dynamicRef")


class Unusable(Exception):
    """Why a schema, or a check by it, is beyond what is done with untrusted schemas."""


class ToolSchema(NamedTuple):
    """One tool: its name, and the check of its arguments, which raises Unusable; None when there is none to make."""

    name: str
    violation: Callable[[Any], str] | None


class ToolSet(NamedTuple):
    """The tools of a record, and what is wrong with their definitions: JSON pointer inside the list, message."""

    tools: dict[str, ToolSchema]
    problems: tuple[tuple[str, str], ...]


def tool_set(definitions: list[dict[str, Any]]) -> ToolSet:
    """The tools that a record defines; equal lists are compiled once."""
    return _compiled(orjson.dumps(definitions))


@lru_cache(maxsize=256)
def _compiled(definitions: bytes) -> ToolSet:
    tools: dict[str, ToolSchema] = {}
    problems: list[tuple[str, str]] = []
    for place, definition in enumerate(orjson.loads(definitions)):
        if definition.get("type", "function") != "function" and "function" not in definition:
            continue  # a tool that the provider runs, such as a web search, has neither a name nor parameters
        inner, where = definition, f"/{place}"
        if isinstance(definition.get("function"), dict):
            inner, where = definition["function"], f"/{place}/function"
        name = inner.get("name")
        if not isinstance(name, str) or not name:
            problems.append((where, "a tool without a name"))
            continue
        key = next((key for key in ("parameters", "input_schema", "inputSchema") if inner.get(key)), None)
        check = None
        if key is not None:
            try:
                check = _violation_by(inner[key])
            except Unusable as error:
                problems.append((f"{where}/{key}", f"tool '{name[:60]}': {error}"))
        tools[name] = ToolSchema(name, check)
    return ToolSet(tools, tuple(problems))


def _violation_by(schema: Any) -> Callable[[Any], str]:
    """The check of a schema: from arguments to what is wrong with them, or an empty text.

    Raises Unusable, and so does the check when it goes beyond its bounds.
    """
    schema = _bounded(schema)
    validator_class, specification = _dialect(schema)
    schema = {key: value for key, value in schema.items() if key != "$schema"}
    for error in validator_class(validator_class.META_SCHEMA).iter_errors(schema):
        raise Unusable(f"no valid JSON Schema: {_at(error)}{error.message[:160]}")
    resolver: Any = Registry().resolver_with_root(specification.create_resource(schema))
    for node in _nodes(schema):
        _self_contained(node, resolver)
    _simple(schema)
    validator = _counted(validator_class)(schema, registry=Registry())

    def violation(arguments: Any) -> str:
        _STEPS.set(iter(range(MOST_STEPS)))
        try:
            error = next(validator.iter_errors(arguments), None)
        except RecursionError as endless:
            raise Unusable("refers to itself without end") from endless
        return "" if error is None else f"{_at(error)}{error.message[:160]}"

    return violation


def _bounded(schema: Any) -> dict[str, Any]:
    """A schema, given as one or as JSON text, of bounded size and depth. Raises Unusable."""
    if isinstance(schema, str):
        try:
            schema = orjson.loads(schema)
        except orjson.JSONDecodeError as error:
            raise Unusable("parameters given as a text that is no JSON") from error
    if not isinstance(schema, dict):
        raise Unusable("parameters that are no object")
    size, depth = len(orjson.dumps(schema)), _depth(schema)
    if size > MOST_BYTES or depth > MOST_DEPTH:
        raise Unusable(
            f"a schema of {size:,} bytes, {depth} levels deep; checked are {MOST_BYTES:,} bytes, {MOST_DEPTH} levels"
        )
    return schema


def _depth(value: Any) -> int:
    """Levels of nesting, walked without recursion."""
    depth, level = 0, [value]
    while level:
        depth += 1
        level = [inner for node in level for inner in _inside(node)]
    return depth


def _inside(node: Any) -> Iterable[Any]:
    return node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    """Every object inside a value, itself included."""
    rest = [value]
    while rest:
        node = rest.pop()
        if isinstance(node, dict):
            yield node
        rest.extend(_inside(node))


def _dialect(schema: Schema) -> tuple[Any, Any]:
    """The validator of the dialect that `$schema` names, 2020-12 where it names none. Raises Unusable."""
    declared = schema.get("$schema", "https://json-schema.org/draft/2020-12/schema")
    known = _DIALECTS.get(str(declared).partition("://")[2].rstrip("#"))
    if known is None:
        raise Unusable(f"written in '{str(declared)[:80]}'; 2020-12 and draft 7 are read")
    return known


def _self_contained(node: Schema, resolver: Any) -> None:
    """Raises Unusable for a reference that leads elsewhere or nowhere, and for a schema inside with its own base."""
    for key in _REFERENCES:
        target = node.get(key)
        if not isinstance(target, str):
            continue
        if not target.startswith("#"):
            raise Unusable(f"refers to '{target[:80]}', which is not fetched; references stay inside the schema")
        try:
            resolver.lookup(target)
        except Unresolvable as error:
            raise Unusable(f"refers to '{target[:80]}', which is not there") from error
    if isinstance(node.get("$schema"), str):
        raise Unusable("a schema inside declares a dialect of its own")


def _simple(schema: Schema) -> None:
    """Raises Unusable for patterns that need backtracking, and for what cannot be evaluated in bounded time."""
    nodes = list(_nodes(schema))
    for node in nodes:
        listed = node.get("patternProperties")
        patterns = [node["pattern"]] if isinstance(node.get("pattern"), str) else []
        for pattern in [*patterns, *(listed if isinstance(listed, dict) else ())]:
            try:
                _pattern(pattern)
            except re2.error as error:
                raise Unusable(f"the pattern '{pattern[:80]}' cannot be searched in linear time") from error
    keys = {key for node in nodes for key in node}
    if keys & {"unevaluatedProperties", "unevaluatedItems"} and keys & {*_REFERENCES, "patternProperties"}:
        raise Unusable("combines unevaluated properties or items with references or patterns")


@lru_cache(maxsize=1024)
def _pattern(pattern: str) -> Any:
    """A pattern compiled by RE2, which never backtracks."""
    options = re2.Options()
    options.log_errors = False
    return re2.compile(pattern, options)


_STEPS: ContextVar[Iterator[int]] = ContextVar("steps")
"""Steps that the running check has left."""


@cache
def _counted(validator_class: Any) -> Any:
    """A dialect's validator that counts its steps and searches patterns by RE2."""
    own = dict(validator_class.VALIDATORS) | {
        "pattern": _matches,
        "patternProperties": _matching_properties,
        "additionalProperties": _other_properties,
        "uniqueItems": _unique_items,
    }
    return extend(validator_class, {keyword: _counting(check) for keyword, check in own.items()})


def _counting(check: _Keyword) -> _Keyword:
    def counted(validator: Any, value: Any, instance: Any, schema: Any) -> Iterable[ValidationError] | None:
        if next(_STEPS.get(), None) is None:
            raise Unusable(f"takes more than {MOST_STEPS:,} steps to check")
        return check(validator, value, instance, schema)

    return counted


def _matches(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[ValidationError]:
    del validator, schema
    if isinstance(instance, str) and not _pattern(pattern).search(instance):
        yield ValidationError(f"{instance[:80]!r} does not match {pattern[:80]!r}")


def _matching_properties(validator: Any, patterns: Schema, instance: Any, schema: Any) -> Iterator[ValidationError]:
    del schema
    if isinstance(instance, dict):
        for pattern, inner in patterns.items():
            for key in filter(_pattern(pattern).search, instance):
                yield from validator.descend(instance[key], inner, path=key, schema_path=pattern)


def _other_properties(validator: Any, allowed: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    patterns = [_pattern(pattern) for pattern in schema.get("patternProperties", ())]
    named = schema.get("properties", {})
    for key in instance:
        if key in named or any(pattern.search(key) for pattern in patterns):
            continue
        if allowed is False:
            yield ValidationError(f"the argument '{key[:80]}' is none of the tool's")
        else:
            yield from validator.descend(instance[key], allowed, path=key)


def _unique_items(validator: Any, wanted: bool, instance: Any, schema: Any) -> Iterator[ValidationError]:
    """Equality as JSON Schema has it: 1 is 1.0 and is not true. By hash, not each with each."""
    del validator, schema
    if wanted and isinstance(instance, list) and len(set(map(_hashable, instance))) < len(instance):
        yield ValidationError("the list holds a value twice")


def _hashable(value: Any) -> Any:
    if isinstance(value, dict):
        return frozenset((key, _hashable(inner)) for key, inner in value.items())
    if isinstance(value, list):
        return tuple(map(_hashable, value))
    return (value,) if isinstance(value, bool) else value


def _at(error: ValidationError) -> str:
    return "".join(f"/{step}" for step in error.absolute_path) + ": " if error.absolute_path else ""
