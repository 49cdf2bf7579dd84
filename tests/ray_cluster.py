"""A Ray cluster of several nodes on this machine, and builds whose chunks take long enough to be disturbed."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import psutil
import pytest
from tiny_recipe import tiny, write_inputs

from didact.build.per_record import curate_sources
from didact.engine.ray import forget_token

SLOW_SIGNAL = """
import os, time
from didact.curate.signals import signal

@signal({name!r}, "0", "measures slowly, and writes down what")
def slow(texts):
    with open({log!r}, "a") as file:
        file.write(f"{{os.getpid()}} {{texts[0].text[:16]!r}}\\n")
    time.sleep({seconds})
    return 0.0
"""
"""A plug-in that makes chunks take time. Before it measures a text it writes a line, so whoever sees the last line sees
a process at work.
"""


_TOKEN = secrets.token_hex(32)
"""Of all clusters: two may be there at once, and those who join read the environment."""


class Heard:
    """A listener that remembers remarks, and calls something each time a stage advances."""

    def __init__(self, advanced: Callable[[int], None] = lambda done: None) -> None:
        self.notes: list[str] = []
        self.stages: list[str] = []
        self.advanced = advanced

    def stage(self, name: str) -> None:
        """Remember."""
        self.stages.append(name)

    def advance(
        self,
        done: int,
        total: int | None,
        unit: str,
        about: str = "",
        *,
        bytes: int = 0,
        share: float | None = None,
    ) -> None:
        """Pass on how much is done."""
        self.advanced(done)

    def note(self, text: str) -> None:
        """Remember."""
        self.notes.append(text)


@contextmanager
def cluster(nodes: int) -> Iterator[Any]:
    """A head and `nodes` nodes with one core each; the head has none, so that what is killed is never the head."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", _TOKEN)
        import ray
        from ray.cluster_utils import Cluster

        forget_token(ray)
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        try:
            for _ in range(nodes):
                made.add_node(num_cpus=1)
            made.wait_for_nodes()
            yield made
        finally:
            made.shutdown()


@contextmanager
def node_like_another_machine(made: Any, hidden: Path | None = None, **environment: str) -> Iterator[int]:
    """A node of a cluster with one core, for which a folder of this machine is an empty one of its own; it has joined
    when the block begins. Skips the test where mounting is not allowed.
    """
    ray = [sys.executable, "-m", "ray.scripts.scripts", "start", f"--address={made.address}", "--num-cpus=1", "--block"]
    command = f"exec {shlex.join(ray)}"
    if hidden is not None:
        command = f"mount -t tmpfs tmpfs {shlex.quote(str(hidden))} && {command}"
        if subprocess.run([*_APART, "mount -t tmpfs tmpfs /mnt"], check=False, capture_output=True).returncode:
            pytest.skip("mounting is not allowed here")
    before = _nodes(made)
    running = subprocess.Popen(
        [*(_APART if hidden is not None else ["sh", "-c"]), command],
        env=os.environ | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        # Of two that start at once on one machine, Ray gives both the same socket, and one of them ends.
        while _nodes(made) <= before:
            assert running.poll() is None, "the node has ended before it joined"
            time.sleep(0.1)
        yield running.pid
    finally:
        end(running.pid)
        running.wait()


def _nodes(made: Any) -> set[str]:
    """Every node that has ever joined a cluster."""
    return {node["NodeID"] for node in made.global_state.node_table()}


_APART = ["unshare", "--mount", "--propagation", "private", "sh", "-c"]
"""Runs a shell in which mounts are seen by nobody else."""


def many_chunks(patch: pytest.MonkeyPatch, size: int = 2_000) -> None:
    """Let builds of this process cut their inputs into small chunks: workers take chunks as they get them."""
    patch.setattr(sys.modules[curate_sources.__module__], "chunk_bytes", lambda total: size)


def slow_recipe(folder: Path, store: str, seconds: float = 0.05) -> dict[str, Any]:
    """The tiny recipe with a plug-in that measures slowly; relative to `folder`, with inputs there."""
    write_inputs(folder)
    name = f"slow.{sha256(str(folder).encode()).hexdigest()[:8]}"
    plugin = SLOW_SIGNAL.format(name=name, seconds=seconds, log=str(folder / "measured"))
    (folder / "slow.py").write_text(plugin, encoding="utf-8")
    recipe = tiny(folder, store=str(folder / store), plugins=[str(folder / "slow.py")])
    slow = {"signal": name, "max": 1, "sources": ["stories"]}
    return recipe | {"filters": [*recipe["filters"], slow]}


def measured(folder: Path) -> Mapping[str, int]:
    """How often each text was measured."""
    counted: dict[str, int] = {}
    for line in (folder / "measured").read_text(encoding="utf-8").splitlines():
        text = line.partition(" ")[2]
        counted[text] = counted.get(text, 0) + 1
    return counted


def node_at_work(made: Any, folder: Path) -> Any:
    """The node of a cluster that begins to measure a text next."""
    log = folder / "measured"
    before = log.stat().st_size
    while log.stat().st_size == before:
        time.sleep(0.002)
    last = log.read_text(encoding="utf-8").splitlines()[-1]
    parent = psutil.Process(int(last.partition(" ")[0])).ppid()
    return next(node for node in made.worker_nodes if raylet(node) == parent)


def raylet(node: Any) -> int:
    """The process that leads a node."""
    return int(node.all_processes["raylet"][0].process.pid)


def cut_off(node: Any) -> None:
    """End a node as a power cut does: all its processes at once."""
    end(raylet(node))


def end(pid: int) -> None:
    """Kill a process and all below it."""
    with suppress(psutil.NoSuchProcess):
        leader = psutil.Process(pid)
        for process in [leader, *leader.children(recursive=True)]:
            process.kill()


def markers(store: Path) -> dict[str, int]:
    """The marker of every complete chunk, and when it was written."""
    return {path.name: path.stat().st_mtime_ns for path in (store / "builds" / "chunks").glob("[0-9a-f]*.done.json")}


def shuffled(recipe: dict[str, Any]) -> dict[str, Any]:
    """The same recipe, its sources, files and mixes listed the other way round."""
    sources = dict(reversed(json.loads(json.dumps(recipe["sources"])).items()))
    for source in sources.values():
        if isinstance(source["path"], list):
            source["path"].reverse()
    return recipe | {"sources": sources, "mixes": dict(reversed(recipe["mixes"].items()))}


def alive(pid: int) -> bool:
    """Whether a process is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
