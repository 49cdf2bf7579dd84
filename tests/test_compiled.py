"""Kernels on disk: found again, and never for code that has changed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_CALLER = """
from didact.text.compiled import kernel
from called import changed

@kernel
def run(x):
    return changed(x)

print(run(1), sum(run.stats.cache_hits.values()))
"""
_CALLED = """
import numpy as np
from didact.text.compiled import part

ADDED = 1
TABLE = np.array([10, 20])

@part
def deeper(x):
    return x + ADDED

@part
def changed(x):
    '''Adds.'''
    return TABLE[0] + deeper(x)
"""


def _run(folder: Path) -> str:
    """What a program prints that calls the kernel: its value, and whether it was on disk."""
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "caller.py"], cwd=folder, env=environment, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("was", "then", "value"),
    [
        ("x + ADDED", "x - ADDED", 10),
        ("ADDED = 1", "ADDED = 2", 13),
        ("[10, 20]", "[11, 20]", 13),
        ("TABLE[0]", "TABLE[1]", 22),
        ("Adds.", "Sums.", None),
    ],
)
def test_a_kernel_is_never_older_than_what_it_calls(was: str, then: str, value: int | None, tmp_path: Path) -> None:
    """It is compiled once; and anew, with its own file as it was, when a function it calls, or a constant or table of
    one, is another. A docstring is none of these.
    """
    (tmp_path / "caller.py").write_text(_CALLER)
    (tmp_path / "called.py").write_text(_CALLED)
    assert [_run(tmp_path), _run(tmp_path)] == ["12 0", "12 1"]
    assert was in _CALLED
    (tmp_path / "called.py").write_text(_CALLED.replace(was, then))
    assert [_run(tmp_path), _run(tmp_path)] == (["12 1"] * 2 if value is None else [f"{value} 0", f"{value} 1"])
