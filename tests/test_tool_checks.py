"""Checks of tools: schemas that are none, calls that no tool allows, results without a call; and hostile schemas."""

from __future__ import annotations

import time
from typing import Any

import jsonschema
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema.exceptions import SchemaError

from didact.formats.registry import get
from didact.records import Chat, Message, ToolCallPart
from didact.records.checks import check
from didact.records.tool_schemas import tool_set

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": CITY}}
ASKED = {"role": "user", "content": "Rain in Oslo?"}
SAID = {"role": "assistant", "content": "No."}


def call(arguments: Any = '{"city": "Oslo"}', name: str = "weather", id: str | None = "a") -> dict[str, Any]:
    """One call as a message's `tool_calls` holds it."""
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def calling(*calls: dict[str, Any]) -> dict[str, Any]:
    """An assistant's message of calls."""
    return {"role": "assistant", "content": None, "tool_calls": list(calls)}


def result(id: str | None = "a") -> dict[str, Any]:
    """A tool's message."""
    return {"role": "tool", "content": "Dry."} | ({} if id is None else {"tool_call_id": id})


def found(*messages: dict[str, Any], tools: Any = (WEATHER,)) -> list[tuple[str, str]]:
    """Codes of tools and pointers in a conversation."""
    row = {"messages": list(messages), "tools": list(tools)}
    problems = check(get("openai").read(row, None).record)
    return [(code, pointer) for code, pointer, _ in problems if code.startswith("TO")]


GOOD: list[list[dict[str, Any]]] = [
    [ASKED, calling(call()), result(), SAID],
    [ASKED, calling(call())],
    [ASKED, calling(call({"city": "Oslo"})), result(), SAID],
    [ASKED, calling(call(id=None)), result(None), SAID],
    [ASKED, calling(call(id="a"), call(id="b")), result("b"), result("a"), SAID],
    [ASKED, calling(call(id=None), call(id=None)), result(None), result(None), SAID],
    [ASKED, calling(call()), result(), calling(call()), result(), SAID],
    [ASKED, calling(call()), result(None), SAID],
]


@pytest.mark.parametrize("messages", GOOD)
def test_right_use_of_tools_is_not_reported(messages: list[dict[str, Any]]) -> None:
    """Calls with and without ids, several at once, answered in any order, or last in the conversation, are right."""
    assert found(*messages) == []


BAD: list[tuple[list[dict[str, Any]], list[tuple[str, str]]]] = [
    ([ASKED, calling(call('{"city": 5}')), result(), SAID], [("TO001", "/messages/1/parts/0")]),
    ([ASKED, calling(call('{"city": "Oslo"')), result(), SAID], [("TO001", "/messages/1/parts/0")]),
    ([ASKED, calling(call('"Oslo"')), result(), SAID], [("TO001", "/messages/1/parts/0")]),
    ([ASKED, calling(call("")), result(), SAID], [("TO001", "/messages/1/parts/0")]),
    ([ASKED, calling(call(name="wether")), result(), SAID], [("TO002", "/messages/1/parts/0")]),
    ([ASKED, calling(call(), call()), result(), result(), SAID], [("TO003", "/messages/1/parts/1")]),
    ([ASKED, calling(call(), call(id=None)), result(), result(), SAID],
     [("TO003", "/messages/1/parts/1")]),
    ([ASKED, calling(call(id="a"), call(id="b")), result(None), result("b"), SAID], [("TO003", "/messages/2")]),
    ([ASKED, calling(call()), SAID], [("TO004", "/messages/1/parts/0")]),
    ([ASKED, calling(call(id="a"), call(id="b")), result("a")], [("TO004", "/messages/1/parts/1")]),
    ([ASKED, result(), SAID], [("TO005", "/messages/1")]),
    ([ASKED, calling(call()), result(), result(), SAID], [("TO005", "/messages/3")]),
    ([ASKED, calling(call()), result("z"), SAID], [("TO005", "/messages/2"), ("TO004", "/messages/1/parts/0")]),
]  # fmt: skip


@pytest.mark.parametrize(("messages", "expected"), BAD)
def test_each_misuse_is_found_where_it_is(messages: list[dict[str, Any]], expected: list[tuple[str, str]]) -> None:
    """A call or result that is wrong is reported at its message or part, and nothing beside it."""
    assert found(*messages) == expected


def test_calls_without_definitions_are_checked_for_their_form_only() -> None:
    """Sets that describe their tools in the prompt are not told that every tool is unknown."""
    assert found(ASKED, calling(call(name="anything")), result(), SAID, tools=()) == []
    assert found(ASKED, calling(call("[1]")), result(), SAID, tools=()) == [("TO001", "/messages/1/parts/0")]


@pytest.mark.parametrize(
    "tool",
    [
        {"name": "weather", "parameters": CITY},
        {"name": "weather", "input_schema": CITY},
        {"name": "weather", "parameters": orjson.dumps(CITY).decode()},
        {"type": "function", "function": {"name": "weather", "parameters": CITY | {
            "$schema": "http://json-schema.org/draft-07/schema#"}}},
    ],
)  # fmt: skip
def test_definitions_are_read_in_every_spelling(tool: dict[str, Any]) -> None:
    """Flat or wrapped, as an object or as JSON text, in either dialect: the arguments are checked."""
    assert found(ASKED, calling(call()), tools=[tool]) == []
    assert found(ASKED, calling(call('{"town": "Oslo"}')), tools=[tool]) == [("TO001", "/messages/1/parts/0")]


def test_tools_that_the_provider_runs_are_passed_over() -> None:
    """A web search has neither a name nor parameters; that is no defect."""
    assert found(ASKED, calling(call()), tools=[WEATHER, {"type": "web_search"}]) == []


def schema(**more: Any) -> dict[str, Any]:
    """The definition of a tool with these parameters."""
    return {"name": "weather", "parameters": {"type": "object", **more}}


def nested(levels: int) -> dict[str, Any]:
    """A schema so many levels deep."""
    inner: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        inner = {"type": "object", "properties": {"a": inner}}
    return inner


UNUSABLE: list[tuple[dict[str, Any], str]] = [
    ({"type": "function", "function": {"parameters": CITY}}, "without a name"),
    ({"name": "weather", "parameters": ["city"]}, "no object"),
    ({"name": "weather", "parameters": "{"}, "no JSON"),
    (schema(properties={"city": {"type": "str"}}), "no valid JSON Schema"),
    (schema(required="city"), "no valid JSON Schema"),
    (schema(properties={"city": {"$ref": "https://example.org/city.json"}}), "not fetched"),
    (schema(properties={"city": {"$ref": "file:///etc/passwd"}}), "not fetched"),
    (schema(properties={"city": {"$ref": "#/$defs/city"}}), "not there"),
    (schema(properties={"city": {"pattern": "(a+)+\\1"}}), "linear time"),
    (schema(patternProperties={"(?=a)b": {}}), "linear time"),
    ({"name": "weather", "parameters": {"$schema": "http://json-schema.org/draft-04/schema#"}}, "draft 7"),
    (schema(properties={"city": {"$schema": "http://json-schema.org/draft-07/schema#"}}), "dialect of its own"),
    (schema(unevaluatedProperties=False, allOf=[{"$ref": "#/$defs/a"}], **{"$defs": {"a": {}}}), "combines"),
    (schema(properties={"a": nested(80)}), "levels"),
    (schema(description="x" * 100_000), "bytes"),
]


@pytest.mark.parametrize(("tool", "reason"), UNUSABLE)
def test_a_schema_that_cannot_be_used_is_reported_with_the_reason(tool: dict[str, Any], reason: str) -> None:
    """What is no schema, leads elsewhere or goes beyond the bounds is named; its calls are not checked against it."""
    row = {"messages": [ASKED, calling(call('{"town": 1}'))], "tools": [tool]}
    problems = check(get("openai").read(row, None).record)
    told = [(pointer, message) for code, pointer, message in problems if code == "TO006"]
    assert len(told) == 1 and told[0][0].startswith("/tools/0") and reason in told[0][1]
    assert all(code != "TO001" for code, _, _ in problems)


HOSTILE = [
    (schema(properties={"city": {"pattern": "^(a|a)*$|^(a+)+$"}}), {"city": "a" * 5_000 + "!"}),
    (schema(**{"$ref": "#"}), {"city": "a"}),
    (
        schema(
            allOf=[{"$ref": "#/$defs/0"}],
            **{"$defs": {str(i): {"allOf": [{"$ref": f"#/$defs/{i + 1}"}] * 2} for i in range(40)} | {"40": {}}},
        ),
        {},
    ),
    (schema(properties={"list": {"uniqueItems": True}}), {"list": [{"i": i} for i in range(5_000)]}),
    (
        schema(properties={"list": {"items": {"anyOf": [{"const": i} for i in range(2_000)]}}}),
        {"list": list(range(2_000, 9_000))},
    ),
]
"""Schemas made to keep a checker busy, and arguments that trigger them."""


@pytest.mark.parametrize(("tool", "arguments"), HOSTILE)
def test_no_schema_keeps_the_check_busy(tool: dict[str, Any], arguments: Any) -> None:
    """Backtracking, endless references, doubling definitions and quadratic checks end in seconds, with a verdict."""
    started = time.process_time()
    codes = found(ASKED, calling(call(orjson.dumps(arguments).decode())), tools=[tool])
    assert codes in ([], [("TO001", "/messages/1/parts/0")], [("TO006", "/messages/1/parts/0")])
    assert bool(codes) == ("uniqueItems" not in str(tool))
    assert time.process_time() - started < 5


_LEAF = st.sampled_from([0, 1, 1.0, 1.5, True, False, None, "", "a", "ab", "b1"])
_VALUES = st.recursive(
    _LEAF,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
_TYPES = st.sampled_from(["object", "array", "string", "integer", "number", "boolean", "null", "str"])
_SCHEMAS = st.recursive(
    st.fixed_dictionaries({}, optional={"type": _TYPES, "enum": st.lists(_VALUES, max_size=3), "const": _VALUES,
        "minimum": st.integers(0, 2), "maxLength": st.integers(-1, 2),
        "pattern": st.sampled_from(["a", "^a", "b$", "[0-9]"]), "uniqueItems": st.booleans(),
        "minItems": st.integers(0, 2)}),
    lambda inner: st.fixed_dictionaries({}, optional={
        "type": _TYPES,
        "properties": st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
        "patternProperties": st.dictionaries(st.sampled_from(["a", "[bc]", "^$"]), inner, max_size=2),
        "additionalProperties": st.booleans() | inner,
        "unevaluatedProperties": st.booleans(),
        "items": inner, "anyOf": st.lists(inner, max_size=2), "not": inner,
        "required": st.lists(st.sampled_from("abc"), max_size=2),
    }), max_leaves=6,
)  # fmt: skip


@given(_SCHEMAS, _VALUES)
def test_the_verdict_is_that_of_the_reference_validator(parameters: dict[str, Any], arguments: Any) -> None:
    """Where a schema is used at all, it accepts and refuses what the unbounded validator accepts and refuses."""
    definition = {"name": "t", "parameters": parameters}
    tools = tool_set([definition])
    try:
        jsonschema.Draft202012Validator.check_schema(parameters)
    except SchemaError:
        assert tools.problems
        return
    violation = tools.tools["t"].violation
    if violation is None:
        assert tools.problems or not parameters
    else:
        assert bool(violation(arguments)) != jsonschema.Draft202012Validator(parameters).is_valid(arguments)


@given(st.lists(st.sampled_from(["user", "assistant", "call", "call2", "tool", "toolb"]), min_size=1, max_size=8))
def test_ids_are_paired_as_a_plain_reading_of_the_rule_pairs_them(kinds: list[str]) -> None:
    """When every call and result has an id, the codes are those of a direct count of open calls."""
    made = {"call": ["a"], "call2": ["a", "b"]}
    messages = []
    for kind in kinds:
        calls = [ToolCallPart(id=name, name="t", arguments="{}") for name in made.get(kind, [])]
        role: Any = "tool" if kind.startswith("tool") else "user" if kind == "user" else "assistant"
        name = {"tool": "a", "toolb": "b"}.get(kind)
        messages.append(Message(role=role, parts=list(calls), tool_call_id=name))
    codes = [code for code, _, _ in check(Chat(messages=messages)) if code in ("TO004", "TO005")]
    assert sorted(codes) == sorted(_counted(messages))


def _counted(messages: list[Message]) -> list[str]:
    """The codes by the rule's words: each result answers one open call of its name; others speak when none is open."""
    codes: list[str] = []
    waiting: list[str | None] = []
    results = 0
    for message in messages:
        if message.role == "tool":
            if message.tool_call_id in waiting:
                waiting.remove(message.tool_call_id)
                results += 1
            else:
                codes.append("TO005")
        else:
            codes += ["TO004"] * len(waiting)
            waiting = [part.id for part in message.parts if isinstance(part, ToolCallPart)]
            results = 0
    return codes + (["TO004"] * len(waiting) if results else [])
