"""What a message says, part by part, and where in the message each part stands, so that it can be changed there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson

from didact.errors import RowError
from didact.formats.fields import Fields, kind_of, pointer
from didact.formats.json_edit import spelled
from didact.formats.media import MEDIA_TYPES, read_medium
from didact.formats.thinking import cut
from didact.records import Part, ReasoningPart, TextPart, ToolCallPart

REASONING_KEYS = ("reasoning_content", "reasoning", "thinking")
"""Keys beside the content under which thinking is kept."""

AS_OBJECT = "object"
"""What an origin remembers of arguments that were given as an object, not as JSON text."""

Path = tuple[str | int, ...]
"""Keys and places that lead to a value; a step into a text goes into the JSON that the text holds."""


class Placed(NamedTuple):
    """A part, the path of the value that holds it, and its characters there when it shares the text with others."""

    part: Part
    path: Path
    span: tuple[int, int] | None = None


def content_key(item: dict[str, Any]) -> str:
    """The key of a message's words in its own dialect."""
    return "content" if "content" in item or "value" not in item else "value"


def placed_parts(fields: Fields, item: dict[str, Any], where: str, role: str, spoken: str) -> list[Placed]:
    """Thinking, words, calls, in this order. `spoken` is the role as spelt. Raises RowError SC001 or SC002."""
    key = content_key(item)
    found = _reasoning(fields, item, where)
    content = item.get(key)
    if type(content) is str:
        found += _words(fields, content, where, key, spoken, "" if found else role)
    elif isinstance(content, list):
        for i, part in enumerate(content):
            found.append(_listed(fields, part, f"{where}/{key}/{i}", (key, i)))
        if not content:
            fields.held_as(f"{where}/{key}"[1:], content)
    elif spoken == "function_call" and isinstance(content, dict):
        found.append(_call(fields, content, f"{where}/{key}", (key,)))
    elif key in item:
        text = "" if _calls_alone(fields, item, where, key) else fields.spelt(content, f"{where}/{key}")
        found += [Placed(TextPart(text=text), (key,))] if text else _refused(fields, item, where)
    elif not (found or _refused_text(item) or item.get("tool_calls") or item.get("function_call")):
        raise RowError("SC001", "a message without content", where)
    else:
        found += _refused(fields, item, where)
    if "tool_calls" in item or "function_call" in item:
        found += _tool_calls(fields, item, where)
    return found


def _calls_alone(fields: Fields, item: dict[str, Any], where: str, key: str) -> bool:
    """Whether null stands for words beside calls, as the format has it; that is remembered, and nothing odd."""
    alone = item[key] is None and bool(item.get("tool_calls") or item.get("function_call"))
    if alone:
        fields.nothing(f"{where}/{key}")
    return alone


def _reasoning(fields: Fields, item: dict[str, Any], where: str) -> list[Placed]:
    """Thinking beside the content; the first of its keys that says something counts."""
    for key in REASONING_KEYS:
        if key in item and (text := item[key]) and isinstance(text, str):
            if key != REASONING_KEYS[0] or isinstance(item.get("content"), list):
                fields.held_as(f"{where}/{REASONING_KEYS[0]}"[1:], key)
            return [Placed(ReasoningPart(text=text), (key,))]
    return []


def _words(fields: Fields, content: str, where: str, key: str, spoken: str, role: str) -> list[Placed]:
    """A text: words, thinking and words, or calls as JSON. `role` is empty when the thinking stands elsewhere."""
    found = spoken_text(fields, content, f"{where}/{REASONING_KEYS[0]}", role, (key,))
    if spoken != "function_call":
        return found
    words = found[-1]
    assert isinstance(words.part, TextPart)
    calls = list(_calls_in_text(words.part.text, words.path, words.span))
    if not calls:
        return found
    if words.part.text != calls_text([part for part, *_ in calls]):
        fields.held_as(f"{where}/{key}"[1:], content)
    return [*found[:-1], *calls]


def spoken_text(fields: Fields, text: str, remembered: str, role: str, path: Path) -> list[Placed]:
    """The parts of a bare text; an assistant's may open with thinking, whose spelling is kept at `remembered`."""
    pieces = cut(text) if role == "assistant" else None
    if pieces is None:
        return [Placed(TextPart.made(text=text), path)]
    fields.held_as(remembered[1:], pieces.spelling)
    thinks = len(pieces.opening)
    speaks = thinks + len(pieces.thinking) + len(pieces.between)
    return [
        Placed(ReasoningPart(text=pieces.thinking), path, (thinks, thinks + len(pieces.thinking))),
        Placed(TextPart(text=pieces.words), path, (speaks, speaks + len(pieces.words))),
    ]


def _refused_text(item: dict[str, Any]) -> bool:
    return isinstance(item.get("refusal"), str) and bool(item["refusal"])


def _refused(fields: Fields, item: dict[str, Any], where: str) -> list[Placed]:
    """What an assistant says when it refuses, for messages that say nothing else."""
    if not _refused_text(item):
        return []
    fields.held_as(f"{where}/content"[1:], "refusal")
    return [Placed(TextPart(text=item["refusal"]), ("refusal",))]


def _listed(fields: Fields, part: Any, where: str, path: Path) -> Placed:
    """One part of a message whose content is a list."""
    if isinstance(part, str):
        return Placed(TextPart(text=part), path)
    kind = (part.get("type") or "text") if isinstance(part, dict) else None
    if kind in ("text", "input_text", "output_text", "refusal"):
        key = next((key for key in ("text", "value", "refusal", "content") if part.get(key) is not None), "text")
        text = fields.spelt(part.get(key), f"{where}/{key}")
        _keep_beyond(fields, part, where, ("type", key))
        if kind != "text":
            fields.held_as(f"{where}/type"[1:], kind)
        return Placed(TextPart(text=text), (*path, key))
    if kind in ("reasoning", "thinking"):
        key = next((key for key in ("text", "value", kind) if part.get(key) is not None), "text")
        _keep_beyond(fields, part, where, ("type", key))
        return Placed(ReasoningPart(text=fields.spelt(part.get(key), f"{where}/{key}")), (*path, key))
    if kind == "tool_call":
        return _typed_call(fields, part, where, path)
    if isinstance(kind, str) and kind in MEDIA_TYPES:
        return Placed(read_medium(fields, part, where), path)
    if kind is None:
        raise RowError("SC002", f"{kind_of(part)} where a part belongs", where)
    named = f"of unknown type {kind!r}" if isinstance(kind, str) else f"whose type is {kind_of(kind)}"
    raise RowError("SC002", f"a part {named}", where)


def _keep_beyond(fields: Fields, item: dict[str, Any], where: str, read: tuple[str, ...]) -> None:
    """Keep the keys of an object that were not read."""
    for key in item:
        if key not in read:
            fields.keep(f"{where}{pointer(key)}"[1:], item[key])


def _typed_call(fields: Fields, part: dict[str, Any], where: str, path: Path) -> Placed:
    """A call as a part of its own, or as the value of one, which may be JSON text."""
    value, inside = part.get("value"), f"{where}/value"
    if value is None:
        return _call(fields, part, where, path)
    _keep_beyond(fields, part, where, ("type", "value"))
    if isinstance(value, str):
        calls = list(_calls_in_text(value, (*path, "value"), None))
        if len(calls) != 1:
            raise RowError("SC002", "a text that is no tool call as JSON", inside)
        call = calls[0]
    else:
        call = _call(fields, value, inside, (*path, "value"))
    if value != calls_text([call.part]):
        fields.held_as(inside[1:], value)
    return call


def _tool_calls(fields: Fields, item: dict[str, Any], where: str) -> Iterator[Placed]:
    """The calls of a message, in the present form and in the older form with one call."""
    for key in ("tool_calls", "function_call"):
        if (calls := item.get(key)) is None or calls in ("", [], {}):
            continue
        if key == "function_call":
            yield _call(fields, calls, f"{where}/{key}", (key,))
            continue
        for i, call in enumerate(listed(fields, calls, f"{where}/{key}")):
            yield _call(fields, call, f"{where}/{key}/{i}", (key, i))


def listed(fields: Fields, value: Any, where: str, *, usual: bool = False) -> list[Any]:
    """A list, given as one or, as CSV and Parquet files hold it, as JSON text. Raises RowError SC002.

    usual: the format itself spells this list as text, so nothing is odd about it.
    """
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError as error:
            raise RowError("SC002", f"text that is no JSON list ({error})", where) from error
        if not usual:
            fields.note("JS005", where, "a text that holds JSON where a list belongs")
    if not isinstance(value, list):
        raise RowError("SC002", f"{kind_of(value)} where a list belongs", where)
    return value


def _call(fields: Fields, call: Any, where: str, path: Path) -> Placed:
    """One call; arguments given as an object are spelt as JSON."""
    function = call.get("function", call) if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise RowError("SC002", "a tool call without the name of a function", where)
    key = arguments_key(function)
    identifier = call.get("id")
    own = ("id", "type") if call.get("type") in ("function", "tool_call") else ("id",)
    if function is call:
        _keep_beyond(fields, call, where, (*own, "name", key))
    else:
        _keep_beyond(fields, call, where, (*own, "function"))
        _keep_beyond(fields, function, f"{where}/function", ("name", key))
    given = function.get(key, {})
    if not isinstance(given, str) and key in function:
        spelt_at = "arguments" if function is call else "function/arguments"
        fields.held_as(f"{where}/{spelt_at}"[1:], AS_OBJECT if isinstance(given, dict) else given)
    part = ToolCallPart(
        id=None if identifier is None else fields.spelt(identifier, f"{where}/id"),
        name=function["name"],
        arguments=spelt_arguments(given),
    )
    return Placed(part, path)


def arguments_key(function: dict[str, Any]) -> str:
    """The key of a call's arguments."""
    return next((key for key in ("arguments", "parameters") if key in function), "arguments")


def spelt_arguments(arguments: Any) -> str:
    """Arguments as JSON text, those given as text verbatim."""
    if isinstance(arguments, str):
        return arguments
    try:
        return orjson.dumps(arguments).decode()
    except TypeError:  # a whole number of more than 64 bits
        return spelled(arguments)


def as_object(arguments: str) -> dict[str, Any] | None:
    """Arguments as the object that is spelt so; None for any other text."""
    try:
        value = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) and spelt_arguments(value) == arguments else None


def _calls_in_text(text: str, path: Path, span: tuple[int, int] | None) -> Iterator[Placed]:
    """Calls written as the JSON text of a message; none when the text is something else."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return
    calls = value if isinstance(value, list) else [value]
    if not all(isinstance(call, dict) and isinstance(call.get("name"), str) for call in calls):
        return
    for i, call in enumerate(calls):
        identifier = call.get("id")
        part = ToolCallPart(
            id=identifier if isinstance(identifier, str) else None,
            name=call["name"],
            arguments=spelt_arguments(call.get(arguments_key(call), {})),
        )
        inside = path if span is not None or not isinstance(value, list) else (*path, i)
        yield Placed(part, inside, span)


def calls_text(calls: list[Part]) -> str:
    """Calls as the JSON text of a message: one object, or a list of several."""
    made = [_call_object(call) for call in calls if isinstance(call, ToolCallPart)]
    return spelled(made[0] if len(made) == 1 else made)


def _call_object(call: ToolCallPart) -> dict[str, Any]:
    arguments = as_object(call.arguments)
    named: dict[str, Any] = {} if call.id is None else {"id": call.id}
    return named | {"name": call.name, "arguments": call.arguments if arguments is None else arguments}
