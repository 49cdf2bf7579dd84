"""Prompt and completion as messages: a conversation of which only the second half is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from didact.errors import NoPlace
from didact.formats.conversation import write_tools
from didact.formats.draft import Draft
from didact.formats.fields import Fields, pointer
from didact.formats.messages import WEIGHTS, is_message, read_tools
from didact.formats.new_messages import Spelling, own_spelling
from didact.formats.turns import new_turns, read_turns, written_turns
from didact.records import Chat, Message


def is_turns(value: Any) -> bool:
    """Whether a value is messages: a list, its JSON text, or a single one."""
    if isinstance(value, str):
        return value.startswith('[{"') and '"role"' in value[:1000]
    return is_message(value) or (isinstance(value, list) and bool(value) and all(map(is_message, value)))


def read_split(fields: Fields, prompt_key: str, completion_key: str) -> Chat:
    """A row whose prompt or completion is messages; an assistant's turn in the prompt weighs nothing."""
    prompt, completion = _halves(fields, prompt_key, completion_key)
    fields.held_as("prompt", [prompt_key, completion_key, len(prompt)])
    messages = [*map(_untrained, prompt), *completion]
    tools = read_tools(fields, "tools")
    return Chat(messages=messages, tools=tools, origin=fields.origin("prompt_completion"))


def _halves(fields: Fields, prompt_key: str, completion_key: str) -> tuple[list[Message], list[Message]]:
    prompt = read_turns(fields, fields.value(prompt_key), pointer(prompt_key), "user")
    return prompt, read_turns(fields, fields.value(completion_key), pointer(completion_key), "assistant")


def _untrained(message: Message) -> Message:
    """A message of the prompt as it counts: its author trains on the completion alone."""
    if message.role != "assistant" or message.weight is not None:
        return message
    return message.model_copy(update={"weight": 0.0})


def _bare(prompt: Sequence[Message], weighed: Sequence[bool]) -> list[Message]:
    """A prompt's messages as the row has them, without the weight that their place gives them.

    `weighed`: which of them have a weight of their own in the row.
    """
    return [
        message.model_copy(update={"weight": None})
        if message.role == "assistant" and message.weight == 0 and not (i < len(weighed) and weighed[i])
        else message
        for i, message in enumerate(prompt)
    ]


def change_split(draft: Draft, was: Chat, now: Chat, keys: tuple[str, str]) -> None:
    """Change the halves of a conversation where they would read as something else."""
    row = draft.row
    prompt, completion = _halves(Fields(row), *keys)
    cut = _cut(was.messages, now.messages, len(prompt))
    weighed = [message.weight is not None for message in prompt]
    row[keys[0]] = written_turns(row[keys[0]], prompt, _bare(now.messages[:cut], weighed), "user")
    row[keys[1]] = written_turns(row[keys[1]], completion, now.messages[cut:], "assistant")
    write_tools(row, was.tools, now.tools)


def _cut(was: Sequence[Message], now: Sequence[Message], before: int) -> int:
    """How many messages are the prompt now, when they were `before`: where the completion began, or as in a new row."""
    same = next((i for i, (old, new) in enumerate(zip(was[::-1], now[::-1], strict=False)) if old != new), None)
    kept = min(len(was), len(now)) if same is None else same
    cut = before if len(was) == len(now) else len(now) - (len(was) - before)
    if (len(was) == len(now) or kept >= len(was) - before) and _is_cut(now, cut):
        return cut
    return _first_trained(now)


def _is_cut(messages: Sequence[Message], cut: int) -> bool:
    """Whether a conversation can be cut there: both halves say something, and the first trains nothing unsaid."""
    trained = any(message.role == "assistant" and message.weight is None for message in messages[:cut])
    return 0 < cut < len(messages) and not trained


def _first_trained(messages: Sequence[Message]) -> int:
    """Where the completion of a new row begins. Raises NoPlace when there is no prompt or nothing after it."""
    trained = (i for i, one in enumerate(messages) if one.role == "assistant" and one.weight != 0)
    cut = next(trained, len(messages) - 1)
    if not _is_cut(messages, cut):
        roles = ", ".join(message.role for message in messages)
        raise NoPlace(f"a conversation of {roles} where prompt and completion belong", "/messages")
    return cut


def new_split(record: Chat) -> dict[str, Any]:
    """A row of messages that no author wrote: all from the first trained turn on is the completion."""
    spelling = own_spelling(record, "prompt_completion", "role")
    told: Any = spelling.remembered("/prompt")
    known = isinstance(told, list) and len(told) == 3 and _is_cut(record.messages, told[2])
    prompt_key, completion_key, cut = told if known else ("prompt", "completion", _first_trained(record.messages))
    weighed = [_is_weighed(spelling, f"/{prompt_key}", i) for i in range(cut)]
    prompt, completion = _bare(record.messages[:cut], weighed), record.messages[cut:]
    row = {
        prompt_key: new_turns(prompt, f"/{prompt_key}", "user", spelling, plain=False),
        completion_key: new_turns(completion, f"/{completion_key}", "assistant", spelling, plain=False),
    }
    write_tools(row, None, record.tools)
    return row


def _is_weighed(spelling: Spelling, where: str, place: int) -> bool:
    """Whether another weight beside the one that counts tells that a message had one of its own."""
    return any(spelling.knows(f"{at}/{key}") for at in (where, f"{where}/{place}") for key in WEIGHTS)
