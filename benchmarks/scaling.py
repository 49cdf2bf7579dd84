"""The whole `didact build` command of a recipe with one worker and with several, in turn: time by stage.

    python -m benchmarks.scaling docs/examples/real.yaml --rounds 5

Every build has a new store beside the recipe, deleted when it ends. One build before the rounds is not counted:
kernels compile, files are cached. All builds must make the same version.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from benchmarks.processes import start
from benchmarks.rounds import machine, spread
from didact.durable import read_json
from didact.store.version import Version

REST = "start, inputs, report, end"
"""What a command takes beside its stages."""
_READ = "read, clean, measure"
"""The stage whose work is done record by record."""


@dataclass(frozen=True)
class Timed:
    """One build: what it made, of how many rows, and how long it took in all and by stage."""

    version: str
    rows: int
    whole: float
    stages: dict[str, float]

    @property
    def parts(self) -> dict[str, float]:
        """Seconds by stage, the rest of the command, and the whole."""
        rest = self.whole - sum(self.stages.values())
        return {REST: rest, **self.stages, "whole command": self.whole}


def timed(recipe: Path, workers: int) -> Timed:
    """Build a recipe in a new store. Raises ClickException with the end of its log when that fails."""
    with tempfile.TemporaryDirectory(dir=recipe.parent, prefix=".scaling-") as folder:
        store, log = Path(folder) / "store", Path(folder) / "log"
        began = time.perf_counter()
        process = start(["build", recipe, "--store", store, "--workers", str(workers)], log)
        code = process.wait()
        took = time.perf_counter() - began
        if code:
            raise click.ClickException(log.read_text(encoding="utf-8")[-2000:])
        (made,) = store.glob("builds/*/build.json")
        told = read_json(made)
        (place,) = store.glob(f"data/*/{told['version']}")
        rows = sum(account.rows_in for account in Version.open(place).manifest.accounting if account.stage == "read")
        return Timed(told["version"], rows, took, {one["stage"]: one["seconds"] for one in told["stages"]})


def report(builds: dict[int, list[Timed]]) -> Iterator[str]:
    """Medians by stage and number of workers; the whole command and each ratio to one with its range."""
    counts = list(builds)
    yield f"  {'stage, seconds (median)':30}" + "".join(f"{count:>6} worker{'s'[: count > 1]:1}" for count in counts)
    for part in builds[counts[0]][0].parts:
        middle = (statistics.median(build.parts[part] for build in builds[count]) for count in counts)
        yield f"  {part:30}" + "".join(f"{seconds:14.2f}" for seconds in middle)
    rows = builds[counts[0]][0].rows
    for count in counts:
        speeds = [rows / build.whole for build in builds[count]]
        yield f"  {rows:,} rows, {count} workers: {spread(speeds, ',.0f')} rows/s"
    for count in counts[1:]:
        pairs = list(zip(builds[counts[0]], builds[count], strict=True))
        for part in (_READ, "whole command"):
            ratios = [one.parts[part] / other.parts[part] for one, other in pairs]
            yield f"  {part}, {counts[0]} against {count} workers: {spread(ratios, '.2f')} times as fast"


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--workers", default="1,2", show_default=True, help="Numbers of workers, the first to compare with.")
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1), help="Builds with each number.")
def main(recipe: Path, workers: str, rounds: int) -> None:
    """Build RECIPE with each number of workers in turn; print time by stage and how much faster more of them are."""
    for fact in machine():
        click.echo(fact)
    builds: dict[int, list[Timed]] = {int(count): [] for count in workers.split(",")}
    version = timed(recipe, max(builds)).version
    for turn in range(rounds):
        order = list(builds) if turn % 2 else list(builds)[::-1]
        for count in order:
            builds[count].append(timed(recipe, count))
            if builds[count][-1].version != version:
                raise click.ClickException(f"{builds[count][-1].version} was built where {version} was before")
    for line in report(builds):
        click.echo(line)


if __name__ == "__main__":
    main()
