"""Changes JSON text only where its value changes, so that key order, spelling of numbers, and spacing stay."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from json.decoder import JSONDecoder, scanstring  # type: ignore[attr-defined]
from typing import Any, NamedTuple

import orjson

_SPACE = re.compile(r"[ \t\r\n]*")
_WHOLE = JSONDecoder(strict=False)
_DEEPEST = 200
"""Levels that are told apart; what lies deeper is replaced as a whole when it changes."""


class Edit(NamedTuple):
    """Characters `start` to `end` of a text are replaced."""

    start: int
    end: int
    text: str


@dataclass(slots=True)
class _Node:
    """A value and where it stands in the text."""

    start: int
    end: int = 0
    value: Any = None
    """Of a scalar, or of what lies too deep."""
    members: list[tuple[str, int, _Node]] | None = None
    """Of an object: key, where the key begins, value; a key that is given twice stands here twice."""
    items: list[_Node] | None = None


@dataclass(slots=True)
class _Edits:
    text: str
    made: list[Edit] = field(default_factory=list)

    def replace(self, start: int, end: int, text: str) -> None:
        self.made.append(Edit(start, end, text))


def edited(raw: bytes, value: Any) -> bytes:
    """The JSON text `raw`, changed so that it reads as `value`, and only where it reads as something else.

    `raw` must be valid JSON in UTF-8. Of a key given twice the last counts, as readers have it; the others stay.

    >>> edited(b'{"n": 1.50, "t": "a",  "n2": 7}', {"n": 1.5, "t": "b", "n2": 7}).decode()
    '{"n": 1.50, "t": "b",  "n2": 7}'
    """
    text = raw.decode("utf-8", "surrogatepass")
    changes = _Edits(text)
    _change(changes, _scan(text, _SPACE.match(text, 0).end(), 0), value)  # type: ignore[union-attr]
    pieces, done = [], 0
    for start, end, new in sorted(changes.made):
        pieces += [text[done:start], new]
        done = end
    return "".join([*pieces, text[done:]]).encode("utf-8", "surrogatepass")


def _skip(text: str, place: int) -> int:
    return _SPACE.match(text, place).end()  # type: ignore[union-attr]


def _scan(text: str, start: int, depth: int) -> _Node:
    """The value that begins at `start`, with the places of everything inside it."""
    if depth < _DEEPEST and text[start] == "{":
        return _scan_object(text, start, depth)
    if depth < _DEEPEST and text[start] == "[":
        return _scan_array(text, start, depth)
    value, end = _WHOLE.raw_decode(text, start)
    return _Node(start, end, value)


def _scan_object(text: str, start: int, depth: int) -> _Node:
    members: list[tuple[str, int, _Node]] = []
    place = _skip(text, start + 1)
    while text[place] != "}":
        begins = place if text[place] == '"' else _skip(text, place + 1)
        key, place = scanstring(text, begins + 1, False)
        node = _scan(text, _skip(text, _skip(text, place) + 1), depth + 1)
        members.append((key, begins, node))
        place = _skip(text, node.end)
    return _Node(start, place + 1, members=members)


def _scan_array(text: str, start: int, depth: int) -> _Node:
    items: list[_Node] = []
    place = _skip(text, start + 1)
    while text[place] != "]":
        node = _scan(text, _skip(text, place + 1) if text[place] == "," else place, depth + 1)
        items.append(node)
        place = _skip(text, node.end)
    return _Node(start, place + 1, items=items)


def _change(edits: _Edits, node: _Node, value: Any) -> None:
    if node.members is not None and isinstance(value, dict):
        _change_object(edits, node, node.members, value)
    elif node.items is not None and isinstance(value, list):
        _change_array(edits, node, node.items, value)
    elif node.members is not None or node.items is not None or not _says(edits.text, node, value):
        edits.replace(node.start, node.end, spelled(value))


def _says(text: str, node: _Node, value: Any) -> bool:
    """Whether a scalar is the value; rows are read by a library that takes integers of more than 64 bits for floats."""
    return same_json(node.value, value) or same_json(orjson.loads(text[node.start : node.end]), value)


def _change_object(edits: _Edits, node: _Node, members: list[tuple[str, int, _Node]], value: dict[str, Any]) -> None:
    last = {key: inner for key, _, inner in members}
    if not last.keys() & value.keys():
        if last or value:
            edits.replace(node.start, node.end, spelled(value))
        return
    for key, inner in last.items():
        if key in value:
            _change(edits, inner, value[key])
    for start, end in _left_out(members, value):
        edits.replace(start, end, "")
    new = [f", {spelled(key)}: {spelled(inner)}" for key, inner in value.items() if key not in last]
    if new:
        kept = max(inner.end for key, _, inner in members if key in value)
        edits.replace(kept, kept, "".join(new))


def _left_out(members: list[tuple[str, int, _Node]], value: dict[str, Any]) -> Iterator[tuple[int, int]]:
    """Spans of the members whose keys `value` has not, each with one comma."""
    before_first_kept = True
    for i, (key, begins, inner) in enumerate(members):
        if key in value:
            before_first_kept = False
        elif before_first_kept:
            yield begins, members[i + 1][1]
        else:
            yield members[i - 1][2].end, inner.end


def _change_array(edits: _Edits, node: _Node, items: list[_Node], value: list[Any]) -> None:
    """Items are compared by place; when their number differs, equal ones at both ends stay."""
    if len(items) == len(value):
        for inner, new in zip(items, value, strict=True):
            _change(edits, inner, new)
        return
    old = [_value_of(inner) for inner in items]
    head = _shared(old, value)
    tail = min(_shared(old[::-1], value[::-1]), len(old) - head, len(value) - head)
    new_items = [spelled(item) for item in value[head : len(value) - tail]]
    gone = items[head : len(items) - tail]
    if gone and new_items:
        edits.replace(gone[0].start, gone[-1].end, ", ".join(new_items))
    elif gone and head:
        edits.replace(items[head - 1].end, gone[-1].end, "")
    elif gone and tail:
        edits.replace(gone[0].start, items[len(items) - tail].start, "")
    elif gone or not items:
        edits.replace(node.start, node.end, spelled(value))
    elif head:
        edits.replace(items[head - 1].end, items[head - 1].end, "".join(f", {item}" for item in new_items))
    else:
        edits.replace(items[0].start, items[0].start, "".join(f"{item}, " for item in new_items))


def _shared(old: list[Any], new: list[Any]) -> int:
    """How many items two lists have in common at their beginnings."""
    count = 0
    for one, other in zip(old, new, strict=False):
        if not same_json(one, other):
            break
        count += 1
    return count


def _value_of(node: _Node) -> Any:
    if node.members is not None:
        return {key: _value_of(inner) for key, _, inner in node.members}
    if node.items is not None:
        return [_value_of(inner) for inner in node.items]
    return node.value


def same_json(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same; unlike in Python, `1`, `1.0` and `true` are three values."""
    pairs = [(one, other)]  # a list, not recursion: values may be nested deeper than Python's stack goes
    while pairs:
        left, right = pairs.pop()
        if type(left) is not type(right):
            return False
        if isinstance(left, dict):
            if left.keys() != right.keys():
                return False
            pairs += [(inner, right[key]) for key, inner in left.items()]
        elif isinstance(left, list):
            if len(left) != len(right):
                return False
            pairs += zip(left, right, strict=True)
        elif left != right:
            return False
    return True


def spelled(value: Any) -> str:
    """A value as JSON text on one line, with a space behind commas and colons, and every character as it is."""
    return json.dumps(value, ensure_ascii=False)
