"""The kernels of the process that leads a build are loaded while its workers are busy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from numba import njit
from tiny_recipe import bytes_of, tiny, write_inputs

from didact.build import ready
from didact.build.per_record import ON_FILE
from didact.build.ready import ReadyMeanwhile
from didact.engine.base import Item, Result
from didact.store.layout import Store
from didact.store.version import Version
from didact.text import compiled
from didact.text.compiled import COMPILING, told_of_compiling

_CODE = """
import gc, sys
from pathlib import Path
from numba.core.dispatcher import Dispatcher
from didact.build.ready import load_kernels
from tiny_recipe import build, tiny, write_inputs

ROOMS = ("didact.curate.dedup", "didact.curate.leaks", "didact.curate.components", "didact.curate.split",
         "didact.render.counting_kernels", "didact.render.learning_kernels")

def loaded():
    kernels = (one for one in gc.get_objects() if isinstance(one, Dispatcher) and one.py_func.__module__ in ROOMS)
    return {(one.py_func.__name__, signature) for one in kernels for signature in one.signatures}

load_kernels()
before = loaded()
folder = Path(sys.argv[1])
write_inputs(folder)
build(tiny(folder), workers=1)
assert before and loaded() == before, loaded() ^ before
"""


def test_what_a_build_runs_is_what_was_loaded(tmp_path: Path) -> None:
    """Afterwards a build loads no other kernel of comparing, splitting and learning, for no other kind of array."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    subprocess.run([sys.executable, "-c", _CODE, str(tmp_path)], env=environment, check=True)


class Given:
    """An engine whose results are given."""

    def __init__(self, workers: int, results: Iterable[Any]) -> None:
        self.workers, self.results = workers, results

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[tuple[Item, Result]]:
        """The results, whatever the function gives."""
        yield from zip(items, self.results, strict=True)

    def close(self) -> None:
        """Nothing to let go."""


@pytest.mark.parametrize(("workers", "there", "when"), [(2, 0, [0]), (2, 3, [0]), (2, 4, [5]), (2, 5, []), (1, 0, [])])
def test_kernels_are_loaded_once_something_is_made(
    workers: int, there: int, when: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are loaded once: while workers get their second item, if that one is new; else after the first chunk that
    was not on file. Of the five results so many are on file; `when`: how many were in by then.
    """
    calls: list[int] = []
    results: list[dict[str, Any]] = []
    monkeypatch.setattr(ready, "load_kernels", lambda: calls.append(len(results)))

    def made(item: int) -> dict[str, Any]:
        return {ON_FILE: True} if item < there else {}

    class Two:
        """An engine that takes four items before it gives the first result, as one of two workers does."""

        def __init__(self) -> None:
            self.workers = workers

        def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
            given = iter(items)
            held = list(islice(given, 4))
            while held:
                item = held.pop(0)
                results.append(function(item))
                yield item, results[-1]
                held += islice(given, 1)

        def close(self) -> None:
            """Nothing to let go."""

    engine = ReadyMeanwhile(Two(), lambda item: ON_FILE in made(item))
    assert [item for item, _ in engine.map(made, range(5))] == [0, 1, 2, 3, 4]
    assert calls == when


@pytest.mark.parametrize("cold", [True, False])
def test_kernels_are_compiled_beside_those_of_workers(monkeypatch: pytest.MonkeyPatch, cold: bool) -> None:
    """Where kernels are on file, a command does not wait for its own before its workers have something to do."""
    loaded: list[str] = []
    monkeypatch.setattr(ready, "compiled_here", lambda: cold)
    for name in ("load_encoder", "load_kernels"):
        monkeypatch.setattr(ready, name, lambda name=name: loaded.append(name))
    ready.compile_beside()
    assert loaded == (["load_encoder", "load_kernels"] if cold else [])


def test_that_kernels_are_compiled_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for kernels to be compiled is told why; nobody is told of kernels that are there."""
    monkeypatch.setattr(compiled, "_TOLD", [])
    told: list[str] = []
    ready.load_common()
    with told_of_compiling(told.append):
        ready.load_common()
        assert told == []
        for _ in range(2):
            njit(lambda value: value + 1)(1)
    njit(lambda value: value + 2)(1)
    assert told == [COMPILING]


@pytest.mark.slow
def test_the_first_build_on_a_machine_makes_the_same_bytes(tmp_path: Path) -> None:
    """With no kernel on file, two processes compile at once; what they leave serves the next build."""
    recipe = tmp_path / "recipe.json"
    write_inputs(tmp_path)
    recipe.write_text(json.dumps(tiny(tmp_path)))
    code = (
        "import atexit, sys\nfrom didact.cli import main\n"
        "from didact.text.compiled import compiled_here\n"
        "atexit.register(lambda: print(compiled_here()))\nmain()"
    )
    versions, anew = [], []
    for name in ("cold", "warm"):
        command = [sys.executable, "-c", code, "build", str(recipe), "--workers", "2", "--store", str(tmp_path / name)]
        environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "kernels")}
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        anew.append(done.stdout.split()[-1])
        assert done.stderr.count(COMPILING) == (name == "cold")
        versions.append(bytes_of(Version.open(Store(tmp_path / name).find("tiny"))))
    assert anew == ["True", "False"]
    assert versions[0] == versions[1]
