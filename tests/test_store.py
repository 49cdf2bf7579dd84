"""The store: refs, history, verify, and a collection that never deletes what somebody still reaches."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from tiny_recipe import build_tiny, bytes_of, tiny, write_inputs

from didact.build.pipeline import build
from didact.cli import cli
from didact.durable import ASIDE, locked, locked_if_free
from didact.errors import CallError, StoreError, UnknownName
from didact.store.collect import Collection, collect
from didact.store.history import history
from didact.store.layout import Store
from didact.store.version import Version


def call(*arguments: object) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], prog_name="didact")


def bound(words: int) -> list[dict[str, Any]]:
    """Filters that make another version for every number up to the length of all answers."""
    return [{"signal": "response.words", "min": words, "sources": ["stories"]}]


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose store has three versions of one data set, each the parent of the next."""
    home = tmp_path_factory.mktemp("three")
    for words in (1, 2, 3):
        build_tiny(home, filters=bound(words))
    return home


@pytest.fixture
def home(three: Path, tmp_path: Path) -> Path:
    """A copy of it to change."""
    return Path(shutil.copytree(three, tmp_path / "home"))


def store_of(home: Path) -> Store:
    """The store in a folder."""
    return Store(home / "store")


def lineage(store: Store) -> list[str]:
    """Versions from the first to the latest."""
    return [entry.version for entry in reversed(history(store, "tiny"))]


def paths(found: Collection) -> set[str]:
    """What a collection deleted."""
    return {one.path for one in found.deleted}


def test_a_ref_names_a_version_until_it_is_moved(home: Path) -> None:
    """A tag is found as NAME@TAG, in the log, moves in one step, and can be deleted; `latest` cannot."""
    place, (first, second, last) = home / "store", lineage(store_of(home))
    assert call("ref", f"tiny@{first[:6]}", "v1", "--store", place).output == f"tiny@v1: {first}\n"
    assert store_of(home).find("tiny@v1").path.name == first
    assert call("ref", f"tiny@{second}", "v1", "--store", place).exit_code == 0
    assert store_of(home).refs("tiny") == {"latest": last, "v1": second}
    told = json.loads(call("log", "tiny", "--store", place, "--json").stdout)
    assert [(entry["version"], entry["refs"]) for entry in told] == [(last, ["latest"]), (second, ["v1"]), (first, [])]
    assert [entry["parent"] for entry in told] == [second, first, None]
    assert "v1" in call("log", "tiny", "--store", place).stdout
    assert call("ref", "tiny", "v1", "--delete", "--store", place).exit_code == 0
    assert store_of(home).refs("tiny") == {"latest": last}
    assert call("ref", "tiny", "latest", "--delete", "--store", place).exit_code == 2
    assert call("ref", "tiny", "v1", "--delete", "--store", place).exit_code == 2


@pytest.mark.parametrize("tag", ["", "..", "../x", "a/b", ".hidden", "0123456789ab", "x" * 65, "new line\n"])
def test_a_ref_is_a_plain_name(home: Path, tag: str) -> None:
    """A tag that leaves its folder, hides, or looks like a version is refused, and nothing is written."""
    before = sorted((home / "store").rglob("*"))
    with pytest.raises(CallError, match="a ref is up to 64"):
        store_of(home).set_ref("tiny", tag, lineage(store_of(home))[0])
    assert sorted((home / "store").rglob("*")) == before


def test_a_version_is_shown_in_a_line(home: Path) -> None:
    """A console shows of a version its name, as commands take it, and its folder."""
    version = Version.open(store_of(home).find("tiny"))
    name = f"tiny@{version.manifest.version}"
    assert repr(version) == f"Version({name} in {store_of(home).find(name)})"


def test_an_ambiguous_version_is_a_bad_call(tmp_path: Path) -> None:
    """A beginning that two versions share names both; what is half-deleted is no version."""
    for version in ("0123456789ab", "0123456789ac"):
        (tmp_path / "data" / "x" / version).mkdir(parents=True)
        (tmp_path / "data" / "x" / version / "manifest.json").write_text("{}")
    shutil.copytree(tmp_path / "data" / "x" / "0123456789ab", tmp_path / "data" / "x" / f"{ASIDE}1-0123456789ab")
    store = Store(tmp_path)
    assert store.versions("x") == ["0123456789ab", "0123456789ac"]
    with pytest.raises(CallError, match="can mean 0123456789ab, 0123456789ac"):
        store.find("x@01234567")
    assert store.find("x@0123456789ab").path.name == "0123456789ab"
    with pytest.raises(UnknownName, match="unknown version"):
        store.find("x@0")


def test_a_damaged_version_does_not_hide_the_others(home: Path) -> None:
    """The log tells a version whose manifest is broken as damaged, and lists the rest."""
    first = lineage(store_of(home))[0]
    (store_of(home).version("tiny", first).path / "manifest.json").write_bytes(b"{")
    told = call("log", "tiny", "--store", home / "store")
    assert told.exit_code == 0 and "damaged" in told.stdout and len(history(store_of(home), "tiny")) == 3


def test_only_what_no_ref_names_is_deleted(home: Path) -> None:
    """Versions, their builds, token shards and chunk results go together; what a ref names stays byte for byte."""
    store, (first, second, last) = store_of(home), lineage(store_of(home))
    for version in (first, second, last):
        assert call("tokenize", f"tiny@{version}", "--store", store.root, "--workers", 1).exit_code == 0
    store.set_ref("tiny", "v1", first)
    kept = {version: bytes_of(Version.open(store.version("tiny", version))) for version in (first, last)}
    told = collect(store, dry_run=True)
    assert store.versions("tiny") == sorted([first, second, last])
    assert json.loads(call("gc", store.root, "--dry-run", "--json").stdout)["deleted"] == told.as_json()["deleted"]
    done = collect(store)
    assert done == told and done.bytes > 0
    plans = [path for path in paths(done) if path.startswith("builds/")]
    assert {path.split("-")[0] for path in paths(done) - {*plans}} == {f"data/tiny/{second}", f"tokens/{second}"}
    # Of the folder of stage results only those go that no kept build needs.
    assert len(plans) == 2 and "builds/stages" in plans
    assert not any((store.root / path).exists() for path in paths(done) - {"builds/stages"})
    assert {version: bytes_of(Version.open(store.version("tiny", version))) for version in kept} == kept
    assert not collect(store).deleted
    found = build_tiny(home, filters=bound(1))
    assert found.path.name == first


def test_chunk_results_go_when_no_kept_build_needs_them(tmp_path: Path) -> None:
    """Results that only a deleted version's build read are deleted; the next build of what is kept reads all it had."""
    write_inputs(tmp_path)
    build(tiny(tmp_path, clean={"entities": False}), workers=1)
    chunks = Store(tmp_path / "store").chunks.path
    old = set(chunks.iterdir())
    kept = build(tiny(tmp_path), workers=1)
    new = set(chunks.iterdir()) - old
    assert old and new
    collect(Store(tmp_path / "store"))
    assert set(chunks.iterdir()) == new
    before = {path: path.stat().st_mtime_ns for path in new}
    again = build(tiny(tmp_path, filters=bound(2)), workers=1)
    assert {path: path.stat().st_mtime_ns for path in chunks.iterdir()} == before
    assert again.manifest.parent == kept.manifest.version


def test_what_a_run_was_trained_on_is_kept(home: Path) -> None:
    """A run keeps its version as a ref does, until the run's folder is deleted."""
    store, first = store_of(home), lineage(store_of(home))[0]
    run = store.run("tiny", "abc").path
    run.mkdir(parents=True)
    (run / "version.json").write_text(json.dumps({"version": first}))
    collect(store)
    assert first in store.versions("tiny") and len(store.versions("tiny")) == 2
    shutil.rmtree(run)
    collect(store)
    assert len(store.versions("tiny")) == 1


def half_built(home: Path, moment: int) -> None:
    """Kill a build of another version at its n-th sync."""
    from test_build_killed import KILL_AT

    recipe = json.dumps(tiny(home, filters=bound(4), seed=9))
    done = subprocess.run([sys.executable, "-c", KILL_AT, str(moment), recipe], check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


@pytest.mark.parametrize("moment", [3, 20, 34])
def test_what_a_killed_build_left_half_written_goes(home: Path, moment: int) -> None:
    """Asides are deleted; the work that is whole stays for the next build, unless it is asked for."""
    store = store_of(home)
    collect(store)
    half_built(home, moment)
    (store.root / "data" / "tiny" / f"{ASIDE}0-x").mkdir()
    (store.root / "data" / "tiny" / f"{ASIDE}0-x" / "shard.parquet").write_bytes(b"x")
    unfinished = {path for path in (store.root / "builds").glob("*") if not (path / "build.json").exists()}
    unfinished = {path for path in unfinished if len(path.name) == 12}
    assert len(unfinished) == 1
    collect(store)
    assert not list(store.root.rglob(f"{ASIDE}*")) and all(path.is_dir() for path in unfinished)
    assert "unfinished deletes it" in call("gc", store.root).stdout
    collect(store, unfinished=True)
    assert not any(path.exists() for path in unfinished)
    assert build_tiny(home, filters=bound(4), seed=9).verify() == []


WAITING_BUILD = """
import json, sys
from didact.build import pipeline
shards = pipeline.shard_tasks
def told(*arguments):
    print("building", flush=True)
    sys.stdin.readline()
    return shards(*arguments)
pipeline.shard_tasks = told
print(pipeline.build(json.loads(sys.argv[1]), workers=1).manifest.version, flush=True)
"""
"""A build that says when it is about to write its shards, and goes on when it is told to."""


@pytest.fixture
def running(home: Path) -> Iterator[subprocess.Popen[str]]:
    """A build of another version, in the middle."""
    command = [sys.executable, "-c", WAITING_BUILD, json.dumps(tiny(home, filters=bound(5), seed=11))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "building\n"
        yield process
        process.kill()


def test_nothing_is_deleted_while_a_build_runs(home: Path, running: subprocess.Popen[str]) -> None:
    """A running build is one line and exit code 1; it ends with the version it would have made; then gc works."""
    before = {path for path in (home / "store").rglob("*") if path.is_file()}
    for arguments in ((), ("--dry-run",), ("--unfinished",)):
        told = call("gc", home / "store", *arguments)
        assert told.exit_code == 1 and told.stderr.count("\n") == 1 and "run gc again when it has ended" in told.stderr
    assert {path for path in (home / "store").rglob("*") if path.is_file()} == before
    out, _ = running.communicate("go on\n")
    assert Version.open(store_of(home).find("tiny")).manifest.version == out.strip()
    collect(store_of(home), unfinished=True)
    assert store_of(home).versions("tiny") == [out.strip()]
    assert Version.open(store_of(home).find("tiny")).verify() == []


def test_the_lock_of_a_killed_build_is_free(home: Path, running: subprocess.Popen[str]) -> None:
    """A build that is killed holds nothing back."""
    running.send_signal(signal.SIGKILL)
    running.wait()
    collect(store_of(home))
    assert len(store_of(home).versions("tiny")) == 1


KILLED_GC = """
import os, shutil, signal, sys
from pathlib import Path
from didact.store.collect import collect
from didact.store.layout import Store
left = int(sys.argv[2])
def counted(real):
    def call(*arguments, **named):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **named)
    return call
os.unlink, os.rmdir, os.rename = map(counted, (os.unlink, os.rmdir, os.rename))
collect(Store(Path(sys.argv[1])))
"""
"""A collection that kills itself before the n-th thing it takes away."""


@pytest.mark.parametrize("moment", [1, 2, 5, 12])
def test_a_killed_collection_leaves_whole_versions_only(home: Path, moment: int) -> None:
    """After kill -9 every version there is verifies, the kept one is there, and the next collection ends the work."""
    store, last = store_of(home), lineage(store_of(home))[-1]
    done = subprocess.run([sys.executable, "-c", KILLED_GC, store.root, str(moment)], check=False)
    assert done.returncode == -signal.SIGKILL
    for version in store.versions("tiny"):
        assert Version.open(store.version("tiny", version)).verify() == []
    collect(store)
    assert store.versions("tiny") == [last] and not list(store.root.rglob(f"{ASIDE}*"))
    assert Version.open(store.version("tiny", last)).verify() == []


def test_links_are_unlinked_not_followed(home: Path) -> None:
    """A version that was moved elsewhere and linked loses its link; what it points to stays."""
    store, first = store_of(home), lineage(store_of(home))[0]
    elsewhere = home / "elsewhere"
    store.version("tiny", first).path.rename(elsewhere)
    store.version("tiny", first).path.symlink_to(elsewhere)
    collect(store)
    assert not store.version("tiny", first).path.is_symlink() and Version.open(elsewhere).verify() == []


def test_a_folder_that_is_no_store_is_left_alone(tmp_path: Path) -> None:
    """Gc of any other folder is a bad call, and deletes nothing."""
    (tmp_path / "data" / "x" / "0123456789ab").mkdir(parents=True)
    (tmp_path / "data" / "x" / "0123456789ab" / "manifest.json").write_text("{}")
    assert call("gc", tmp_path).exit_code == 2
    assert (tmp_path / "data" / "x" / "0123456789ab" / "manifest.json").exists()


def test_a_lock_is_shared_or_held_alone(tmp_path: Path) -> None:
    """Any number hold it shared; nobody has it alone meanwhile; free again, one has."""
    lock = tmp_path / "lock"
    waited: list[int] = []
    held = [locked(lock, lambda: waited.append(1), shared=True) for _ in range(2)]
    with held[0], held[1], locked_if_free(lock) as alone:
        assert not alone
    with locked_if_free(lock) as alone:
        assert alone and not waited


@pytest.fixture(scope="module")
def whole(three: Path) -> Version:
    """A version that is whole, to be damaged in copies."""
    return Version.open(store_of(three).find("tiny"))


@pytest.fixture
def copied(whole: Version, tmp_path: Path) -> Path:
    """A copy of it elsewhere, which verifies."""
    path = Path(shutil.copytree(whole.path, tmp_path / "copied"))
    assert Version.open(path).verify() == []
    return path


def flip(path: Path, bit: int) -> None:
    """Flip one bit of a file."""
    content = bytearray(path.read_bytes())
    content[(bit // 8) % len(content)] ^= 1 << bit % 8
    path.write_bytes(content)


def test_a_flipped_bit_is_found_in_every_file(whole: Version, copied: Path) -> None:
    """One flipped bit in the first, middle or last byte of any file is told with the file's name, and nothing else."""
    for entry in whole.manifest.files:
        for bit in (0, entry.bytes * 4, entry.bytes * 8 - 1):
            flip(copied / entry.path, bit)
            assert Version.open(copied).verify() == [f"{entry.path}: content differs from its SHA-256"]
            flip(copied / entry.path, bit)
    assert Version.open(copied).verify() == []


@given(st.integers(0))
def test_a_flipped_bit_in_the_manifest_is_found(
    whole: Version, tmp_path_factory: pytest.TempPathFactory, bit: int
) -> None:
    """Whichever bit of the manifest flips: it cannot be opened any more, or verify tells."""
    folder = tmp_path_factory.mktemp("flipped")
    (folder / "manifest.json").write_bytes((whole.path / "manifest.json").read_bytes())
    flip(folder / "manifest.json", bit)
    try:
        assert Version.open(folder).verify()[0] == "manifest.json: content differs from its checksum"
    except StoreError as error:
        assert "manifest.json" in str(error)


def test_a_missing_file_is_found(whole: Version, copied: Path) -> None:
    """Each file that is not there is told."""
    for entry in whole.manifest.files:
        content = (copied / entry.path).read_bytes()
        (copied / entry.path).unlink()
        assert Version.open(copied).verify() == [f"{entry.path}: missing"]
        (copied / entry.path).write_bytes(content)


@pytest.mark.parametrize("name", ["data/finetune/train-00001-of-00001.parquet", ".hidden", "new/folder/x"])
def test_an_extra_file_is_found(copied: Path, name: str) -> None:
    """A file that the build did not write is told, hidden or not."""
    (copied / name).parent.mkdir(parents=True, exist_ok=True)
    (copied / name).write_bytes(b"")
    assert Version.open(copied).verify() == [f"{name}: not in the manifest"]


@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_a_truncated_manifest_is_found(copied: Path, share: float) -> None:
    """A manifest that ends early makes the command fail with one line that names it."""
    manifest = copied / "manifest.json"
    manifest.write_bytes(manifest.read_bytes()[: int(share * manifest.stat().st_size)])
    told = call("verify", copied)
    assert told.exit_code == 1 and told.stderr.count("\n") == 1 and "manifest.json: is not valid JSON" in told.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_found(copied: Path) -> None:
    """A file that may not be read is a problem, not a crash."""
    (copied / "README.md").chmod(0)
    assert Version.open(copied).verify() == ["README.md: cannot be read (Permission denied)"]
