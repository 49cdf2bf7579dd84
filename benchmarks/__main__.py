"""`python -m benchmarks [NAME...]`: run the benchmarks, all but the one for GPUs unless some are named."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import click

from benchmarks.material import instructions
from benchmarks.rounds import machine

BENCHMARKS = {
    "minhash": "signing",
    "read": "reading",
    "validating": "validating",
    "build": "building",
    "tokenizer": "tokenizing",
    "train": "training",
    "finetune": "tuning",
    "gpu": "gpu",
}
"""Name on the command line, and the module that holds it; a module is imported when it is run."""


@click.command(epilog="Example: python -m benchmarks minhash read --data alpaca_data.json.gz")
@click.argument("names", nargs=-1, type=click.Choice(list(BENCHMARKS)))
@click.option(
    "--data", type=click.Path(path_type=Path, exists=True), help="Instructions to use, in any format Didact reads."
)
@click.option(
    "--records", default=20_000, show_default=True, type=click.IntRange(100), help="How many of them, at most."
)
@click.option(
    "--rounds", default=5, show_default=True, type=click.IntRange(1), help="Counted rounds of each comparison."
)
def main(names: tuple[str, ...], data: Path | None, records: int, rounds: int) -> None:
    """Compare Didact with the packages a user would pick instead.

    Contenders take turns within one process, so a ratio means more than a speed: a busy machine slows all of them.
    """
    for fact in machine():
        click.echo(fact)
    rows = instructions(data, records)
    size = sum(len(text) for row in rows for text in (row["instruction"], row["input"], row["output"]))
    click.echo(f"data: {data or 'synthetic'}, {len(rows):,} records of {size / len(rows):.0f} characters on average")
    for name in names or [name for name in BENCHMARKS if name != "gpu"]:
        for comparison in import_module(f"benchmarks.{BENCHMARKS[name]}").run(rows, rounds):
            click.echo("\n" + "\n".join(comparison.lines()))


if __name__ == "__main__":
    main()
