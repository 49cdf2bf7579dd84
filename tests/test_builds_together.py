"""Several builds and collections in one store at once: none harms another."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tiny_recipe import bytes_of, tiny, write_inputs

from benchmarks.processes import start
from didact.build.pipeline import build
from didact.durable import ASIDE, read_json
from didact.store.collect import collect
from didact.store.layout import Store
from didact.store.version import Version

MANIFEST = {"manifest.json", "README.md"}
"""What names the parent, which is whatever was published before."""


def strict(words: int) -> list[dict[str, Any]]:
    """A filter by which plans differ that share all their chunks."""
    return [{"signal": "response.words", "min": words, "sources": ["stories"]}]


def shards(version: Version) -> Mapping[str, str]:
    """The bytes of everything but the manifest and the card."""
    return {name: digest for name, digest in bytes_of(version).items() if name not in MANIFEST}


def alone(home: Path, words: int) -> Version:
    """A version built in a store of its own."""
    return build(tiny(home, filters=strict(words), store=str(home / f"alone-{words}")), workers=1)


def started(home: Path, store: Path, words: int, number: int, workers: int) -> subprocess.Popen[bytes]:
    """A build in another process."""
    recipe = home / f"recipe-{words}.json"
    recipe.write_text(json.dumps(tiny(home, filters=strict(words), store=str(store))))
    return start(["build", recipe, "--workers", str(workers)], home / f"{words}-{number}.log")


def builds_beside_gc(home: Path, plans: int, times: int, workers: int) -> None:
    """Start every plan several times at once, collect all the while, and look at what came out."""
    write_inputs(home)
    expected = {words: alone(home, words) for words in range(1, plans + 1)}
    store = Store(home / "store")
    running = [
        started(home, store.root, words, number, workers) for number in range(times) for words in range(1, plans + 1)
    ]
    refused = collected = 0
    while any(process.poll() is None for process in running):
        done = tried_gc(store.root)
        refused, collected = refused + (done != 0), collected + (done == 0)
        time.sleep(0.05)
    logs = [path.read_text() for path in sorted(home.glob("*.log"))]
    assert [process.returncode for process in running] == [0] * len(running), logs
    assert refused + collected > 0
    # A collection between two builds may take what no ref names; what `latest` names is there, and whole.
    latest = Version.open(store.find("tiny"))
    assert latest.verify() == []
    for words, version in expected.items():
        again = build(tiny(home, filters=strict(words), store=str(store.root)), workers=1)
        assert again.path.name == version.path.name and shards(again) == shards(version) and again.verify() == []
    assert not list(store.root.rglob(f"{ASIDE}*"))


def tried_gc(store: Path) -> int:
    """Collect in this process; 1 when somebody is at work, as the command exits."""
    from didact.errors import DidactError

    try:
        collect(Store(store))
    except DidactError as error:
        return error.exit_code
    return 0


def test_builds_of_two_plans_beside_gc_do_not_harm_each_other(tmp_path: Path) -> None:
    """Two plans that share chunks, built at once while a collection is tried again and again."""
    builds_beside_gc(tmp_path, plans=2, times=1, workers=1)


@pytest.mark.slow
def test_many_builds_beside_gc_do_not_harm_each_other(tmp_path: Path) -> None:
    """Three plans, each started three times at once, with workers of their own."""
    builds_beside_gc(tmp_path, plans=3, times=3, workers=2)


@pytest.mark.slow
def test_a_plan_started_twice_runs_once(tmp_path: Path) -> None:
    """The second build of a plan waits, finds the version, and runs no chunk of its own."""
    write_inputs(tmp_path)
    running = [started(tmp_path, tmp_path / "store", 1, number, 1) for number in range(2)]
    assert [process.wait(timeout=300) for process in running] == [0, 0]
    (made,) = (tmp_path / "store").glob("builds/*/build.json")
    assert read_json(made)["chunks"] == {"made": 3, "found": 0}
    told = [(tmp_path / f"1-{number}.log").read_text() for number in range(2)]
    assert sum("already built" in text for text in told) == 1
