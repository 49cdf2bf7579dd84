"""Validating JSON lines, as whole commands: start-up, reading, checking, reporting.

One process each, in records per second of processor time, so that what else the machine does counts little. Rows have
about a kilobyte, and there are ten times as many as in the other benchmarks: 200 MB by default.
"""

from __future__ import annotations

import itertools
import json
import random
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.material import Row, made_up_words
from benchmarks.rounds import Comparison, compare

_TIMES = 10

_DIDACT = "from didact.cli import main; main()"
_PYDANTIC = """
import sys, orjson, pydantic

class Instruction(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    instruction: str
    input: str
    output: str

adapter = pydantic.TypeAdapter(Instruction)
wrong = 0
with open(sys.argv[1], "rb") as file:
    for records, line in enumerate(file, 1):
        try:
            adapter.validate_python(orjson.loads(line))
        except ValueError:
            wrong += 1
print(records, wrong)
"""
_DATASETS = """
import sys, datasets

datasets.disable_progress_bars()
loaded = datasets.load_dataset("json", data_files=sys.argv[1], split="train", cache_dir=sys.argv[2])
print(len(loaded), 0)
"""


def kilobyte_rows(count: int, seed: int = 1) -> Iterator[Row]:
    """Instructions of a sentence and answers of several paragraphs; a tenth have letters beyond ASCII."""
    rng = random.Random(seed)
    words, weights = made_up_words(rng)
    totals = list(itertools.accumulate(weights))

    def text(sentences: int) -> str:
        drawn = (rng.choices(words, cum_weights=totals, k=rng.randint(5, 18)) for _ in range(sentences))
        return " ".join(f"{' '.join(said).capitalize()}{rng.choice('...?!')}" for said in drawn)

    for _ in range(count):
        paragraphs = [text(rng.randint(2, 5)) for _ in range(rng.randint(1, 5))]
        if rng.random() < 0.1:
            paragraphs.append("Café — “quoted”: 中文。")
        given = text(1) if rng.random() < 0.4 else ""
        yield Row(instruction=text(1), input=given, output="\n\n".join(paragraphs))


def _by_command(records: int, *arguments: str) -> int:
    """Run a program that prints how many records it read and rejected, as JSON or as two numbers."""
    done = subprocess.run([sys.executable, "-c", *arguments], capture_output=True, text=True, check=False)
    told = done.stdout.strip()
    counts = (
        json.loads(told)
        if told.startswith("{")
        else dict(zip(("records", "rejected"), map(int, told.split()), strict=True))
    )
    if (counts["records"], counts["rejected"]) != (records, 0):
        raise RuntimeError(f"not all of {records} rows were found valid: {told[:200]} {done.stderr[-500:]}")
    return records


def _by_datasets(records: int, path: Path, cache: Path) -> int:
    # A fresh cache each time: otherwise nothing is read after the first round.
    with tempfile.TemporaryDirectory(dir=cache) as fresh:
        return _by_command(records, _DATASETS, str(path), fresh)


def processor_time() -> float:
    """Seconds that the processes started by this one have computed, all their threads together."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run(rows: list[Row], rounds: int) -> list[Comparison]:
    """Didact also detects the format, checks contents, and looks for repeated records and keys."""
    count = _TIMES * len(rows)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "instructions.jsonl"
        with path.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in kilobyte_rows(count))
        contenders = {
            "didact validate": partial(_by_command, count, _DIDACT, "validate", str(path), "--json", "--workers", "1"),
            "orjson and pydantic": partial(_by_command, count, _PYDANTIC, str(path)),
            "datasets.load_dataset": partial(_by_datasets, count, path, Path(folder)),
        }
        title = f"Validate {path.stat().st_size / 1e6:,.0f} MB of JSON lines, whole commands, per core"
        return [compare(title, "records", contenders, rounds, warm=False, clock=processor_time)]
