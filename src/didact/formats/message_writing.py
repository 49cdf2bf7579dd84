"""Messages of a row, changed only where they would read as something else."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from didact.formats.fields import Fields, pointer
from didact.formats.json_edit import edited
from didact.formats.messages import WEIGHTS, placed_message, read_message, weight_key
from didact.formats.new_messages import Dialect, Spelling, new_message, reads_as, shortest, speaker_of, typed_part
from didact.formats.parts import (
    REASONING_KEYS,
    Path,
    arguments_key,
    as_object,
    content_key,
    spelt_arguments,
)
from didact.records import MediaPart, Message, Part, ReasoningPart, ToolCallPart

_MEANINGFUL = {*WEIGHTS, *REASONING_KEYS, "role", "content", "value", "refusal", "tool_calls", "function_call"}
"""Keys that mean something once those before them are gone."""


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


# --- one message


def written_message(item: Any, was: Message, now: Message) -> Any:
    """A message, changed where it would read as something else."""
    if was == now:
        return item
    dialect: Dialect = "role" if "role" in item else "from"
    for trial in (_in_place(item, was, now, dialect), _with_content(item, now, dialect)):
        if trial is not None and reads_as(trial, now):
            return trial
    made = new_message(now, "", Spelling(dialect, whole=True))
    unknown = _unknown_keys(item)
    kept = {key: made.get(key, value) for key, value in item.items() if key in made or key in unknown} | made
    if reads_as(kept, now):
        return kept
    return {key: value for key, value in kept.items() if key in made or key not in _MEANINGFUL}


def _unknown_keys(item: Any) -> set[str]:
    """Keys of a message that say nothing a record holds."""
    fields = Fields({})
    read_message(fields, item, "")
    return {key for key in item if pointer(key)[1:] in fields.kept}


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
        item[dialect] = speaker_of(now, dialect)
    for key in ("name", "tool_call_id"):
        if getattr(was, key) != getattr(now, key):
            _set(item, key, getattr(now, key))
    if was.weight != now.weight:
        _set(item, weight_key(item) or "weight", shortest(now.weight))


def _set(item: dict[str, Any], key: str, value: Any) -> None:
    if value is None:
        item.pop(key, None)
    else:
        item[key] = value


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
    item[key] = [next((given for part, given in listed if part == new), None) or typed_part(new) for new in middle]
    return item
