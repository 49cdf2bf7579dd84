"""Messages as rows hold them: the author's own, changed only where they would read as something else, or new ones."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import orjson
from pydantic import ValidationError

from didact.errors import RowError
from didact.formats.fields import Fields, pointer
from didact.formats.json_edit import edited
from didact.formats.media import medium_part
from didact.formats.messages import WEIGHTS, placed_message, read_message, weight_key
from didact.formats.parts import (
    AS_OBJECT,
    REASONING_KEYS,
    Path,
    arguments_key,
    as_object,
    calls_text,
    content_key,
    spelt_arguments,
)
from didact.formats.thinking import STANDARD
from didact.records import MediaPart, Message, Origin, Part, ReasoningPart, Record, TextPart, ToolCallPart

Dialect = Literal["role", "from"]
"""Messages of `role` and `content`, or of `from` and `value`."""

_SPEAKERS = {"user": "human", "assistant": "gpt", "tool": "observation"}
"""Who speaks, where messages have `from`."""


_MEANINGFUL = {*WEIGHTS, *REASONING_KEYS, "role", "content", "value", "refusal", "tool_calls", "function_call"}
"""Keys that mean something once those before them are gone."""


class Spelling(NamedTuple):
    """How new messages of a row are spelt: by default, or as far as the record's origin remembers."""

    dialect: Dialect
    origin: Origin | None = None
    """Of a record that comes from a row of the same format."""
    whole: bool = False
    """Whether what the dialect has no form for is written in the other one, not left out."""
    steps: Mapping[str, set[str]] = {}
    """The steps that follow each place in the pointers of the origin."""

    def remembered(self, where: str) -> Any:
        """What the origin remembers of a place."""
        return None if self.origin is None else self.origin.spelt.get(where[1:])

    def knows(self, where: str) -> bool:
        """Whether a place holds something that the record does not."""
        return self.origin is not None and where[1:] in self.origin.extra

    def below(self, where: str) -> set[str]:
        """The steps that follow a place in what the origin remembers."""
        return self.steps.get(where[1:], set())


def own_spelling(record: Record, format_name: str, dialect: Dialect) -> Spelling:
    """The spelling of a new row: a record that was read from the same format takes its own with it."""
    origin = record.origin
    if origin is None or origin.format != format_name:
        return Spelling(dialect)
    return Spelling(dialect, origin, True, _steps(origin))


def _steps(origin: Origin) -> dict[str, set[str]]:
    """The steps that follow each place in the pointers of an origin."""
    found: dict[str, set[str]] = {}
    for place in (*origin.extra, *origin.spelt, *origin.null):
        while place:
            place, _, step = place.rpartition("/")
            found.setdefault(place, set()).add(step)
    return found


# --- lists of messages


def written_messages(value: Any, was: Sequence[Message], now: Sequence[Message], spelling: Spelling) -> Any:
    """A list of messages, or the JSON text of one, changed where it would read as something else.

    `was` is what it reads as, one message for each item.
    """
    if isinstance(value, str):
        return edited_json(value, lambda items: written_messages(items, was, now, spelling))
    if len(was) == len(now):
        return [written_message(*each) for each in zip(value, was, now, strict=True)]
    head = _alike(was, now)
    tail = min(_alike(was[::-1], now[::-1]), len(was) - head, len(now) - head)
    dialect: Dialect = "from" if value and "from" in value[0] else "role" if value else spelling.dialect
    fresh = [new_message(message, "", Spelling(dialect, whole=True)) for message in now[head : len(now) - tail]]
    return [*value[:head], *fresh, *value[len(value) - tail :]]


def _alike(one: Sequence[Message], other: Sequence[Message]) -> int:
    """How many messages two lists have in common at their beginnings."""
    pairs = zip(one, other, strict=False)
    return next((i for i, (left, right) in enumerate(pairs) if left != right), min(len(one), len(other)))


def new_messages(messages: Sequence[Message], where: str, spelling: Spelling) -> list[dict[str, Any]]:
    """Messages as a list that no author wrote."""
    return [
        new_message(message, f"{where}/{i}", own_dialect(spelling, f"{where}/{i}"))
        for i, message in enumerate(messages)
    ]


def own_dialect(spelling: Spelling, where: str) -> Spelling:
    """The dialect that a message's origin gives away."""
    told = spelling.below(where) & {"role", "from", "content", "value"}
    if spelling.knows(f"{where}/from") or spelling.knows(f"{where}/value"):
        return spelling._replace(dialect="role")
    if not told:
        return spelling
    return spelling._replace(dialect="from" if told & {"from", "value"} else "role")


# --- one message


def written_message(item: Any, was: Message, now: Message) -> Any:
    """A message, changed where it would read as something else."""
    if was == now:
        return item
    dialect: Dialect = "role" if "role" in item else "from"
    for trial in (_in_place(item, was, now, dialect), _with_content(item, now, dialect)):
        if trial is not None and _reads_as(trial, now):
            return trial
    made = new_message(now, "", Spelling(dialect, whole=True))
    unknown = _unknown_keys(item)
    kept = {key: made.get(key, value) for key, value in item.items() if key in made or key in unknown} | made
    if _reads_as(kept, now):
        return kept
    return {key: value for key, value in kept.items() if key in made or key not in _MEANINGFUL}


def _unknown_keys(item: Any) -> set[str]:
    """Keys of a message that say nothing a record holds."""
    fields = Fields({})
    read_message(fields, item, "")
    return {key for key in item if pointer(key)[1:] in fields.kept}


def _reads_as(item: Any, message: Message) -> bool:
    try:
        return read_message(Fields({}), item, "") == message
    except (RowError, ValidationError):
        return False


def _in_place(item: Any, was: Message, now: Message, dialect: Dialect) -> Any:
    """The message with each part changed where it stands; None when the parts are others."""
    placed = placed_message(Fields({}), item, "")[1]
    if [part.type for part, _, _ in placed] != [part.type for part in now.parts]:
        return None
    item = copy.deepcopy(item)
    _set_about(item, was, now, dialect)
    for (part, path, span), new in reversed([*zip(placed, now.parts, strict=True)]):  # spans before stay right
        if part == new:
            continue
        if isinstance(new, MediaPart):
            return None
        item = changed_at(item, path, change_to(new, span))
    return item


def _set_about(item: dict[str, Any], was: Message, now: Message, dialect: Dialect) -> None:
    """Set who speaks, names and weight, as far as they changed."""
    if was.role != now.role:
        item[dialect] = _speaker(now, dialect)
    for key in ("name", "tool_call_id"):
        if getattr(was, key) != getattr(now, key):
            _set(item, key, getattr(now, key))
    if was.weight != now.weight:
        _set(item, weight_key(item) or "weight", _shortest(now.weight))


def _set(item: dict[str, Any], key: str, value: Any) -> None:
    if value is None:
        item.pop(key, None)
    else:
        item[key] = value


def _shortest(weight: float | None) -> float | int | None:
    """A weight as services want it: 0 and 1 are whole numbers."""
    return int(weight) if weight is not None and weight.is_integer() else weight


def changed_at(value: Any, path: Path, change: Callable[[Any], Any]) -> Any:
    """A value with what stands at a path changed; steps into a text go into the JSON that it holds."""
    if not path:
        return change(value)
    if isinstance(value, str):
        return edited_json(value, lambda inner: changed_at(inner, path, change))
    value[path[0]] = changed_at(value[path[0]], path[1:], change)
    return value


def edited_json(text: str, change: Callable[[Any], Any]) -> str:
    """A JSON text, changed where its value is."""
    return edited(text.encode("utf-8", "surrogatepass"), change(orjson.loads(text))).decode("utf-8", "surrogatepass")


def change_to(new: Part, span: tuple[int, int] | None) -> Callable[[Any], Any]:
    """What turns the value of a part into that of another of its type."""
    change = (lambda value: _call_changed(value, new)) if isinstance(new, ToolCallPart) else (lambda _: new.text)  # type: ignore[union-attr]
    if span is None:
        return change
    return lambda text: text[: span[0]] + change(text[slice(*span)]) + text[span[1] :]


def _call_changed(value: Any, new: ToolCallPart) -> Any:
    """A call in any of its forms, changed where it would read as something else."""
    if isinstance(value, str):
        return edited_json(value, lambda call: _call_changed(call, new))
    function = value.get("function", value)
    function["name"] = new.name
    key = arguments_key(function)
    if spelt_arguments(function.get(key, {})) != new.arguments:
        made = as_object(new.arguments) if not isinstance(function.get(key, {}), str) else None
        function[key] = new.arguments if made is None else made
    if value.get("id") != new.id and str(value.get("id")) != new.id:
        _set(value, "id", new.id)
    return value


def _with_content(item: Any, now: Message, dialect: Dialect) -> Any:
    """The message with a list of other parts; those that stay keep their author's form."""
    key = content_key(item)
    if not isinstance(item.get(key), list):
        return None
    message, placed = placed_message(Fields({}), item, "")
    listed = [(each.part, item[key][each.path[1]]) for each in placed if each.path[0] == key]
    outside = [each for each in placed if each.path[0] != key]
    before = [each.part for each in outside if isinstance(each.part, ReasoningPart)]
    behind = [each.part for each in outside if isinstance(each.part, ToolCallPart)]
    if now.parts[: len(before)] != before or (behind and now.parts[-len(behind) :] != behind):
        return None
    item = copy.deepcopy(item)
    _set_about(item, message, now, dialect)
    middle = now.parts[len(before) : len(now.parts) - len(behind)]
    item[key] = [next((given for part, given in listed if part == new), None) or _typed(new) for new in middle]
    return item


# --- new messages


def new_message(message: Message, where: str, spelling: Spelling) -> dict[str, Any]:
    """A message that no author wrote."""
    if spelling.dialect == "from":
        made = _from_message(message, where, spelling)
        told = spelling.below(where) & {"tool_calls", "function_call"} or spelling.below(f"{where}/value")
        if (_reads_as(made, message) and not told) or not spelling.whole:
            return made
    return _role_message(message, where, spelling)


def _speaker(message: Message, dialect: Dialect) -> str:
    if dialect == "role":
        return message.role
    if message.parts and all(isinstance(part, ToolCallPart | ReasoningPart) for part in message.parts):
        return "function_call" if isinstance(message.parts[-1], ToolCallPart) else "gpt"
    return _SPEAKERS.get(message.role, message.role)


def _about(message: Message, where: str, spelling: Spelling) -> dict[str, Any]:
    """Names and weight, as far as there are any."""
    about: dict[str, Any] = {"name": message.name, "tool_call_id": message.tool_call_id}
    about |= {next(key for key in WEIGHTS if not spelling.knows(f"{where}/{key}")): _shortest(message.weight)}
    return {key: value for key, value in about.items() if value is not None}


def _from_message(message: Message, where: str, spelling: Spelling) -> dict[str, Any]:
    """A message of `from` and `value`: thinking in tags, then words, or calls as JSON text."""
    calls: list[Part] = [part for part in message.parts if isinstance(part, ToolCallPart)]
    words = "".join(part.text for part in message.parts if isinstance(part, TextPart))
    thinking = [part.text for part in message.parts if isinstance(part, ReasoningPart)]
    said = calls_text(calls) if calls else words
    if thinking:
        said = set_off("\n\n".join(thinking), said, spelling.remembered(f"{where}/{REASONING_KEYS[0]}"))
    speaker = "function_call" if calls and message.role == "assistant" else _SPEAKERS.get(message.role, message.role)
    return {"from": speaker, "value": said if message.parts else None} | _about(message, where, spelling)


def set_off(thinking: str, words: str, spelling: Any) -> str:
    """Thinking and words in one text."""
    opening, between, closing = spelling if isinstance(spelling, list) and len(spelling) == 3 else STANDARD
    return f"{opening}{thinking}{between}{words}{closing}"


def _role_message(message: Message, where: str, spelling: Spelling) -> dict[str, Any]:
    """A message of `role` and `content`: thinking and calls beside the words, unless their order is another."""
    parts, remembered = list(message.parts), spelling.remembered(f"{where}/{REASONING_KEYS[0]}")
    speaker, words = ("from", "value") if spelling.below(f"{where}/value") else ("role", "content")
    inside = _last_place(spelling.below(f"{where}/{words}"))
    apart = inside < 0 or isinstance(remembered, str)
    thinking: Part | None = None
    if apart and parts and isinstance(parts[0], ReasoningPart) and (parts[0].text or isinstance(remembered, list)):
        thinking = parts.pop(0)
    calls: list[ToolCallPart] = []
    while len(parts) > inside + 1 and isinstance(parts[-1], ToolCallPart):
        calls.insert(0, parts.pop())  # type: ignore[arg-type]
    row: dict[str, Any] = {speaker: message.role, words: _content(parts)}
    if isinstance(thinking, ReasoningPart):
        if isinstance(remembered, list) and isinstance(row[words], str):
            row[words] = set_off(thinking.text, row[words], remembered)
        else:
            row[remembered if isinstance(remembered, str) else REASONING_KEYS[0]] = thinking.text
    row |= _called(calls, where, spelling)
    row |= _about(message, where, spelling)
    if isinstance(row[words], str) and (inside >= 0 or not _reads_as(row, message)):
        row[words] = [_typed(part) for part in parts]
    return row


def _last_place(steps: set[str]) -> int:
    """The last of the places that a list is known to have."""
    return max((int(step) for step in steps if step.isdigit()), default=-1)


def _content(parts: Sequence[Part]) -> Any:
    """Nothing, words, or a list of parts."""
    if not parts:
        return None
    if len(parts) == 1 and isinstance(parts[0], TextPart):
        return parts[0].text
    return [_typed(part) for part in parts]


def _typed(part: Part) -> dict[str, Any]:
    """A part as an object with its type."""
    if isinstance(part, MediaPart):
        return medium_part(part)
    if isinstance(part, ToolCallPart):
        return {"type": "tool_call", "value": calls_text([part])}
    return part.model_dump(exclude_none=True)


def _called(calls: list[ToolCallPart], where: str, spelling: Spelling) -> dict[str, Any]:
    """Calls in the present form; the last in the older one, when its author wrote it so."""
    older = spelling.below(f"{where}/function_call")
    row: dict[str, Any] = {}
    if calls and (older or spelling.knows(f"{where}/tool_calls")):
        call = _role_call(calls[-1], f"{where}/function_call", spelling)
        row["function_call"] = call if "function" in older or calls[-1].id is not None else call["function"]
        calls = calls[:-1]
    if calls:
        row["tool_calls"] = [_role_call(call, f"{where}/tool_calls/{i}", spelling) for i, call in enumerate(calls)]
    return row


def _role_call(call: ToolCallPart, where: str, spelling: Spelling) -> dict[str, Any]:
    """A call in the present form; arguments as JSON text, or as the object its author gave."""
    given = spelling.remembered(f"{where}/function/arguments") or spelling.remembered(f"{where}/arguments")
    made = as_object(call.arguments) if given == AS_OBJECT else None
    function = {"name": call.name, "arguments": call.arguments if made is None else made}
    return ({} if call.id is None else {"id": call.id}) | {"type": "function", "function": function}
