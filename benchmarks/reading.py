"""Reading and checking JSON lines: Didact's validation, plain orjson with pydantic, and `datasets`."""

from __future__ import annotations

import tempfile
from pathlib import Path

import datasets
import orjson
from pydantic import BaseModel, ConfigDict

from benchmarks.material import Row, write_jsonl
from benchmarks.rounds import Comparison, compare
from didact.validate import validate


class _Instruction(BaseModel):
    """What a careful user would write to check a row."""

    model_config = ConfigDict(extra="forbid")

    instruction: str
    input: str
    output: str


def _by_pydantic(path: Path) -> int:
    with path.open("rb") as file:
        return len([_Instruction.model_validate(orjson.loads(line)) for line in file])


def _by_datasets(path: Path, cache: Path) -> int:
    # A fresh cache each time: otherwise nothing is read after the first round.
    with tempfile.TemporaryDirectory(dir=cache) as fresh:
        loaded = datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=fresh)
        return len(loaded)


def run(rows: list[Row], rounds: int) -> list[Comparison]:
    """One process each. Didact also detects the format, checks roles and contents, and names each record by a hash."""
    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as folder:
        path = write_jsonl(rows, Path(folder) / "instructions.jsonl")
        contenders = {
            "didact validate": lambda: validate(path, "alpaca").as_json()["records"],
            "orjson and pydantic": lambda: _by_pydantic(path),
            "datasets.load_dataset": lambda: _by_datasets(path, Path(folder)),
        }
        return [compare("Read and validate JSON lines", "records", contenders, rounds)]
