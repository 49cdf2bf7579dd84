"""Ctrl-C at a moment when it would do harm."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
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


_CAUGHT = """
import sys
from didact.cli.interrupt import load_modules_whole
load_modules_whole()
try:
    import outer
except KeyboardInterrupt:
    print(sys.modules["inner"].whole, sys.modules["outer"].whole)
    sys.exit(130)
"""


@pytest.mark.parametrize("disturbed", ["signal.raise_signal(2)", "exec('signal.raise_signal(2); 1')"])
def test_a_command_loads_its_modules_whole(disturbed: str, tmp_path: Path) -> None:
    """Ctrl-C amid an import, also in a string that is executed there, is answered when all that is imported is there;
    and the command ends with its own exit code.
    """
    (tmp_path / "outer.py").write_text("import inner\nwhole = True\n")
    (tmp_path / "inner.py").write_text(f"import signal\n{disturbed}\nwhole = True\n")
    (tmp_path / "caught.py").write_text(_CAUGHT)
    done = subprocess.run([sys.executable, "caught.py"], check=False, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "True True\n", "")
