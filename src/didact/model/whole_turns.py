"""Which turns of a conversation stay when it is longer than the context; no turn is ever cut."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from didact.render.dialogue import ROLES, Turns

_SYSTEM = (ROLES.index("system"), ROLES.index("developer"))
_USER = ROLES.index("user")


class Kept(NamedTuple):
    """What stays of a document: its first `head` tokens, and those from `start` up to `stop`."""

    head: int
    start: int
    stop: int

    @property
    def tokens(self) -> int:
        """Tokens that go in: all but the last, which is only predicted."""
        return self.head + self.stop - self.start - 1


def first_turns(trained: NDArray[np.bool_], starts: list[int], roles: list[int], context: int) -> Kept | None:
    """The beginning of a conversation up to the last trained turn that fits; None when none does.

    trained: (T,), which tokens carry loss.  starts, roles: first token and role of each turn.
    """
    del roles
    ends = [*starts[1:], len(trained)]
    for start, stop in reversed(list(zip(starts, ends, strict=True))):
        if stop - 1 <= context and trained[start:stop].any():
            return Kept(0, 0, stop)
    return None


def last_turns(trained: NDArray[np.bool_], starts: list[int], roles: list[int], context: int) -> Kept | None:
    """The system prompt, and the latest trained exchange that fits with as many before it as fit; None when none does.

    An exchange is what follows from one user's turn to the next, so that no answer loses its question and no tool's
    result its call. Arguments as in `first_turns`.
    """
    after = next((place for place, role in enumerate(roles) if role not in _SYSTEM), None)
    if after is None:
        return None
    head = starts[after]
    begun = [
        start
        for place, start in enumerate(starts)
        if place == after or (place > after and roles[place] == _USER != roles[place - 1])
    ]
    ends = [*begun[1:], len(trained)]
    for last in reversed(range(len(begun))):
        stop = ends[last]
        if Kept(head, begun[last], stop).tokens <= context and trained[begun[last] : stop].any():
            first = next(start for start in begun if Kept(head, start, stop).tokens <= context)
            return Kept(0, 0, stop) if first == head else Kept(head, first, stop)
    return None


_CHOICES = {"turns": last_turns, "first_turns": first_turns}


def keep_turns(
    policy: str,
    turns: Turns,
    weights: NDArray[Any],
    bounds: NDArray[np.int64],
    documents: NDArray[np.int64],
    context: int,
) -> NDArray[np.int64]:
    """(n, 3) `Kept` of each of n documents under a policy; (0, 0, 0) where nothing of one can stay."""
    kept = np.zeros((len(documents), 3), np.int64)
    for place, document in enumerate(documents.tolist()):
        inside = slice(int(turns.bounds[document]), int(turns.bounds[document + 1]))
        trained = np.asarray(weights[bounds[document] : bounds[document + 1]]) > 0
        found = _CHOICES[policy](trained, turns.starts[inside].tolist(), turns.roles[inside].tolist(), context)
        if found is not None:
            kept[place] = found
    return kept
