"""Messages that no author wrote, in either dialect, as far as the record's origin remembers spelt as before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from pydantic import ValidationError

from didact.errors import RowError
from didact.formats.fields import Fields
from didact.formats.media import medium_part
from didact.formats.messages import WEIGHTS, read_message
from didact.formats.parts import (
    AS_OBJECT,
    REASONING_KEYS,
    as_object,
    calls_text,
)
from didact.formats.thinking import STANDARD
from didact.records import MediaPart, Message, Origin, Part, ReasoningPart, Record, TextPart, ToolCallPart

Dialect = Literal["role", "from"]
"""Messages of `role` and `content`, or of `from` and `value`."""

_SPEAKERS = {"user": "human", "assistant": "gpt", "tool": "observation"}
"""Who speaks, where messages have `from`."""


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


def reads_as(item: Any, message: Message) -> bool:
    """Whether a message of a row reads as one of a record."""
    try:
        return read_message(Fields({}), item, "") == message
    except (RowError, ValidationError):
        return False


def shortest(weight: float | None) -> float | int | None:
    """A weight as services want it: 0 and 1 are whole numbers."""
    return int(weight) if weight is not None and weight.is_integer() else weight


def new_message(message: Message, where: str, spelling: Spelling) -> dict[str, Any]:
    """A message that no author wrote."""
    if spelling.dialect == "from":
        made = _from_message(message, where, spelling)
        told = spelling.below(where) & {"tool_calls", "function_call"} or spelling.below(f"{where}/value")
        if (reads_as(made, message) and not told) or not spelling.whole:
            return made
    return _role_message(message, where, spelling)


def speaker_of(message: Message, dialect: Dialect) -> str:
    """Who speaks, as a dialect names it."""
    if dialect == "role":
        return message.role
    if message.parts and all(isinstance(part, ToolCallPart | ReasoningPart) for part in message.parts):
        return "function_call" if isinstance(message.parts[-1], ToolCallPart) else "gpt"
    return _SPEAKERS.get(message.role, message.role)


def _about(message: Message, where: str, spelling: Spelling) -> dict[str, Any]:
    """Names and weight, as far as there are any."""
    about: dict[str, Any] = {"name": message.name, "tool_call_id": message.tool_call_id}
    about |= {next(key for key in WEIGHTS if not spelling.knows(f"{where}/{key}")): shortest(message.weight)}
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
    if isinstance(row[words], str) and (inside >= 0 or not reads_as(row, message)):
        row[words] = [typed_part(part) for part in parts]
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
    return [typed_part(part) for part in parts]


def typed_part(part: Part) -> dict[str, Any]:
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
