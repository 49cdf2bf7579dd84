"""Memory that training has freed goes back to the system."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import cache


def give_back() -> None:
    """Return freed memory between what is in use, where the C library can (glibc's malloc_trim); a millisecond or two.

    Every step of fine-tuning has other sizes, so what it frees lies scattered, and glibc keeps it: a model of 2.6 M
    parameters held 2.0 GB after 60 steps and 4.4 GB after 1,000, of which it used less than half.
    """
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Callable[[int], int] | None:
    if sys.platform != "linux":
        return None
    trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim
