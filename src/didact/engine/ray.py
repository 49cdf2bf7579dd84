"""The Ray engine: the same items on the cores of this machine or of a cluster. Nothing else in Didact imports Ray.

Ray schedules and moves bytes; what an item means, how often it is tried and when it counts as done is decided here,
so that a build behaves as it does on the local engine. Ray's own retries are off.
"""

from __future__ import annotations

import logging
import os
import pickle
import secrets
import signal
import socket
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self

from didact.durable import own_folder
from didact.engine.base import Item, Portable, Result, about
from didact.engine.local import ATTEMPTS, available_cores
from didact.engine.nodes import SEEN, Setup, run_on_node
from didact.errors import CallError, EngineError
from didact.remote.folder import Folder

_QUIET = {"RAY_USAGE_STATS_ENABLED": "0"}
"""Environment of every connection: nothing is told to Ray's makers."""
_PRIVATE = _QUIET | {
    # Named after the systems it was made for; on all of them it makes every port listen on 127.0.0.1 alone.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
}
"""Environment of a Ray that this process starts for itself."""
_LONGEST_TEMP = 24
"""Characters of the temporary folder that leave room for the names of Ray's sockets, which may have 107 in all."""
_ITEM_BYTES = 24_000_000
"""Room in the object store for each item in flight: a chunk, and some of the longest row."""
_PATIENCE = 5.0
"""Seconds after which it is looked again at how many cores there are."""
_NO_CORE = 600.0
"""Seconds that a cluster may be without any core before the build gives up; starting a machine takes minutes."""


def _unheard(_: str) -> None:
    """Say nothing."""


class RayEngine:
    """Runs items on Ray: one started here for the length of a `with` block, or an existing cluster.

    workers: cores to start with, or the most that are used of a cluster; default: all there are.
    address: of an existing cluster, as `ray.init` takes it (`host:port`, `auto`); None starts Ray on this machine, or
    uses the connection that this process has.
    shared: a folder that every node must see as this process does; each node proves it before its first item.
    note: is told of lost nodes and workers.
    """

    def __init__(
        self,
        workers: int | None = None,
        address: str | None = None,
        shared: Folder | None = None,
        note: Callable[[str], None] = _unheard,
    ) -> None:
        self.address, self.shared, self.note = address, shared, note
        self._asked = workers
        self._cores, self._looked = 0, -_PATIENCE
        self._held = ExitStack()
        self.setup = Setup({})

    def __enter__(self) -> Self:
        with ExitStack() as held:
            _connect(self.address, self._asked, held)
            self.setup = Setup.here(self.shared)
            if self.shared is not None:
                held.callback(self.shared.delete, [SEEN])
            self._held = held.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the workers go, and the Ray that was started for them."""
        self._held.close()

    @property
    def workers(self) -> int:
        """Cores of the cluster now, or as many of them as were asked for; nodes may come and go."""
        cores = self.cores()
        return max(1, cores if self._asked is None else min(self._asked, cores))

    def cores(self) -> int:
        """Cores of the living nodes, as of some seconds ago."""
        import ray

        now = time.monotonic()
        if now - self._looked >= _PATIENCE:
            self._cores, self._looked = int(ray.cluster_resources().get("CPU", 0)), now
        return self._cores

    def room(self) -> int:
        """How many items may be in flight: two per core, so that the next is there when one is done.

        When fewer cores are wanted than the cluster has, what is in flight runs at once, so there is none to wait.
        """
        return self.workers if self._asked is not None and self._asked < self.cores() else 2 * self.workers

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[tuple[Item, Result]]:
        """Pairs of item and result as they come. In flight are at most two items per core, and of their bytes no more
        than half of this node's object store.

        Raises EngineError when an item's worker or node dies again and again, or a node cannot take part.
        """
        return _Round(self, function, iter(items)).results()


def _connect(address: str | None, workers: int | None, held: ExitStack) -> None:
    """Connect this process to Ray until `held` is closed."""
    with _environment(_PRIVATE if address is None else _QUIET):
        ray = _imported()
        if ray.is_initialized():
            if address is not None:
                raise CallError("this process is connected to Ray already; leave the address out to use that one")
            return
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if address is None:
            quiet |= _own_ray(workers or available_cores(), held)
        else:
            _require_answer(address)
        # Ray takes the handler of SIGTERM for itself and does not give it back.
        before = signal.getsignal(signal.SIGTERM)
        forget_token(ray)
        # Nor is this connection's token for those that the program makes itself.
        held.callback(forget_token, ray)
        try:
            ray.init(address=address or "local", **quiet)
        except (ConnectionError, OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            where = "start Ray on this machine" if address is None else f"connect to Ray at '{address}'"
            raise CallError(f"cannot {where}: {_one_line(error)}") from error
        held.callback(_disconnect, before)
        _hush(ray)


def _hush(ray: Any) -> None:
    """Keep what happens inside of Ray from stdout, where a command's answer goes; no setting of `ray.init` does."""
    ray._private.worker._worker_logs_enabled = False


def forget_token(ray: Any) -> None:
    """Have Ray look again whether it needs a token, and which. It looks once in a process, which may have been
    connected to a cluster with another one, or none, since then.
    """
    config, loader = (getattr(ray._raylet, name, None) for name in ("Config", "AuthenticationTokenLoader"))
    if config is not None and loader is not None:
        config.initialize("")
        loader.instance().reset_cache()


def _imported() -> Any:
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise CallError('the engine `ray` needs Ray: pip install "didact[ray]"') from error
    return ray


@contextmanager
def _environment(wanted: dict[str, str]) -> Iterator[None]:
    """Set variables that Ray and the processes it starts read; what the user has set stays."""
    token = {"RAY_AUTH_TOKEN": secrets.token_hex(32)} if "RAY_AUTH_MODE" in wanted else {}
    new = {name: value for name, value in {**wanted, **token}.items() if name not in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            del os.environ[name]


def _own_ray(cores: int, held: ExitStack) -> dict[str, Any]:
    """Settings of a Ray for this process alone."""
    temp = Path(tempfile.gettempdir())
    folder = held.enter_context(own_folder(temp if len(str(temp)) <= _LONGEST_TEMP else Path("/tmp"), "didact-ray-"))
    return {
        "num_cpus": cores,
        "num_gpus": 0,
        "include_dashboard": False,
        "object_store_memory": max(128_000_000, (2 * cores + 2) * _ITEM_BYTES),
        "_temp_dir": str(folder),
    }


def _require_answer(address: str) -> None:
    """Refuse an address where nobody listens: Ray itself would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not (host and colon and port.isdecimal()):
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise CallError(f"cannot connect to Ray at '{address}': {error}; is the cluster running?") from error


def _disconnect(handler: Any) -> None:
    import ray

    ray.shutdown()
    # Outside of the main thread Ray did not take the handler either.
    with suppress(ValueError):
        signal.signal(signal.SIGTERM, handler)


@dataclass(slots=True)
class _Flight:
    """An item on its way: where its bytes stand in the object store, how many, and how often it was tried."""

    call: Any
    size: int
    attempt: int = 1


class _Round(Generic[Item, Result]):
    """One `map` call: what is in flight, what must be tried again."""

    def __init__(self, engine: RayEngine, function: Callable[[Item], Result], items: Iterator[Item]) -> None:
        import ray

        self.ray, self.engine, self.function, self.items = ray, engine, function, items
        self.flying: dict[Any, _Flight] = {}
        self.again: deque[_Flight] = deque()
        name = getattr(function, "__name__", "work")
        self.run = ray.remote(num_cpus=1, max_retries=0)(run_on_node).options(name=name)
        self.most = _store_bytes() // 2
        self.coreless_since: float | None = None

    def results(self) -> Iterator[tuple[Item, Result]]:
        try:
            while self._fill():
                done, _ = self.ray.wait(list(self.flying), num_returns=1, timeout=_PATIENCE)
                if not done:
                    self._require_a_core()
                for ref in done:
                    flight = self.flying.pop(ref)
                    for result in self._landed(ref, flight):
                        # The item is not kept beside its copy in the object store: a large cluster has many in flight.
                        yield self._item(flight), result
        finally:
            for ref in self.flying:
                self.ray.cancel(ref)
            self.flying.clear()

    def _fill(self) -> bool:
        """Keep every core busy; False when nothing is left to do."""
        while self._has_room():
            if self.again:
                flight = self.again.popleft()
            else:
                try:
                    item = next(self.items)
                except StopIteration:
                    break
                sent = item.portable() if isinstance(item, Portable) else item
                call = pickle.dumps((self.function, sent), protocol=5)
                flight = _Flight(self.ray.put(call), len(call))
            self.flying[self.run.remote(self.engine.setup, flight.call)] = flight
        return bool(self.flying)

    def _item(self, flight: _Flight) -> Item:
        item: Item = _sent(self.ray.get(flight.call))[1]
        return item

    def _has_room(self) -> bool:
        held = sum(flight.size for flight in self.flying.values())
        return not self.flying or (len(self.flying) < self.engine.room() and held < self.most)

    def _landed(self, ref: Any, flight: _Flight) -> list[Result]:
        """The result; none when the worker was lost and the item goes back to those to be tried."""
        try:
            done, value = _sent(self.ray.get(ref))
        except self.ray.exceptions.RayTaskError as error:
            # Errors of items come back as values, so it is Ray that could not run the function at all.
            why = _one_line(error.cause)
            raise EngineError(f"a node cannot run Didact: {why}; install the same on every node") from error
        except self.ray.exceptions.RayError as error:
            self._lost(flight, _REASONS.get(type(error).__name__, _one_line(error)))
            return []
        if not done:
            raise value
        return [value]

    def _lost(self, flight: _Flight, reason: str) -> None:
        """A worker or a node is gone: its item is tried again, so many times."""
        name = about(self._item(flight))
        if flight.attempt >= ATTEMPTS:
            raise EngineError(
                f"{name}: {reason}, {flight.attempt} times in a row; probably out of memory: run fewer workers on "
                f"each node, or nodes with more memory"
            )
        flight.attempt += 1
        self.engine.note(f"{name}: {reason}; trying again ({flight.attempt} of {ATTEMPTS})")
        self.again.append(flight)

    def _require_a_core(self) -> None:
        """Wait for nodes that may come, but not for ever."""
        now = time.monotonic()
        if self.engine.cores() > 0:
            self.coreless_since = None
        elif self.coreless_since is None:
            self.coreless_since = now
            self.engine.note(f"no node with a core is left; waiting {_NO_CORE / 60:.0f} minutes for one")
        elif now - self.coreless_since > _NO_CORE:
            raise EngineError(f"the cluster has had no node with a core for {_NO_CORE / 60:.0f} minutes; start one")


_REASONS = {
    "NodeDiedError": "its node died",
    "LocalRayletDiedError": "its node died",
    "WorkerCrashedError": "its worker died",
    "OutOfMemoryError": "its worker was ended because the node ran out of memory",
    "ObjectLostError": "its result was lost with its node",
    "OwnerDiedError": "its result was lost with its node",
    "ObjectFetchTimedOutError": "its result was lost with its node",
}
"""What Ray's errors mean for the item."""


def _store_bytes() -> int:
    """Size of the object store of the node this process is on."""
    import ray

    here = ray.get_runtime_context().get_node_id()
    sizes = [node["Resources"].get("object_store_memory", 0) for node in ray.nodes() if node["NodeID"] == here]
    return int(max(sizes, default=0)) or 8 * _ITEM_BYTES


def _sent(content: bytes) -> Any:
    """What was sent between this process and its own workers, over Ray's connections."""
    return pickle.loads(content)  # noqa: S301 - as multiprocessing does; no file is ever read so


def _one_line(error: object) -> str:
    return " ".join(str(error).split()) or type(error).__name__
