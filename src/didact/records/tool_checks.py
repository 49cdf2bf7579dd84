"""What is wrong with the use of tools: calls that no tool allows, results that answer no call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from didact.records.chat import Message, ToolCallPart
from didact.records.findings import Problem

if TYPE_CHECKING:
    from didact.records.tool_schemas import ToolSchema, ToolSet

Placed = tuple[str, Message]
"""A message and its JSON pointer."""


def tool_problems(messages: Sequence[Placed], tools: list[dict[str, Any]]) -> Iterator[Problem]:
    """Problems of the tools, the calls and the results of one conversation."""
    spoken = [placed for placed in messages if placed[1].role == "tool" or _calls(placed)]
    if tools:
        from didact.records.tool_schemas import tool_set

        defined = tool_set(tools)
        for where, message in defined.problems:
            yield "TO006", f"/tools{where}", message
        for placed in spoken:
            for where, call in _calls(placed):
                yield from _call_problems(where, call, defined)
    else:
        for placed in spoken:
            for where, call in _calls(placed):
                _, problem = _arguments(call)
                if problem:
                    yield "TO001", where, problem
    if spoken:
        yield from _order_problems(messages)


def _calls(placed: Placed) -> list[tuple[str, ToolCallPart]]:
    """The calls of a message with their JSON pointers."""
    where, message = placed
    return [(f"{where}/parts/{i}", part) for i, part in enumerate(message.parts) if isinstance(part, ToolCallPart)]


def _arguments(call: ToolCallPart) -> tuple[Any, str]:
    """A call's arguments, and what is wrong when they are no JSON object. No text at all stands for no arguments."""
    if not call.arguments.strip():
        return {}, ""
    try:
        arguments = orjson.loads(call.arguments)
    except orjson.JSONDecodeError as error:
        return None, f"the arguments of '{call.name[:60]}' are no JSON: {error}"
    if not isinstance(arguments, dict):
        return None, f"the arguments of '{call.name[:60]}' are no JSON object"
    return arguments, ""


def _call_problems(where: str, call: ToolCallPart, defined: ToolSet) -> Iterator[Problem]:
    arguments, problem = _arguments(call)
    if problem:
        yield "TO001", where, problem
    tool = defined.tools.get(call.name)
    if tool is None:
        known = ", ".join(sorted(defined.tools)[:8]) or "none with a name"
        yield "TO002", where, f"'{call.name[:60]}' is none of the tools: {known[:200]}"
    elif not problem:
        yield from _violations(where, tool, call, arguments)


def _violations(where: str, tool: ToolSchema, call: ToolCallPart, arguments: Any) -> Iterator[Problem]:
    """What the tool's schema says of a call's arguments, or why it cannot be asked."""
    from didact.records.tool_schemas import MOST_BYTES, Unusable

    if tool.violation is None:
        return
    if len(call.arguments) > MOST_BYTES:
        yield "TO006", where, f"arguments of {len(call.arguments):,} characters, more than are checked"
        return
    try:
        violated = tool.violation(arguments)
    except Unusable as error:
        yield "TO006", where, f"the schema of '{tool.name[:60]}' {error}"
        return
    if violated:
        yield "TO001", where, f"the arguments of '{tool.name[:60]}': {violated}"


def _order_problems(messages: Sequence[Placed]) -> Iterator[Problem]:
    """Every call answered once before anyone else speaks; only the last message's calls may stay open.

    Calls and results without ids pair up in their order, as formats with one call per turn write them.
    """
    waiting: list[tuple[str, str | None]] = []
    answered = False
    for placed in messages:
        where, message = placed
        if message.role == "tool":
            problem = _take(waiting, message.tool_call_id)
            if problem:
                yield problem[0], where, problem[1]
            else:
                answered = True
            continue
        yield from _unanswered(waiting)
        waiting = [(place, call.id) for place, call in _calls(placed)]
        answered = False
        yield from _mixed_up(waiting)
    if answered:
        yield from _unanswered(waiting)


def _take(waiting: list[tuple[str, str | None]], call_id: str | None) -> tuple[str, str] | None:
    """Take the call that a result answers from those that wait for one; otherwise say what is wrong."""
    if not waiting:
        return "TO005", "a result where no call waits for one"
    named = [call for call in waiting if call_id is not None and call[1] == call_id]
    if not named and call_id is not None and any(name is not None for _, name in waiting):
        return "TO005", f"a result of '{call_id[:60]}', which no waiting call is named"
    if not named and call_id is None and len(waiting) > 1 and any(name is not None for _, name in waiting):
        waiting.pop(0)
        return "TO003", "a result that does not say which of several calls it answers"
    waiting.remove(named[0] if named else waiting[0])
    return None


def _unanswered(waiting: Sequence[tuple[str, str | None]]) -> Iterator[Problem]:
    for where, name in waiting:
        yield "TO004", where, f"the call{f' {name[:60]!r}' if name else ''} has no result, and the conversation goes on"


def _mixed_up(waiting: Sequence[tuple[str, str | None]]) -> Iterator[Problem]:
    """Ids of one message's calls that are missing beside others, or that two calls share."""
    seen: set[str] = set()
    for where, name in waiting:
        if name is None:
            if len(waiting) > 1 and any(other is not None for _, other in waiting):
                yield "TO003", where, "one of several calls has no id"
        elif name in seen:
            yield "TO003", where, f"two calls have the id '{name[:60]}'"
        else:
            seen.add(name)
