"""Kernels on disk: found again, and never for code that has changed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_CALLER = """
from didact.text.compiled import {0}
from called import changed

@{0}
def run(x):
    return changed(x)

print(run(1), sum(run.stats.cache_hits.values()))
"""
_CALLED = """
from typing import NamedTuple
import numpy as np
from didact.text.compiled import part

ADDED = 1
TABLE = np.array([10, 20])

class Pair(NamedTuple):
    one: int
    other: int

@part
def deeper(x, times=1):
    return x + ADDED * times

@part
def changed(x):
    '''Adds.'''
    pair = Pair(TABLE[0], deeper(x))
    return pair.one + pair[1]
"""


def _run(folder: Path) -> str:
    """What a program prints that calls the kernel: its value, and whether it was on disk."""
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "caller.py"], cwd=folder, env=environment, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize("kind", ["kernel", "allocating_kernel"])
@pytest.mark.parametrize(
    ("was", "then", "value"),
    [
        ("x + ADDED", "x - ADDED", 10),
        ("ADDED = 1", "ADDED = 2", 13),
        ("[10, 20]", "[11, 20]", 13),
        ("TABLE[0]", "TABLE[1]", 22),
        ("times=1", "times=3", 14),
        ("one: int\n    other: int", "other: int\n    one: int", 4),
        ("Adds.", "Sums.", None),
    ],
)
def test_a_kernel_is_never_older_than_what_it_calls(
    kind: str, was: str, then: str, value: int | None, tmp_path: Path
) -> None:
    """It is compiled once; and anew, with its own file as it was, when a function it calls is another, a default, a
    constant or a table of that one, or a type that it makes. A docstring is none of these.
    """
    (tmp_path / "caller.py").write_text(_CALLER.format(kind))
    (tmp_path / "called.py").write_text(_CALLED)
    assert [_run(tmp_path), _run(tmp_path)] == ["12 0", "12 1"]
    assert was in _CALLED
    (tmp_path / "called.py").write_text(_CALLED.replace(was, then))
    assert [_run(tmp_path), _run(tmp_path)] == (["12 1"] * 2 if value is None else [f"{value} 0", f"{value} 1"])


@pytest.mark.parametrize("uses", ["TABLE[0] + (x in {1, 2})", "TABLE[0] + math.inf", "(lambda y: y)(x)"])
def test_what_cannot_be_told_apart_is_refused(uses: str, tmp_path: Path) -> None:
    """A kernel that uses what is not compared, a set, a module's constant or a function inside, is an error."""
    (tmp_path / "caller.py").write_text(_CALLER.format("kernel"))
    (tmp_path / "called.py").write_text("import math\n" + _CALLED.replace("TABLE[0]", uses))
    with pytest.raises(subprocess.CalledProcessError) as error:
        _run(tmp_path)
    assert "does not know what of it is in the machine code" in error.value.stderr
