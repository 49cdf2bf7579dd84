"""Kernels on disk: found again, and never for code that has changed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_CALLER = """
from didact.text.compiled import _KERNELS, {0}
from called import changed

@{0}
def run(x):
    return changed(x)

print(run(1), sum(_KERNELS[-1].stats.cache_hits.values()))
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


@pytest.fixture(scope="module", params=["kernel", "allocating_kernel"])
def compiled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the program and its kernel on disk, which is compiled once."""
    folder = tmp_path_factory.mktemp("compiled")
    (folder / "caller.py").write_text(_CALLER.format(request.param))
    (folder / "called.py").write_text(_CALLED)
    assert [_run(folder), _run(folder)] == ["12 0", "12 1"]
    return folder


@pytest.mark.parametrize(
    ("was", "then", "told"),
    [
        ("x + ADDED", "x - ADDED", "10 0"),
        ("ADDED = 1", "ADDED = 2", "13 0"),
        ("[10, 20]", "[11, 20]", "13 0"),
        ("TABLE[0]", "TABLE[1]", "22 0"),
        ("times=1", "times=3", "14 0"),
        ("one: int\n    other: int", "other: int\n    one: int", "4 0"),
        ("Adds.", "Sums.", "12 1"),
    ],
)
def test_a_kernel_is_never_older_than_what_it_calls(
    compiled: Path, was: str, then: str, told: str, tmp_path: Path
) -> None:
    """It is compiled anew, with its own file as it was, when a function it calls is another, a default, a constant or a
    table of that one, or a type that it makes. A docstring is none of these.
    """
    folder = Path(shutil.copytree(compiled, tmp_path / "changed"))
    assert was in _CALLED
    (folder / "called.py").write_text(_CALLED.replace(was, then))
    assert _run(folder) == told


@pytest.mark.parametrize("uses", ["TABLE[0] + (x in {1, 2})", "TABLE[0] + math.inf", "(lambda y: y)(x)"])
def test_what_cannot_be_told_apart_is_refused(uses: str, tmp_path: Path) -> None:
    """A kernel that uses what is not compared, a set, a module's constant or a function inside, is an error."""
    (tmp_path / "caller.py").write_text(_CALLER.format("kernel"))
    (tmp_path / "called.py").write_text("import math\n" + _CALLED.replace("TABLE[0]", uses))
    with pytest.raises(subprocess.CalledProcessError) as error:
        _run(tmp_path)
    assert "does not know what of it is in the machine code" in error.value.stderr
