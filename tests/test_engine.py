"""The local engine: the same results from one process and several, and deaths that are neither hidden nor final."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from killing import die_always, die_once, fail_at_three, square

from didact.build import ahead
from didact.durable import read_json, write_json
from didact.engine.chunks import Chunk, chunk_bytes, group_blocks, read_marker, write_marker
from didact.engine.local import LocalEngine, available_cores
from didact.errors import EngineError
from didact.remote.folder import Folder
from didact.sources.blocks import Block, SourceFile
from didact.sources.cutting import read_blocks


def test_one_worker_and_two_give_the_same_results() -> None:
    """Each item comes back once with its own result, whatever the number of workers; errors travel."""
    expected = {(number, number * number) for number in range(25)}
    assert set(LocalEngine(1).map(square, range(25))) == expected
    with LocalEngine(2) as engine:
        found = list(engine.map(square, range(25)))
        assert set(found) == expected and len(found) == 25
        assert list(engine.map(square, [])) == []
        with pytest.raises(ValueError, match="three"):
            list(engine.map(fail_at_three, range(9)))
        assert set(engine.map(square, range(4))) == {(number, number * number) for number in range(4)}


def test_items_are_taken_as_workers_get_free() -> None:
    """At most two items per worker are taken before a result comes back, so inputs are never held whole."""
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(100):
            taken += 1
            yield number

    with LocalEngine(1) as engine:
        assert next(engine.map(square, items())) == (0, 0) and taken == 1
    with LocalEngine(2) as engine:
        results = engine.map(square, items())
        taken = 0
        next(results)
        assert taken <= 4
        results.close()  # type: ignore[attr-defined]


def test_what_is_loaded_before_workers_are_forked_starts_no_python_thread() -> None:
    """A thread of the process that workers are forked from would be missing in them, with the locks it held."""
    code = "import threading, didact.build.preload; print(threading.active_count(), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", f"import sys; {code}"], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "False"]


def test_a_worker_that_dies_is_replaced_and_its_item_tried_again(tmp_path: Path) -> None:
    """A killed worker costs no item."""
    items = [tmp_path / name for name in ("a", "b", "poison", "c", "d")]
    with LocalEngine(2) as engine:
        assert sorted(name for _, name in engine.map(die_once, items)) == ["a", "b", "c", "d", "poison"]


def test_a_killed_server_of_workers_costs_no_item() -> None:
    """Workers are forked from a server; when that is killed, another takes its place."""

    def items() -> Iterator[int]:
        yield from range(3)
        os.kill(forkserver._forkserver._forkserver_pid, signal.SIGKILL)  # type: ignore[attr-defined]
        yield from range(3, 12)

    with LocalEngine(2) as engine:
        assert sorted(result for _, result in engine.map(square, items())) == [n * n for n in range(12)]


_FORKED = """
import json, os, signal, sys
from didact.engine.local import LocalEngine
from didact.engine.server import fork_server
from multiprocessing import forkserver
import fractions
fork_server(())
server = forkserver._forkserver._forkserver_pid

def items(killed):
    for _ in range(4):
        yield "(__import__('os').getppid(), 'fractions' in __import__('sys').modules)"
    if killed:
        os.kill(server, signal.SIGKILL)
    for n in range(4, 12):
        yield f"{n}, {n}"

for killed in (False, True):
    with LocalEngine(2) as engine:
        found = sorted(result for _, result in engine.map(eval, items(killed)))
    print(json.dumps([found, server]), flush=True)
if "wait" in sys.argv:
    fork_server(())
    sys.stdin.read()
"""


def test_a_server_forked_off_a_command_serves_as_any_other() -> None:
    """Its workers have what the command had loaded; when it is killed no item is lost; it ends with the command."""
    # As long as the server is there it has the command's output open, whose end is waited for.
    done = subprocess.run([sys.executable, "-c", _FORKED], capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == ""
    (first, server), (second, _) = map(json.loads, done.stdout.splitlines())
    rest = [[n, n] for n in range(4, 12)]
    assert sorted(first) == sorted([*rest, *[[server, True]] * 4])
    # Workers whose server was killed meanwhile have another parent, and new ones another server.
    assert sorted(pair for pair in second if pair in rest) == rest
    assert len(second) == 12


def test_a_server_forked_off_a_command_ends_when_that_is_killed() -> None:
    """Nobody is left to ask for workers."""
    code = _FORKED.replace("(False, True)", "(False,)")
    command = subprocess.Popen([sys.executable, "-c", code, "wait"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert command.stdout is not None
    _, server = json.loads(command.stdout.readline())
    os.kill(server, 0)
    command.kill()
    # The server has the command's output open, as long as it is there.
    assert command.communicate(timeout=20)[0] == b""


def test_a_program_with_threads_is_not_forked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that has called the command may have threads with locks that a fork would keep locked for ever."""
    started: list[str] = []
    for name in ("fork_server", "start_server"):
        monkeypatch.setattr(ahead, name, lambda _, name=name: started.append(name))
    done = threading.Event()
    threads = [threading.Thread(target=done.wait) for _ in range(2)]
    for thread in threads:
        thread.start()
    ahead.start_ahead(tmp_path / "recipe.yaml", 2, print)
    done.set()
    assert started == ["start_server"]
    ahead.start_ahead(tmp_path / "recipe.yaml", 2, print)  # Arrow and numba have been loaded, and may have threads
    assert started == ["start_server"] * 2


@pytest.mark.parametrize("error", [EOFError, ConnectionResetError])
def test_a_worker_that_cannot_start_is_asked_for_again(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that dies while it is asked for a worker breaks the connection, and costs no item either."""
    submit = LocalEngine.submit
    failed: list[Any] = []

    def once(self: LocalEngine, function: Any, item: Any) -> Any:
        if not failed:
            failed.append(item)
            raise error
        return submit(self, function, item)

    monkeypatch.setattr(LocalEngine, "submit", once)
    with LocalEngine(2) as engine:
        assert sorted(result for _, result in engine.map(square, range(5))) == [0, 1, 4, 9, 16]
    assert failed


def test_a_worker_may_die_while_another_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the server of workers takes to start one: no item is lost, and nobody is waited for afterwards."""
    connect, calls = forkserver.connect_to_new_process, 0

    def late(descriptors: list[int]) -> tuple[int, int]:
        nonlocal calls
        calls += 1
        found = connect(descriptors)
        # By then a first worker would have come to its item, and died.
        time.sleep(2.0 if calls == 2 else 0.0)
        return found

    monkeypatch.setattr(forkserver, "connect_to_new_process", late)
    before = set(threading.enumerate())
    with LocalEngine(2) as engine:
        assert sorted(name for _, name in engine.map(die_once, [tmp_path / "poison", tmp_path / "b"])) == [
            "b",
            "poison",
        ]
    assert calls == 4
    for thread in set(threading.enumerate()) - before:
        thread.join(30)
        assert not thread.is_alive()
    assert multiprocessing.active_children() == []


def test_workers_of_a_pool_that_could_not_start_all_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server of workers dies after the first: that one is ended with its pool, and another pool does the work."""
    connect, calls = forkserver.connect_to_new_process, 0

    def dying(descriptors: list[int]) -> tuple[int, int]:
        nonlocal calls
        calls += 1
        if calls == 2:
            # By then the first waits for an item.
            time.sleep(1.0)
            raise ConnectionResetError
        return connect(descriptors)

    monkeypatch.setattr(forkserver, "connect_to_new_process", dying)
    with LocalEngine(2) as engine:
        first = engine.map(square, range(5))
        assert sorted(result for _, result in first) == [0, 1, 4, 9, 16]
    assert calls == 4
    for child in multiprocessing.active_children():
        child.join(30)
        assert not child.is_alive()


def test_an_interrupt_leaves_no_worker_and_no_thread_that_watches_them() -> None:
    """After a Ctrl-C amid items nothing is left that could meet the end of the process half closed."""
    with pytest.raises(KeyboardInterrupt), LocalEngine(2) as engine:
        next(engine.map(square, range(25)))
        pool: Any = engine.start()
        watching, workers = pool._executor_manager_thread, list(pool._processes.values())
        raise KeyboardInterrupt
    assert not watching.is_alive()
    assert not any(worker.is_alive() for worker in workers)


def test_an_item_that_a_broken_pool_forgets_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """An item that comes in at the moment at which a pool breaks gets no answer from it."""
    submit = ProcessPoolExecutor.submit
    forgotten: list[Future[Any]] = []

    def forgetting(self: ProcessPoolExecutor, *arguments: Any) -> Any:
        if forgotten:
            return submit(self, *arguments)
        self._broken = True
        forgotten.append(Future())
        return forgotten[0]

    monkeypatch.setattr(ProcessPoolExecutor, "submit", forgetting)
    with LocalEngine(2) as engine:
        assert list(engine.map(square, [7])) == [(7, 49)]
    assert not forgotten[0].done()


def test_an_item_that_kills_three_workers_is_blamed(tmp_path: Path) -> None:
    """An item whose worker dies each time ends the build with an EngineError that says what to do."""
    poison = tmp_path / "poison"
    with LocalEngine(2) as engine, pytest.raises(EngineError, match=r"died 3 times in a row.*fewer --workers"):
        list(engine.map(die_always, [poison]))
    assert poison.read_text() == "xxx"


def test_there_is_at_least_one_core() -> None:
    """The default number of workers is positive."""
    assert available_cores() >= 1


@given(st.integers(0, 10**13))
def test_chunks_are_between_one_and_sixteen_megabytes(total: int) -> None:
    """The size of a chunk grows with the input within bounds."""
    assert 1_000_000 <= chunk_bytes(total) <= 16_000_000
    assert chunk_bytes(total) <= chunk_bytes(total + 1)


def blocks_of(path: Path, size: int) -> list[Block]:
    """A line file as blocks of about `size` bytes."""
    file = SourceFile("s", path, path.name, "jsonl", "auto")
    return [block for block in read_blocks(file, size) if isinstance(block, Block)]


@given(st.lists(st.integers(0, 40), min_size=1, max_size=30), st.integers(10, 200))
def test_chunks_hold_every_block_once_in_order(lengths: list[int], size: int) -> None:
    """Chunks number their pieces in order, and only a chunk of one block may be larger than the bound."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        path.write_text("".join(f'"{"x" * length}"\n' for length in lengths))
        blocks = blocks_of(path, 20)
    chunks = list(group_blocks("s", iter(blocks), size))
    assert [block for chunk in chunks for block in chunk.blocks] == blocks
    assert [chunk.ordinal for chunk in chunks] == list(range(len(chunks)))
    assert all(len(chunk.blocks) == 1 or sum(len(block.data) for block in chunk.blocks) <= size for chunk in chunks)


def test_a_chunk_is_known_by_its_content(tmp_path: Path) -> None:
    """Equal rows in equal places have equal digests; one changed byte has another."""
    digests = []
    for text in ('{"a": 1}\n{"a": 2}\n', '{"a": 1}\n{"a": 2}\n', '{"a": 1}\n{"a": 3}\n'):
        (tmp_path / "rows.jsonl").write_text(text)
        digests.append(Chunk("s", 0, tuple(blocks_of(tmp_path / "rows.jsonl", 1000))).digest({}))
    assert digests[0] == digests[1] != digests[2]


def test_a_marker_without_its_files_counts_for_nothing(tmp_path: Path) -> None:
    """A result is whole only when its files are there in the size its marker tells."""
    (tmp_path / "k.part").write_bytes(b"12345")
    assert read_marker(Folder(tmp_path), "k") is None
    write_marker(Folder(tmp_path), "k", {"files": {"k.part": 5}, "rows": 1})
    assert read_marker(Folder(tmp_path), "k") == {"files": {"k.part": 5}, "rows": 1}
    (tmp_path / "k.part").write_bytes(b"1234")
    assert read_marker(Folder(tmp_path), "k") is None
    (tmp_path / "k.part").unlink()
    assert read_marker(Folder(tmp_path), "k") is None


def test_json_of_the_store_reads_back(tmp_path: Path) -> None:
    """What is written as JSON is read as it was."""
    write_json(tmp_path / "a" / "x.json", {"b": [1, None, "é"]})
    assert read_json(tmp_path / "a" / "x.json") == {"b": [1, None, "é"]}
