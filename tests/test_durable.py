"""Files that never lie: whole or not there, whatever goes wrong in between."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from didact.canonical import canonical_json, content_hash, keyed_hash
from didact.durable import (
    ASIDE,
    atomic_dir,
    locked,
    read_json,
    remove_asides,
    sha256_file,
    write_atomic,
    write_together,
    write_with,
)
from didact.errors import StoreError


def names(folder: Path) -> list[str]:
    """What stands in a folder."""
    return sorted(path.name for path in folder.iterdir())


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    """When writing fails midway, the name still holds what it held, and nothing lies beside it."""
    path = tmp_path / "file"
    write_atomic(path, b"old")

    def half(aside: Path) -> None:
        aside.write_bytes(b"ne")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_with(path, half)
    assert path.read_bytes() == b"old" and names(tmp_path) == ["file"]


def test_a_refusing_disk_is_a_store_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is told with the path and the reason; nothing half-written stays."""

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=r"file: cannot be written \(No space left on device\)"):
        write_atomic(tmp_path / "file", b"new")
    with pytest.raises(StoreError, match="No space left"), atomic_dir(tmp_path / "folder") as aside:
        (aside / "a").write_bytes(b"1")
    assert names(tmp_path) == []


def test_a_file_where_a_folder_belongs_is_a_store_error(tmp_path: Path) -> None:
    """The error is Didact's even when not a single byte could be written."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="cannot be written"):
        write_atomic(tmp_path / "file" / "below", b"new")


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    """Nobody sees a folder being filled; a failure leaves the old one; a success replaces it."""
    target = tmp_path / "folder"
    with atomic_dir(target) as aside:
        (aside / "a").write_bytes(b"1")
        assert not target.exists()
    with pytest.raises(RuntimeError), atomic_dir(target) as aside:
        (aside / "b").write_bytes(b"2")
        raise RuntimeError
    assert names(target) == ["a"] and names(tmp_path) == ["folder"]
    with atomic_dir(target) as aside:
        (aside / "c").mkdir()
        (aside / "c" / "d").write_bytes(b"3")
    assert names(target) == ["c"] and names(tmp_path) == ["folder"]


def test_leftovers_of_killed_processes_are_removed(tmp_path: Path) -> None:
    """Only half-written names go."""
    (tmp_path / f"{ASIDE}123-file").write_bytes(b"half")
    (tmp_path / f"{ASIDE}123-folder").mkdir()
    (tmp_path / f"{ASIDE}123-folder" / "a").write_bytes(b"half")
    (tmp_path / "whole").write_bytes(b"1")
    remove_asides(tmp_path)
    assert names(tmp_path) == ["whole"]


def test_broken_and_absent_json_are_store_errors(tmp_path: Path) -> None:
    """Both say which file and what to do."""
    with pytest.raises(StoreError, match=r"x\.json: is not there"):
        read_json(tmp_path / "x.json")
    (tmp_path / "x.json").write_text('{"half":')
    with pytest.raises(StoreError, match=r"x\.json: is not valid JSON .*delete it"):
        read_json(tmp_path / "x.json")


@given(st.binary(max_size=2000))
def test_hashes_of_files_are_those_of_their_bytes(content: bytes) -> None:
    """The hash in pieces is the hash of the whole."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        write_atomic(path, content)
        assert sha256_file(path) == hashlib.sha256(content).hexdigest()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=6), JSON, max_size=5))
def test_equal_values_have_one_spelling(value: dict[str, object]) -> None:
    """The order of keys changes neither the canonical JSON nor the hash, and the JSON reads back."""
    import json

    turned = dict(reversed(value.items()))
    assert canonical_json(turned) == canonical_json(value) and content_hash(turned) == content_hash(value)
    assert json.loads(canonical_json(value)) == value


def test_keyed_hashes_part_their_parts() -> None:
    """Where one part ends and the next begins matters, and so does the key."""
    assert keyed_hash("k", "ab", "c") != keyed_hash("k", "a", "bc") != keyed_hash("l", "a", "bc")
    assert keyed_hash("k", "ab") == keyed_hash("k", b"ab")


def test_a_lock_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    """Who comes second says that it waits, and goes on when the first lets go."""
    heard: list[str] = []

    def second() -> None:
        with locked(tmp_path / "a" / "lock", lambda: heard.append("waits")):
            heard.append("has it")

    with locked(tmp_path / "a" / "lock", lambda: heard.append("must not wait")):
        thread = threading.Thread(target=second)
        thread.start()
        while not heard:
            time.sleep(0.005)
        heard.append("lets go")
    thread.join()
    assert heard == ["waits", "lets go", "has it"]


def test_files_written_together_are_all_there_or_leave_nothing_half_written(tmp_path: Path) -> None:
    """Several files written together have their contents; when one fails, no name is given and no aside left."""
    paths = {tmp_path / name: name.encode() for name in ("a", "b", "c")}
    write_together({path: partial(_put, content) for path, content in paths.items()})
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == paths

    def refuse(aside: Path) -> None:
        aside.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(StoreError, match=r"d: cannot be written"):
        write_together({tmp_path / "e": partial(_put, b"e"), tmp_path / "d": refuse})
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == paths


def _put(content: bytes, aside: Path) -> None:
    aside.write_bytes(content)
