"""How kernels over text are compiled: cached on disk, without the interpreter's lock and without reference counts.

numba counts references to arrays at every call from one compiled function to another, each time by an atomic
operation. Functions that are called for every character or word spent two thirds of their time so. `_nrt=False` leaves
the counting out. A kernel then cannot make an array: its caller, in Python, hands it all that it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

from numba import njit
from numba.core import event

Function = TypeVar("Function", bound=Callable[..., object])

_KERNELS: list[Any] = []
"""numba's dispatcher of every kernel."""
COMPILING = "compiling kernels, once on this machine; it takes about half a minute"
_TOLD: list[str] = []


def _compiled(function: Function, **options: bool) -> Function:
    return cast("Function", njit(nogil=True, _nrt=False, **options)(function))  # type: ignore[call-overload]


def kernel(function: Function) -> Function:
    """Compile a function that Python calls.

    It is compiled anew when its own file changes, not when that of a function it calls does: then remove `*.nbi`.
    """
    made = _compiled(function, cache=True)
    _KERNELS.append(made)
    return made


class _Waiting(event.Listener):
    """Tells what takes so long when numba begins to compile."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell

    def on_start(self, event: event.Event) -> None:
        """Tell it, once in a process."""
        del event
        if not _TOLD:
            _TOLD.append(COMPILING)
            self._tell(COMPILING)

    def on_end(self, event: event.Event) -> None:
        """Say nothing."""


@contextmanager
def told_of_compiling(tell: Callable[[str], None]) -> Iterator[None]:
    """Tell once, inside the block, that kernels are being compiled, if the cache on disk has them not."""
    waiting = _Waiting(tell)
    event.register("numba:compile", waiting)
    try:
        yield
    finally:
        event.unregister("numba:compile", waiting)


def compiled_here() -> bool:
    """Whether this process had to compile a kernel, as the cache on disk had it not."""
    return any(made.stats.cache_misses for made in _KERNELS)


def part(function: Function) -> Function:
    """Compile a function that kernels call."""
    return _compiled(function)


def inlined(function: Function) -> Function:
    """Compile a small function that kernels call for every character or word: handing it arrays costs more than it
    does, so its code is put where it is called.
    """
    return _compiled(function, forceinline=True)
