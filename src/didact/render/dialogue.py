"""A dialogue as rows store it, and its plain reading for corpora without marks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Message: TypeAlias = Mapping[str, Any]
"""role: str.  content: str or None.  weight: float or None, 0 = not trained.  tool_calls: JSON text or None.
name, tool_call_id: str or None, not rendered."""

Dialogue: TypeAlias = Sequence[Message]
"""Messages in the order they were said."""

ROLES = ("system", "developer", "user", "assistant", "tool")
"""Roles of messages; `Turns` holds places in this tuple."""


class Turns(NamedTuple):
    """Where the turns of n rendered dialogues begin.

    starts: (m,) int64, first id of each turn with its marks, counted from its record's first id.  roles: (m,) uint8.
    bounds: (n + 1,) int64, each record's part of the two.
    """

    starts: NDArray[np.int64]
    roles: NDArray[np.uint8]
    bounds: NDArray[np.int64]


_SPEAKERS = {"user": "User: ", "assistant": "Assistant: ", "tool": "Tool: "}


def dialogue_text(messages: Dialogue) -> str:
    r"""A dialogue as plain text: paragraphs with the speaker's name before them, tool calls as their JSON.

    System messages stand without a name, as an introduction. No reserved token is in it, so it can join any corpus.

    >>> dialogue_text([{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}])
    'User: 2 + 2?\n\nAssistant: 4'
    """
    return "\n\n".join(paragraph for message in messages for paragraph in _paragraphs(message))


def _paragraphs(message: Message) -> list[str]:
    texts = (message.get("content") or "", message.get("tool_calls") or "")
    return [_SPEAKERS.get(message["role"], "") + text for text in texts if text]


def split_last_answer(messages: Dialogue) -> tuple[list[Message], str] | None:
    """The messages before the last assistant turn with text, and that turn's text; None where there is no such turn."""
    for at in range(len(messages) - 1, -1, -1):
        if messages[at]["role"] == "assistant" and messages[at].get("content"):
            return list(messages[:at]), messages[at]["content"]
    return None
