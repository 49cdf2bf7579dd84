"""Builds on a real Ray cluster of several nodes: the same bytes as on one machine, whatever happens to the nodes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ray_cluster import (
    Heard,
    cluster,
    cut_off,
    end,
    many_chunks,
    markers,
    measured,
    node_at_work,
    node_like_another_machine,
    shuffled,
    slow_recipe,
)
from s3_server import make_bucket, options_for, serving
from test_layers import PACKAGE
from tiny_recipe import bytes_of, tiny, write_inputs

from didact.build.pipeline import build
from didact.errors import EngineError
from didact.store.layout import StoreAt

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


@pytest.fixture(scope="module")
def head() -> Iterator[Any]:
    """A cluster that has no core yet."""
    with cluster(0) as made:
        yield made


def test_nodes_need_neither_the_inputs_nor_the_plugins(head: Any, tmp_path: Path) -> None:
    """A node that sees nothing but the store makes the same bytes: rows and plug-ins travel."""
    leader = tmp_path / "leader"
    recipe = slow_recipe(leader, "alone", seconds=0.0)
    whole = bytes_of(build(recipe, workers=1))
    with node_like_another_machine(head, leader):
        version = build(recipe, store=tmp_path / "store", engine="ray", address=head.address)
    assert bytes_of(version) == whole


def test_a_store_in_object_storage_is_all_that_nodes_share(head: Any, tmp_path: Path) -> None:
    """Nodes that see neither the inputs nor each other's working copies make the bytes of a build on one disk, one of
    them killed in the middle; what the store holds is whole.
    """
    leader = tmp_path / "leader"
    recipe = slow_recipe(leader, "alone", seconds=0.1)
    whole = bytes_of(build(recipe, workers=1))
    with serving() as server:
        make_bucket(server, "bucket")
        at = StoreAt("s3://bucket/shared", options_for(server), leader / "work")
        advances: list[int] = []
        with node_like_another_machine(head, leader) as first, node_like_another_machine(head, leader):

            def kill(done: int) -> None:
                advances.append(done)
                if len(advances) == 6:
                    end(first)

            version = build(recipe, store=at, engine="ray", address=head.address, tell=Heard(kill))
        assert {name: version.folder.sha256(name) for name in version.folder.files()} == whole
        assert version.verify() == []
    assert len(advances) > 12


def test_a_node_that_does_not_see_the_store_is_refused(head: Any, tmp_path: Path) -> None:
    """A store on the leading machine's own disk ends the build with the node and the folder, not with lost rows."""
    write_inputs(tmp_path)
    (tmp_path / "store").mkdir()
    told = r"node \S+ does not see .*store/builds/\w+ as the machine that leads does; put the store where"
    with node_like_another_machine(head, tmp_path / "store"), pytest.raises(EngineError, match=told):
        build(tiny(tmp_path), engine="ray", address=head.address)
    assert not (tmp_path / "store" / "data").exists()


def test_rows_of_columnar_files_travel_too(head: Any, tmp_path: Path) -> None:
    """A node that does not see a Parquet file, an Arrow stream or a damaged one makes of them what a node does that
    sees them: the same records, and the same rejected rows.
    """
    leader = tmp_path / "leader"
    leader.mkdir()
    table = pa.Table.from_pylist([{"prompt": f"Say {n}.", "completion": f"It is {n}, and no more."} for n in range(90)])
    pq.write_table(table, leader / "rows.parquet", row_group_size=20)
    with pa.OSFile(str(leader / "rows.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table.slice(0, 50), max_chunksize=7)
    damaged = bytearray((leader / "rows.parquet").read_bytes())
    damaged[400:420] = b"\xff" * 20
    (leader / "damaged.parquet").write_bytes(damaged)
    sources = {
        name: {"path": str(leader / file)}
        for name, file in {"a": "rows.parquet", "b": "rows.arrow", "c": "damaged.parquet"}.items()
    }
    recipe: dict[str, Any] = {"name": "columns", "store": str(leader / "alone"), "sources": sources, "tokenizer": None}
    recipe |= {"dedup": {"exact": False, "minhash": None}}
    alone = build(recipe, workers=1)
    whole = bytes_of(alone)
    assert sum(sum(one.rejected.values()) for one in alone.manifest.accounting) > 0
    with node_like_another_machine(head, leader):
        version = build(recipe, store=tmp_path / "store", engine="ray", address=head.address)
    assert bytes_of(version) == whole


def test_a_node_with_other_code_is_refused(head: Any, tmp_path: Path) -> None:
    """A node whose Didact differs by a single line runs nothing: it could write other bytes."""
    shutil.copytree(PACKAGE, tmp_path / "other" / "didact", ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "other" / "didact" / "canonical.py").open("a") as code:
        code.write("# another line\n")
    write_inputs(tmp_path)
    with (
        node_like_another_machine(head, PYTHONPATH=str(tmp_path / "other")),
        pytest.raises(EngineError, match=r"node \S+ has Didact's code \w{12}, the machine that leads has \w{12}"),
    ):
        build(tiny(tmp_path), engine="ray", address=head.address)


DRIVER = """
import json, sys
from didact.build.pipeline import build
from didact.errors import EngineError
from didact.store.layout import StoreAt
from ray_cluster import many_chunks
import pytest
with pytest.MonkeyPatch.context() as patch:
    many_chunks(patch)
    build(json.loads(sys.argv[1]), engine="ray", address=sys.argv[2])
"""


def test_a_killed_leader_goes_on_where_it_was(nodes: Any, tmp_path: Path) -> None:
    """The leading process killed in the middle: started again it makes the same bytes, and no complete chunk again."""
    recipe = slow_recipe(tmp_path, "store", seconds=0.2)
    whole = bytes_of(build(recipe | {"store": str(tmp_path / "alone")}, workers=1))
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", DRIVER, json.dumps(recipe), nodes.address]
    first = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": path}, stderr=subprocess.PIPE, text=True)
    while len(markers(tmp_path / "store")) < 8:
        assert first.poll() is None, first.communicate()[1]
        time.sleep(0.02)
    first.kill()
    first.communicate()
    complete = markers(tmp_path / "store")
    version = build(recipe, engine="ray", address=nodes.address)
    after = markers(tmp_path / "store")
    assert {name: after[name] for name in complete} == complete and len(after) > len(complete)
    assert bytes_of(version) == whole and version.verify() == []
