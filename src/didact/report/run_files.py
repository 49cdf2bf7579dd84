"""Reads a run's folder for its page, and writes the page there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from didact.durable import read_json, write_atomic
from didact.report.run_lines import lines
from didact.report.run_page import Run, run_page
from didact.report.version_files import REPORT
from didact.store.layout import TRAINED_ON

_PHASES = ("pretrain", "finetune", "preference")
_METRICS = "metrics.jsonl"


def is_run(folder: Path) -> bool:
    """Whether a path is a run's folder."""
    return (folder / TRAINED_ON).is_file()


def write_run_report(folder: Path, out: Path | None = None) -> str:
    """Write the page of a run to `out`, or into the run's folder; where it was written. The run may still go on."""
    place = out if out is not None else folder / REPORT
    write_atomic(place, run_page(read_run(folder)).encode())
    return str(place)


def read_run(folder: Path) -> Run:
    """What a run's folder says. Raises StoreError when a file in it is broken."""
    phases = {name: lines(folder / name / _METRICS) for name in _PHASES if (folder / name / _METRICS).is_file()}
    evaluations: dict[str, Any] = {}
    for phase in _PHASES:
        record = folder / f"evaluation-{phase}.json"
        if record.is_file():
            evaluations[phase] = read_json(record)["evaluation"]
    whole = folder.resolve()
    version = read_json(folder / TRAINED_ON)["version"]
    ended = (folder / "run.json").is_file()
    return Run(f"{whole.parent.name}/{whole.name}", version, phases, evaluations, ended)
