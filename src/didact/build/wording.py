"""Records as each purpose reads them: messages, plain text, tool definitions; made form by form, filled by a kernel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from didact.records import Chat, Header, Preference, Record, Turn
from didact.records.columns import in_turn
from didact.records.forms import Forms, StandIns
from didact.render.dialogue import dialogue_text

OPTIONAL = {"weight": pa.float32(), "name": pa.string(), "tool_calls": pa.string(), "tool_call_id": pa.string()}
"""Keys of a message that not every message has, in the order in which they are columns."""
RENDERED = ("weight", "tool_calls")
"""Those that decide how many tokens a message has and how many of them are trained."""


def dialogue(record: Record, headers: Mapping[str, Header]) -> list[Turn]:
    """A record as messages, with what its header shares."""
    return record.dialogue(headers.get(record.header) if record.header else None)


def tools_json(record: Record) -> str | None:
    """A record's tool definitions as JSON text; None when it has none."""
    tools = record.tools if isinstance(record, Chat | Preference) else []
    return orjson.dumps(tools).decode() if tools else None


def plain_text(record: Record, headers: Mapping[str, Header]) -> str:
    """A record as the text it is pre-trained on: plain text as it is, instruction records as plain dialogue."""
    if record.kind == "text":
        return "\n\n".join(text.text for text in record.texts() if text.text)
    return dialogue_text(dialogue(record, headers))


def stand_ins(headers: Mapping[str, Header]) -> StandIns:
    """For the forms of records that may refer to these headers."""
    return StandIns("".join(chain.from_iterable(header.definition for header in headers.values())))


def plain_texts(forms: Forms, headers: Mapping[str, Header]) -> pa.StringArray:
    """`plain_text` of every record."""
    return forms.filled(lambda record: plain_text(record, headers))


def messages_column(
    forms: Forms, speak: Callable[[Record], list[Turn]], optional: tuple[str, ...] = RENDERED
) -> pa.ListArray:
    """What `speak` gives for every record, as a column of messages with these optional keys.

    speak: `dialogue` with some headers, or another part of a record's conversation.
    """
    spoken = forms.each(speak)
    turns = [turn for of_form in spoken for turn in of_form]
    patterns = [
        form.pattern(turn["content"]) for form, of_form in zip(forms.forms, spoken, strict=True) for turn in of_form
    ]
    which, bounds = in_turn([len(of_form) for of_form in spoken], forms.which)
    records = np.repeat(np.arange(len(forms)), np.diff(bounds))
    constant: dict[str, pa.DataType] = {"role": pa.string()} | {name: OPTIONAL[name] for name in optional}
    columns = {name: _taken([turn.get(name) for turn in turns], kind, which) for name, kind in constant.items()}
    columns = {"role": columns.pop("role"), "content": forms.fill(patterns, which, records)} | columns
    values = pa.StructArray.from_arrays(list(columns.values()), names=list(columns))
    return pa.ListArray.from_arrays(pa.array(bounds), values)


def _taken(values: list[Any], kind: pa.DataType, places: Any) -> pa.Array:
    return pa.array(values, kind).take(pa.array(places))
