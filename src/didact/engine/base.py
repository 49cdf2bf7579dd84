"""The one narrow interface between stages and whatever runs them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Engine(Protocol):
    """Runs a function on items and gives results as they come.

    The function is a module-level one that depends on its item alone and writes its large results to the store; items
    and results are small or bounded by the chunk size. An item may run twice when a worker dies, never in part.
    """

    workers: int

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[tuple[Item, Result]]:
        """Pairs of item and result in order of completion. Items are taken from the iterable as workers get free."""

    def close(self) -> None:
        """Let the workers go."""
