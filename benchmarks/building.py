"""A build from end to end, everything on, by one worker and by two; kernels are compiled beforehand."""

from __future__ import annotations

import tempfile
from pathlib import Path

import didact
from benchmarks.material import Row, write_jsonl
from benchmarks.rounds import Comparison, compare
from didact.durable import read_json


def _build(path: Path, records: int, workers: int, stages: list[str]) -> int:
    recipe = {
        "name": "bench",
        "seed": 1,
        "sources": {"given": {"path": str(path), "format": "alpaca"}},
        "clean": {"pii": {"email": "mask", "phone": "mask", "ip": "mask"}},
        "filters": [{"set": "instruction"}],
        "mixes": {"finetune": {"unit": "trained_tokens", "sources": {"given": {"share": 1}}}},
    }
    # A new store each time, so that no result on file is used.
    with tempfile.TemporaryDirectory(dir=path.parent) as store:
        version = didact.build(recipe, store=store, workers=workers)
        measured = read_json(Path(store) / "builds" / version.manifest.plan[:12] / "build.json")["stages"]
        stages[:] = [f"{one['stage']:24}{one['seconds']:8.2f} s{one['peak_mb']:8,} MB" for one in measured]
    return records


def run(rows: list[Row], rounds: int) -> list[Comparison]:
    """Records a second of the whole build; the stages of the last build of each."""
    alone: list[str] = []
    both: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        path = write_jsonl(rows, Path(folder) / "instructions.jsonl")
        contenders = {
            "didact build, 2 workers": lambda: _build(path, len(rows), 2, both),
            "didact build, 1 worker": lambda: _build(path, len(rows), 1, alone),
        }
        found = compare("Build, end to end", "records", contenders, rounds)
    found.notes += ["stages with 1 worker:", *alone, "stages with 2 workers (workers' memory not included):", *both]
    return [found]
