"""The one narrow interface between stages and whatever runs them."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, Self, TypeVar, runtime_checkable

Item = TypeVar("Item")
Result = TypeVar("Result")


class Engine(Protocol):
    """Runs a function on items and gives results as they come.

    The function is a module-level one that depends on its item alone and writes its large results to the store; items
    and results are small or bounded by the chunk size. An item may run twice when a worker dies, never in part.
    """

    @property
    def workers(self) -> int:
        """How many items run at the same time."""

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[tuple[Item, Result]]:
        """Pairs of item and result in order of completion. Items are taken from the iterable as workers get free."""

    def close(self) -> None:
        """Let the workers go."""


@runtime_checkable
class Named(Protocol):
    """An item that says what it is."""

    @property
    def about(self) -> str:
        """What and where, for messages."""


@runtime_checkable
class Portable(Protocol):
    """An item that may refer to files of the machine that leads."""

    def portable(self) -> Self:
        """The item as any machine that sees the store can run it."""


def about(item: object) -> str:
    """How messages name an item: as it says itself, else what it looks like, shortened."""
    return item.about if isinstance(item, Named) else reprlib.repr(item)
