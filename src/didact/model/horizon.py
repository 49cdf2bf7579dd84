"""How many steps a run takes: from tokens, epochs, or the time it may use."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from didact.durable import read_json, write_json
from didact.model.batches import BatchPlan
from didact.recipe.training import TrainingSettings


def planned_steps(
    settings: TrainingSettings, plan: BatchPlan, folder: Path, seconds_per_step: Callable[[], float]
) -> int:
    """Length of the run: the smallest of its limits, one epoch when there is none.

    A limit in minutes is turned into steps once, by `seconds_per_step`, and kept in `horizon.json` for later resumes.
    """
    limits = []
    if settings.tokens is not None:
        limits.append(math.ceil(settings.tokens / plan.tokens_per_step))
    if settings.epochs is not None:
        limits.append(math.ceil(settings.epochs * plan.steps_per_epoch))
    if settings.minutes is not None:
        limits.append(_steps_in_time(settings.minutes, folder / "horizon.json", seconds_per_step))
    return max(1, min(limits or [plan.steps_per_epoch]))


def _steps_in_time(minutes: float, path: Path, seconds_per_step: Callable[[], float]) -> int:
    if path.is_file():
        kept: int = read_json(path)["steps"]
        return kept
    seconds = seconds_per_step()
    steps = max(1, int(minutes * 60 / seconds))
    write_json(path, {"minutes": minutes, "seconds_per_step": seconds, "steps": steps})
    return steps
