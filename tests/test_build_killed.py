"""A build that is killed, or whose disk refuses: the next one finds what is whole and makes the same bytes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from tiny_recipe import build_tiny, bytes_of, tiny, write_inputs

from benchmarks.killing import build_json, markers, trial
from benchmarks.scale import recipe as scale_recipe
from benchmarks.scale import write
from didact.build.pipeline import build
from didact.durable import ASIDE, read_json
from didact.errors import StoreError
from didact.store.layout import Store
from didact.store.version import Version

KILL_AT = """
import json, os, signal, sys
from didact.build.pipeline import build
left, sync = int(sys.argv[1]), os.fsync
def counted(descriptor):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    sync(descriptor)
os.fsync = counted
build(json.loads(sys.argv[2]), workers=1)
"""
"""A build that kills itself at the n-th time it syncs: before each, something is half-written or just got its name."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the inputs."""
    folder = tmp_path_factory.mktemp("killed")
    write_inputs(folder)
    return folder


@pytest.fixture(scope="module")
def whole(home: Path) -> Mapping[str, str]:
    """The bytes that a build makes which nobody disturbs."""
    found = bytes_of(build_tiny(home, store=str(home / "whole")))
    shutil.rmtree(home / "whole")
    return found


def syncs(home: Path) -> int:
    """How often an undisturbed build syncs."""
    count, sync = 0, os.fsync

    def counted(descriptor: int) -> None:
        nonlocal count
        count += 1
        sync(descriptor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", counted)
        build_tiny(home, store=str(home / "counted"))
    return count


def killed_at(home: Path, moment: int, store: Path) -> None:
    """Build in another process that kills itself."""
    recipe = json.dumps(tiny(home, store=str(store)))
    done = subprocess.run([sys.executable, "-c", KILL_AT, str(moment), recipe], check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


def holds_after_kill(home: Path, store: Path, whole: Mapping[str, str]) -> None:
    """What is published is whole; the next build makes the same bytes and leaves nothing half-written that counts."""
    place = Store(store)
    for version in place.versions("tiny"):
        assert Version.open(place.version("tiny", version)).verify() == []
    before, built = markers(store), build_json(store).is_file()
    again = build(tiny(home, store=str(store)), workers=1)
    assert again.verify() == [] and bytes_of(again) == whole
    after = markers(store)
    assert {name: after.get(name) for name in before} == before
    if not built:
        # One chunk for each source; what was whole was found, the rest was made.
        assert read_json(build_json(store))["chunks"] == {"made": 3 - len(before), "found": len(before)}
    assert place.versions("tiny") == [again.path.name] and place.ref("tiny", "latest") == again.path.name
    assert not list(store.rglob(f"{ASIDE}*"))


@pytest.mark.parametrize("share", [0.15, 0.5, 0.85])
def test_a_killed_build_goes_on_to_the_same_bytes(
    home: Path, whole: Mapping[str, str], tmp_path: Path, share: float
) -> None:
    """Killed early, in the middle and late, a build leaves a store in which the next one succeeds."""
    killed_at(home, max(1, round(share * syncs(home))), tmp_path)
    holds_after_kill(home, tmp_path, whole)
    shutil.rmtree(home / "counted")


@pytest.mark.slow
def test_a_build_with_workers_may_be_killed_at_random_moments(tmp_path: Path) -> None:
    """Whoever is killed (all, the leader, a worker), the same bytes come out, and no whole chunk is made again."""
    write(tmp_path, 30_000)
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps(scale_recipe(tmp_path)))
    (tmp_path / "stores").mkdir()
    made = trial(recipe, tmp_path / "stores", moments=6, seed=1)
    assert sum(made.hits.values()) == 6 and made.chunks == 4


@pytest.mark.slow
def test_a_build_may_be_killed_at_any_moment(home: Path, whole: Mapping[str, str], tmp_path: Path) -> None:
    """The same at every third moment at which something becomes durable, and at the last ones."""
    last = syncs(home)
    for moment in [*range(1, last, 3), last - 1, last]:
        killed_at(home, moment, tmp_path / str(moment))
        holds_after_kill(home, tmp_path / str(moment), whole)


def test_a_build_killed_again_and_again_ends(home: Path, whole: Mapping[str, str], tmp_path: Path) -> None:
    """A build that is killed twice in one store gets further each time, and ends as if nothing had happened."""
    for _ in range(2):
        killed_at(home, 24, tmp_path)
    holds_after_kill(home, tmp_path, whole)


def test_the_next_build_deletes_what_was_half_written(home: Path, tmp_path: Path) -> None:
    """Of results, the build's own work and refs, even when the version is there; never what somebody may yet write."""
    version = build(tiny(home, store=str(tmp_path)), workers=1)
    store = Store(tmp_path)
    folders = (store.chunks, store.stages, store.build(version.manifest.plan), store.data("tiny") / "refs")
    left = [folder.path / f"{ASIDE}0123456789ab-latest" for folder in folders]
    for path in left:
        path.write_bytes(b"half")
    with store.in_use():
        build(tiny(home, store=str(tmp_path)), workers=1)
    assert all(path.exists() for path in left)
    build(tiny(home, store=str(tmp_path)), workers=1)
    assert not any(path.exists() for path in left)


def test_workers_end_with_a_killed_parent(tmp_path: Path) -> None:
    """Workers of a killed build do not stay behind."""
    script = tmp_path / "pool.py"
    script.write_text(
        "import os\nfrom didact.engine.local import LocalEngine\n"
        "if __name__ == '__main__':\n"
        "    engine = LocalEngine(2)\n"
        "    list(engine.map(os.getenv, ['A', 'B']))\n"
        "    print(*engine.start()._processes, flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, script], check=False, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    workers = [int(pid) for pid in done.stdout.split()]
    assert len(workers) == 2
    assert all(_ends(pid) for pid in workers)


def _ends(pid: int) -> bool:
    """Whether a process is gone, or goes within the time a busy machine may need."""
    for _ in range(200):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_a_full_disk_is_one_line_and_the_next_build_succeeds(
    home: Path, whole: Mapping[str, str], tmp_path: Path
) -> None:
    """When files cannot grow, the command ends with exit code 1 and one line; with room again the build succeeds."""
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps(tiny(home, store="store")))
    code = (
        "import resource, sys, didact.build.pipeline\nfrom didact.cli import cli\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "cli(['build', sys.argv[1], '--workers', '1'])"
    )
    done = subprocess.run([sys.executable, "-c", code, recipe], check=False, capture_output=True, text=True)
    told = [line for line in done.stderr.splitlines() if line.startswith("didact: error:")]
    assert done.returncode == 1 and "Traceback" not in done.stderr and len(told) == 1
    assert "cannot be written" in told[0] and "File too large" in told[0]
    assert not list((tmp_path / "store").rglob(f"{ASIDE}*"))
    assert bytes_of(build(recipe, workers=1)) == whole


def _below_a_file(home: Path) -> Path:
    (home / "file").write_text("no folder")
    return home / "file" / "store"


def _a_file(home: Path) -> Path:
    (home / "file").write_text("no folder")
    return home / "file"


@pytest.mark.parametrize("store", [_below_a_file, _a_file])
def test_a_store_that_cannot_be_is_told(home: Path, store: Callable[[Path], Path]) -> None:
    """A store where a file stands is a StoreError that names the place."""
    with pytest.raises(StoreError, match="cannot be written"):
        build(tiny(home), store=store(home), workers=1)
