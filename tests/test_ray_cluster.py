"""Builds on a real Ray cluster of several nodes: the same bytes as on one machine, whatever happens to the nodes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from ray_cluster import (
    Heard,
    cluster,
    cut_off,
    many_chunks,
    markers,
    measured,
    node_at_work,
    shuffled,
    slow_recipe,
)
from tiny_recipe import bytes_of, tiny, write_inputs

from didact.build.pipeline import build

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """A cluster of four nodes with a core each."""
    with cluster(4) as made:
        yield made


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inputs are cut into some twenty chunks."""
    many_chunks(monkeypatch)


@pytest.fixture
def expected(tmp_path: Path) -> Mapping[str, str]:
    """The bytes of the tiny recipe, built in this process."""
    write_inputs(tmp_path)
    return bytes_of(build(tiny(tmp_path, store=str(tmp_path / "alone")), workers=1))


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("engine", ["local", "ray"])
def test_engine_workers_and_order_change_no_byte(
    nodes: Any, expected: Mapping[str, str], tmp_path: Path, engine: Any, workers: int
) -> None:
    """One, two and four workers, on this machine and on a cluster, with files in any order make the same bytes."""
    address = nodes.address if engine == "ray" else None
    recipe = tiny(tmp_path, store=str(tmp_path / "store"))
    for one in (recipe, shuffled(recipe)):
        shutil.rmtree(tmp_path / "store", ignore_errors=True)
        version = build(one, engine=engine, address=address, workers=workers)
        assert bytes_of(version) == expected
        assert version.verify() == []


def test_a_node_that_is_killed_costs_no_row(tmp_path: Path) -> None:
    """A node killed in the middle of a build: its chunks are run again on the others, complete ones are not, and the
    bytes are those of a build that nobody disturbed.
    """
    recipe = slow_recipe(tmp_path, "store", seconds=0.2)
    whole = bytes_of(build(recipe | {"store": str(tmp_path / "alone")}, workers=1))
    texts = set(measured(tmp_path))
    (tmp_path / "measured").unlink()
    at_kill: dict[str, int] = {}

    with cluster(3) as three:

        def kill(done: int) -> None:
            complete = markers(tmp_path / "store")
            if len(complete) >= 8 and not at_kill:
                node = node_at_work(three, tmp_path)
                at_kill.update(markers(tmp_path / "store"))
                cut_off(node)

        heard = Heard(kill)
        version = build(recipe, engine="ray", address=three.address, tell=heard)
    assert bytes_of(version) == whole and version.verify() == []
    after = markers(tmp_path / "store")
    assert 0 < len(at_kill) < len(after)
    assert {name: after[name] for name in at_kill} == at_kill
    lost = [note for note in heard.notes if "trying again (2 of 3)" in note]
    assert lost and all("chunk" in note and "died" in note for note in lost)
    times = measured(tmp_path)
    assert set(times) == texts and sum(count > 1 for count in times.values()) < len(texts) / 4
