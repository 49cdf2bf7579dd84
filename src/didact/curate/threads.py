"""Work of one process on several of its threads, for kernels and libraries that let go of the interpreter's lock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(function: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """Results in the order of the items, of which one more than there are threads is held at most."""
    if threads == 1:
        yield from map(function, items)
        return
    left = iter(items)
    with ThreadPoolExecutor(threads) as pool:
        running: deque[Future[Result]] = deque(pool.submit(function, item) for item in islice(left, threads + 1))
        while running:
            yield running.popleft().result()
            running.extend(pool.submit(function, item) for item in islice(left, 1))
