"""What a sample says of the time and room that a whole build takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from didact.build.sample import Sampler, Tried
from didact.recipe.load import Recipe
from didact.report.plan_json import BuildPlan, Sampled
from didact.store.layout import BUILD, Store

_READ, _COUNTS, _BOTH = "read, clean, measure", "counts", "tokenizer and counts"
_WHOLE = ("filter", "deduplicate", "split", "mix", "shards")
"""Stages that need all rows, by their names in `build.json`."""


def sampled(plan: BuildPlan, tried: Tried, sampler: Sampler, recipe: Recipe, store: Store, workers: int) -> Sampled:
    """The sample's part of a plan."""
    settings = recipe.tokenizer
    seconds, unknown = _seconds(plan, tried, store, workers) if plan.version is None else ({}, [])
    return Sampled(
        rows=sampler.rows,
        tokenizer=None if settings is None else "sample" if settings.file is None else "file",
        sources=tried.sources,
        workers=workers,
        seconds={stage: round(value, 3) for stage, value in seconds.items()},
        not_estimated=unknown,
        results_bytes=int(sum(one.run_rows * tried.row_bytes.get(one.source, 0) for one in plan.sources)),
    )


def _seconds(plan: BuildPlan, tried: Tried, store: Store, workers: int) -> tuple[dict[str, float], list[str]]:
    """Seconds of each stage that runs, and the stages of which nothing is known."""
    run = {one.source: one.run_rows * tried.row_seconds.get(one.source, 0.0) for one in plan.sources}
    found, unknown = {_READ: sum(run.values()) / workers}, []
    rows = sum(one.kept.estimate for one in tried.sources)
    past = _past(store)
    state = {one.stage: one.state for one in plan.stages}
    for stage in _WHOLE:
        if state.get(stage) == "reused":
            continue
        if stage in past:
            found[stage] = past[stage] * rows
        else:
            unknown.append(stage)
    counted = [one.stage for one in plan.stages if one.stage.startswith("counts of") and one.state == "runs"]
    if state.get("tokenizer") == "runs" and _BOTH in past:
        found[_BOTH] = past[_BOTH] * rows
    elif counted:
        kept = {one.source: one.kept.estimate for one in tried.sources}
        each = (kept[stage.removeprefix("counts of ").rpartition(", ")[0]] for stage in counted)
        found[_COUNTS] = sum(each) * tried.count_seconds / workers
        unknown += ["tokenizer"] if state.get("tokenizer") == "runs" else []
    return found, unknown


def _past(store: Store) -> Mapping[str, float]:
    """Seconds for a row of each stage, in the largest build of the store that ran it."""
    found: dict[str, tuple[int, float]] = {}
    builds = store.folder("builds")
    for name, is_folder in builds.children().items():
        record: dict[str, Any] | None = (builds / name).read_json(BUILD) if is_folder else None
        for stage in record.get("stages", []) if record is not None else []:
            rows = stage.get("rows", 0)
            if rows > found.get(stage["stage"], (0, 0.0))[0]:
                found[stage["stage"]] = rows, stage["seconds"] / rows
    return {stage: seconds for stage, (_, seconds) in found.items()}
