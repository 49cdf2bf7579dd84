"""A build that is killed at random moments and run again, moment after moment: what holds, and where it was hit.

    python -m benchmarks.killing docs/examples/real.yaml --moments 50

Each moment has a store of its own. In turn the whole process group is killed, only the leading process, or only one
worker. Then the same command runs again, and everything that a killed build promises is checked; the first broken
promise ends the benchmark.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import click

from benchmarks.processes import ended, kill, members, stage_of, start
from benchmarks.rounds import machine
from didact.durable import ASIDE, read_json, sha256_file
from didact.engine.chunks import MARKER
from didact.store.version import Version

WHO = ("all", "leader", "worker")
_PATIENCE = 60.0
"""Seconds within which the workers of a killed leader must be gone."""


class Broken(click.ClickException):
    """A promise that did not hold."""


def require(holds: bool, told: str) -> None:
    """Raise Broken unless something holds."""
    if not holds:
        raise Broken(told)


@dataclass
class Trial:
    """Builds of one recipe: undisturbed once, then killed."""

    recipe: Path
    folder: Path
    workers: int = 2
    whole: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of each file of the undisturbed version."""
    seconds: float = 0.0
    """How long the undisturbed build took."""
    chunks: int = 0
    hits: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Kills by who was killed and in which stage."""
    reused: int = 0
    """Chunk results that were whole at a kill, and were found and left alone by the run after it."""
    late: int = 0
    """Moments at which the build had ended already; they are drawn again."""

    def undisturbed(self) -> None:
        """Build twice, so that the time is that of a warm machine, and keep what came out."""
        for name in ("cold", "warm"):
            began = time.monotonic()
            self.run(self.folder / name)
            self.seconds = time.monotonic() - began
        version = self.version(self.folder / "warm")
        self.whole = files_of(version)
        self.chunks = sum(read_json(build_json(self.folder / "warm"))["chunks"].values())
        require(files_of(self.version(self.folder / "cold")) == self.whole, "two undisturbed builds differ")
        for name in ("cold", "warm"):
            shutil.rmtree(self.folder / name)

    def command(self, store: Path) -> subprocess.Popen[bytes]:
        """Start the build."""
        log = self.folder / f"{store.name}.log"
        return start(["build", self.recipe, "--store", store, "--workers", f"{self.workers}"], log)

    def run(self, store: Path) -> None:
        """Build to the end."""
        code = self.command(store).wait()
        require(code == 0, f"{store.name}: exit {code}: {self.log(store)[-1500:]}")

    def log(self, store: Path) -> str:
        """What the builds of a store told."""
        return (self.folder / f"{store.name}.log").read_text(encoding="utf-8")

    def version(self, store: Path) -> Version:
        """The one version of a store; `latest` names it, and nothing else stands in data/."""
        names = [path for path in (store / "data").iterdir() if path.is_dir()]
        require(len(names) == 1, f"{store.name}: data holds {[path.name for path in names]}")
        found = [path for path in names[0].iterdir() if path.name != "refs"]
        require(len(found) == 1, f"{store.name}: data holds {[path.name for path in found]}")
        latest = (names[0] / "refs" / "latest").read_text(encoding="utf-8").strip()
        require(latest == found[0].name, f"{store.name}: latest names {latest}, there is {found[0].name}")
        return Version.open(found[0])

    def moment(self, number: int, share: float, who: str, rng: random.Random) -> bool:
        """Kill a build after a share of the time it needs, run it again, and check; False when it had ended before."""
        store = self.folder / f"{number}-{who}"
        process = self.command(store)
        time.sleep(share * self.seconds)
        if not self.killed(process, who, rng):
            process.wait()
            self.late += 1
            shutil.rmtree(store, ignore_errors=True)
            return False
        stage = stage_of(self.log(store))
        if who == "worker":
            require(process.wait() == 0, f"{store.name}: did not get over a killed worker: {self.log(store)[-1500:]}")
        else:
            process.wait()
            require(ended(process.pid, _PATIENCE), f"{store.name}: processes stayed behind: {members(process.pid)}")
        self.hits[who, stage] += 1
        self.check(store)
        shutil.rmtree(store)
        return True

    def killed(self, process: subprocess.Popen[bytes], who: str, rng: random.Random) -> bool:
        """Kill whom it is about, waiting for a worker until there is one; False when the build ended before."""
        while process.poll() is None:
            alive = members(process.pid)
            workers = [pid for pid in alive if pid != process.pid and _works(pid)]
            chosen = {"all": alive, "leader": [process.pid], "worker": rng.sample(workers, 1) if workers else []}[who]
            if chosen:
                kill(process.pid, chosen)
                return True
            time.sleep(0.02)
        return False

    def check(self, store: Path) -> None:
        """Everything that is promised of a killed build."""
        for path in store.glob("data/*/*/"):
            whole = path.name == "refs" or (path / "manifest.json").is_file()
            require(whole, f"{path}: stands in data/ without a manifest")
        for path in store.glob("data/*/*/manifest.json"):
            require(Version.open(path.parent).verify() == [], f"{path.parent}: published, and not whole")
        before, built = markers(store), build_json(store).is_file()
        self.run(store)
        version = self.version(store)
        require(version.verify() == [], f"{store.name}: not whole after the second run")
        require(files_of(version) == self.whole, f"{store.name}: other bytes than undisturbed")
        require(not list(store.rglob(f"{ASIDE}*")), f"{store.name}: half-written files stayed")
        after = markers(store)
        kept = all(after.get(name) == value for name, value in before.items())
        require(kept, f"{store.name}: the marker of a whole chunk was written again")
        counted = read_json(build_json(store))["chunks"]
        if not built:
            expected = {"made": self.chunks - len(before), "found": len(before)}
            require(counted == expected, f"{store.name}: ran {counted}, expected {expected}")
            self.reused += len(before)

    def lines(self) -> list[str]:
        """What was hit, as text."""
        stages = sorted({stage for _, stage in self.hits})
        told = [f"  {'killed in stage':28}" + "".join(f"{who:>10}" for who in WHO)]
        told += [f"  {stage:28}" + "".join(f"{self.hits[who, stage]:10}" for who in WHO) for stage in stages]
        return [
            *told,
            f"  {self.reused} chunk results were whole at a kill; none was made again",
            f"  every version: {len(self.whole)} files, the same bytes as undisturbed",
            f"  {self.late} moments came after the build's end and were drawn again",
        ]


def _works(pid: int) -> bool:
    """Whether a process is a worker, or the server that workers are forked from, and not the tracker of resources."""
    try:
        return b"resource_tracker" not in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def files_of(version: Version) -> dict[str, str]:
    """SHA-256 of every file of a version, the manifest too."""
    files = (path for path in sorted(version.path.rglob("*")) if path.is_file())
    return {str(path.relative_to(version.path)): sha256_file(path) for path in files}


def markers(store: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of change of every chunk's marker: another file of that name has others."""
    found = (store / "builds" / "chunks").glob(f"*{MARKER}")
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in found if not path.name.startswith(".")}


def build_json(store: Path) -> Path:
    """Where the store's one build tells what it did, or would."""
    return next(store.glob("builds/*/build.json"), store / "builds" / "none" / "build.json")


def trial(recipe: Path, folder: Path, moments: int, seed: int, workers: int = 2) -> Trial:
    """Kill a recipe's build at so many moments. Raises Broken at the first promise that does not hold."""
    made = Trial(recipe, folder, workers)
    made.undisturbed()
    rng = random.Random(seed)
    for number in range(moments):
        while not made.moment(number, rng.random(), WHO[number % len(WHO)], rng):
            pass
        click.echo(f"  {number + 1} of {moments} moments, {made.seconds:.0f} s a build", err=True)
    return made


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--moments", default=50, show_default=True, type=click.IntRange(1), help="How often to kill.")
@click.option("--seed", default=1, show_default=True, help="Seed of the moments.")
@click.option("--workers", default=2, show_default=True, type=click.IntRange(2), help="Worker processes.")
@click.option("--folder", type=click.Path(path_type=Path, exists=True), help="Where the stores go. Default: temporary.")
def main(recipe: Path, moments: int, seed: int, workers: int, folder: Path | None) -> None:
    """Kill the build of RECIPE at random moments, run it again each time, and check that nothing is lost."""
    for fact in machine():
        click.echo(fact)
    with tempfile.TemporaryDirectory(dir=folder) as stores:
        made = trial(recipe, Path(stores), moments, seed, workers)
    click.echo(f"{moments} moments, seed {seed}; undisturbed {made.seconds:.1f} s, {made.chunks} chunks")
    for line in made.lines():
        click.echo(line)


if __name__ == "__main__":
    main()
