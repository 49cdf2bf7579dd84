"""A build of very many records: time by stage, and the memory of all its processes together.

    python -m benchmarks.scale FOLDER --records 1M

The records are made up, in the lengths of real instruction data, with copies and dirt; they and the store are written
into FOLDER and deleted at the end unless `--keep` is given.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import orjson

from benchmarks.material import made_up_words
from benchmarks.processes import Peak, stage_of, start, watched
from benchmarks.rounds import machine
from didact.durable import read_json
from didact.recipe.quantity import parse_count

_BATCH = 10_000
_POOL = 5_000
"""Earlier records that copies are made of: copies are found next to their original and far from it."""

_EXACT, _NEAR = 0.03, 0.07
_DIRT = {
    "broken": 0.001,
    "not UTF-8": 0.0005,
    "blank": 0.002,
    "no answer": 0.002,
    "mail address": 0.004,
    "mojibake": 0.002,
    "markup": 0.003,
}
"""Share of the rows that have each kind of dirt."""


def lines(count: int, seed: int = 1) -> Iterator[bytes]:
    """`count` instructions in the Alpaca format as lines of JSON, and blank lines among them.

    A question of 8 words, in two of five a text of 4, an answer of 1 to 400 with a median of 30: the lengths of
    Alpaca's. Three in a hundred are exact copies of an earlier one, seven near-copies, with one word changed.
    Needs memory for a few thousand rows, however many are made.
    """
    words, weights = made_up_words(random.Random(seed))
    rng = np.random.default_rng(seed)
    reached = np.cumsum(weights) / np.sum(weights)
    pool: list[list[str]] = []
    for first in range(0, count, _BATCH):
        size = min(_BATCH, count - first)
        lengths = np.minimum(400, rng.lognormal(3.4, 0.9, size).astype(np.int64) + 1) + 12
        drawn = np.searchsorted(reached, rng.random(int(lengths.sum())))
        ends = np.cumsum(lengths)
        fates, picks = rng.random(size), rng.integers(0, _POOL, size)
        for place, (end, length) in enumerate(zip(ends.tolist(), lengths.tolist(), strict=True)):
            said = [words[code] for code in drawn[end - length : end].tolist()]
            if pool and fates[place] < _EXACT + _NEAR:
                said = list(pool[int(picks[place]) % len(pool)])
                if fates[place] >= _EXACT:
                    said[12 + int(rng.integers(len(said) - 12))] = words[int(rng.integers(len(words)))]
            elif len(pool) < _POOL:
                pool.append(said)
            elif fates[place] > 1 - _POOL / (first + place + 1):
                pool[int(picks[place])] = said
            yield from _spelt(said, rng)


def _spelt(said: list[str], rng: np.random.Generator) -> Iterator[bytes]:
    """A row as its line, with dirt now and then."""
    given = " ".join(said[8:12]) if len(said[8]) > 6 else ""
    row = {
        "instruction": " ".join(said[:8]).capitalize() + ".",
        "input": given,
        "output": " ".join(said[12:]).capitalize() + ".",
    }
    chance, bound = float(rng.random()), 0.0
    for kind, share in _DIRT.items():
        bound += share
        if chance < bound:
            yield from _dirty(kind, row)
            return
    yield orjson.dumps(row) + b"\n"


def _dirty(kind: str, row: dict[str, str]) -> Iterator[bytes]:
    text = row["output"]
    whole = orjson.dumps(row)
    if kind == "broken":
        yield whole[: len(whole) // 2] + b"\n"
    elif kind == "not UTF-8":
        yield whole.replace(b" ", b" \xff\xfe", 1) + b"\n"
    elif kind == "blank":
        yield b"\n" + whole + b"\n"
    else:
        row["output"] = {
            "no answer": "",
            "mail address": f"{text} Write to someone.else@mail-hub.net.",
            "mojibake": f"{text} It\u00e2\u20ac\u2122s so.",
            "markup": f"<p>{text}</p>&nbsp;&amp; so on",
        }[kind]
        yield orjson.dumps(row) + b"\n"


def write(folder: Path, count: int, seed: int = 1, files: int = 4) -> int:
    """The lines in several files of about the same length; how many bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    share, size, made = -(-count // files), 0, lines(count, seed)
    for number in range(files):
        with (folder / f"part-{number}.jsonl").open("wb") as out:
            for _, line in zip(range(share), made, strict=False):
                size += out.write(line)
    return size


def recipe(folder: Path) -> dict[str, Any]:
    """Everything on; half of the files are one source, half another."""
    license = {"format": "alpaca", "license": "CC0-1.0"}
    return {
        "name": "scale",
        "seed": 1,
        "store": str(folder / "store"),
        "sources": {
            "left": {"path": [str(folder / "part-0.jsonl"), str(folder / "part-1.jsonl")], **license},
            "right": {"path": [str(folder / "part-2.jsonl"), str(folder / "part-3.jsonl")], **license},
        },
        "clean": {"pii": {"email": "mask", "phone": "mask", "ip": "mask"}},
        "filters": [{"set": "instruction"}],
        "mixes": {
            "finetune": {
                "unit": "trained_tokens",
                "sources": {"left": {"share": 0.5}, "right": {"share": 0.5}},
                "on_exhaust": "renormalise",
            }
        },
    }


def table(store: Path, peaks: dict[str, Peak]) -> Iterator[str]:
    """Time and memory by stage, and what was made."""
    (path,) = (store / "builds").glob("*/build.json")
    seconds = {one["stage"]: one["seconds"] for one in read_json(path)["stages"]}
    yield f"  {'stage':26}{'seconds':>9}{'MB together':>14}{'without files':>16}{'largest':>10}"
    highest = Peak()
    for stage, peak in peaks.items():
        yield _row(stage, f"{seconds.get(stage, 0):.1f}", peak)
        highest = highest.raised(peak)
    yield _row("highest", "", highest)
    sizes = {part: sum(file.lstat().st_size for file in (store / part).rglob("*")) / 1e9 for part in ("builds", "data")}
    yield "  on disk: " + ", ".join(f"{part} {size:.2f} GB" for part, size in sizes.items())


def _row(name: str, seconds: str, peak: Peak) -> str:
    return f"  {name:26}{seconds:>9}{peak.together:14,.0f}{peak.own:16,.0f}{peak.largest:10,.0f}"


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--records", default="1M", show_default=True, help="How many records, as in 200k or 1M.")
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1), help="Worker processes.")
@click.option("--keep", is_flag=True, help="Leave inputs and store in FOLDER.")
def main(folder: Path, records: str, workers: int, keep: bool) -> None:
    """Build made-up records in FOLDER; print time and the highest memory by stage."""
    count = int(parse_count(records))
    for fact in machine():
        click.echo(fact)
    began = time.monotonic()
    size = write(folder, count)
    click.echo(f"data: {count:,} records, {size / 1e6:,.0f} MB, written in {time.monotonic() - began:.0f} s")
    (folder / "recipe.json").write_bytes(orjson.dumps(recipe(folder)))
    began, log = time.monotonic(), folder / "log"
    process = start(["build", folder / "recipe.json", "--workers", str(workers)], log)
    peaks = watched(process, lambda: stage_of(log.read_text(encoding="utf-8")))
    took = time.monotonic() - began
    click.echo(f"build: {took:,.0f} s, {count / took:,.0f} records/s with {workers} workers, exit {process.returncode}")
    if process.returncode:
        raise click.ClickException(log.read_text(encoding="utf-8")[-2000:])
    for line in table(folder / "store", peaks):
        click.echo(line)
    if not keep:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
