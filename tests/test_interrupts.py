"""Ctrl-C at a moment when it would do harm."""

from __future__ import annotations

import signal
from typing import Any

import numpy as np
import pytest

from didact.interrupts import interrupts_later
from didact.text.compiled import kernel


def test_an_interrupt_waits_for_the_end_of_the_block() -> None:
    """What is inside is done whole; then the interrupt comes, and the next one at once."""
    before, done = signal.getsignal(signal.SIGINT), []

    def disturbed() -> None:
        with interrupts_later():
            signal.raise_signal(signal.SIGINT)
            done.append("whole")

    with pytest.raises(KeyboardInterrupt):
        disturbed()
    assert done == ["whole"]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_kernel_is_loaded_whole() -> None:
    """Ctrl-C while numba loads or compiles a kernel is answered when that is done; the kernel can be called then."""
    fresh: Any = kernel(lambda out: out.fill(1))
    load = fresh._cache.load_overload

    def disturbed(*given: object) -> object:
        signal.raise_signal(signal.SIGINT)
        return load(*given)

    fresh._cache.load_overload = disturbed
    out = np.zeros(3)
    with pytest.raises(KeyboardInterrupt):
        fresh(out)
    fresh(out)
    assert out.tolist() == [1, 1, 1]
