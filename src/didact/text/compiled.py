"""How kernels over text are compiled: cached on disk, without the interpreter's lock and without reference counts.

numba counts references to arrays at every call from one compiled function to another, each time by an atomic
operation. Functions that are called for every character or word spent two thirds of their time so. `_nrt=False` leaves
the counting out. A kernel then cannot make an array: its caller, in Python, hands it all that it needs, but for the few
that cannot know how much that is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, wraps
from types import CodeType, FunctionType, ModuleType
from typing import Any, TypeVar, cast

import numpy as np
import xxhash
from numba import njit
from numba.core import event
from numba.core.caching import FunctionCache
from numba.core.dispatcher import Dispatcher
from numba.core.runtime.nrt import rtsys

from didact.interrupts import interrupts_later

Function = TypeVar("Function", bound=Callable[..., object])

_KERNELS: list[Any] = []
"""numba's dispatcher of every kernel."""
COMPILING = "compiling kernels, once on this machine; it takes about half a minute"
_TOLD: list[str] = []


def _compiled(function: Function, **options: bool) -> Function:
    return cast("Function", njit(nogil=True, **({"_nrt": False} | options))(function))  # type: ignore[call-overload]


def kernel(function: Function) -> Function:
    """Compile a function that Python calls, or load it from the cache on disk."""
    return _kept(_compiled(function))


def allocating_kernel(function: Function) -> Function:
    """The same for a function that makes arrays itself, as it alone knows how large they get. Only Python calls it."""
    return _uninterrupted(_kept(_compiled(function, _nrt=True)))


def _kept(made: Function) -> Function:
    dispatcher: Any = made
    dispatcher._cache = _Cache(dispatcher.py_func)
    dispatcher.compile = _uninterrupted(dispatcher.compile)
    _KERNELS.append(dispatcher)
    return made


def _uninterrupted(function: Function) -> Function:
    """The function, with a Ctrl-C answered behind it: a KeyboardInterrupt out of the Python code that these call ends
    nothing. LLVM asks for what the cache holds by a callback, and code that makes Python objects of results calls
    Python for their types; both go on with what was not given to them (SIGSEGV), or as if nothing had come.
    """

    @wraps(function)
    def called(*given: object) -> object:
        with interrupts_later():
            return function(*given)

    return cast("Function", called)


class _Cache(FunctionCache):
    """numba's own compiles a function anew when its file has changed. This does so, too, when what it calls has, which
    is a part of its machine code; and loads what is on disk without the tables that only compiling needs.
    """

    def load_overload(self, sig: object, target_context: object) -> object:
        """The machine code on disk for the types of some arguments, or None.

        numba's own first fills the tables of all that it can compile, for 0.15 s in each process; the compiler fills
        them itself when it has something to do.
        """
        rtsys.initialize(target_context)
        with self._guard_against_spurious_io_errors():
            return self._load_overload(sig, target_context)

    def _index_key(self, sig: object, codegen: object) -> tuple[object, ...]:
        told = xxhash.xxh3_128()
        for function in _called_from(self._py_func):
            told.update(_own_code(function))
        return (*super()._index_key(sig, codegen), told.digest())


def _called_from(function: FunctionType) -> list[FunctionType]:
    """A function and all that it calls, in an order that its code gives."""
    found = [function]
    for caller in found:
        called = [one.py_func for one in _globals_of(caller) if isinstance(one, Dispatcher)]
        found += [one for one in dict.fromkeys(called) if one not in found]
    return found


def _globals_of(function: FunctionType) -> list[Any]:
    """Values of the module's names that a function may use: its code lists them together with attributes."""
    return [function.__globals__[name] for name in function.__code__.co_names if name in function.__globals__]


@cache
def _own_code(function: FunctionType) -> bytes:
    """What the machine code of a function depends on, beside the functions it calls. Raises TypeError where that cannot
    be told.
    """
    code = function.__code__
    constants = [part for part in code.co_consts if part != function.__doc__]
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    said = [code.co_names, constants, function.__defaults__, cells, _globals_of(function)]
    return b"\0".join([code.co_code, *map(_spelt, said)])


def _spelt(value: Any) -> bytes:
    """A constant, by what it is and not where."""
    if isinstance(value, np.ndarray):
        return repr((value.dtype, value.shape)).encode() + value.tobytes()
    if isinstance(value, tuple | list):
        return b"(%s)" % b"".join(map(_spelt, value))
    if isinstance(value, bool | int | float | complex | str | bytes | np.generic | None):
        return f"{type(value).__name__} {value!r} ".encode()
    if isinstance(value, type) and issubclass(value, tuple):
        return f"tuple {value.__name__} {getattr(value, '_fields', ())} ".encode()
    if isinstance(value, CodeType | frozenset) or (isinstance(value, ModuleType) and value is not np):
        raise TypeError(f"a kernel uses {value!r}: `{__name__}` does not know what of it is in the machine code")
    return f"{type(value).__name__} {getattr(value, '__name__', '')} ".encode()


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
