"""What a build would do, as tables for a terminal."""

from __future__ import annotations

from rich.console import Console, Group, RenderableType
from rich.text import Text

from didact.report.plan_json import BuildPlan, Estimate, Sampled, SourcePlan, StagePlan
from didact.report.summary import plain_console, table
from didact.text.shown import told_bytes


def print_plan(plan: BuildPlan, console: Console | None = None) -> None:
    """Print the plan on stdout."""
    (console or plain_console()).print(plan_summary(plan))


def plan_summary(plan: BuildPlan) -> RenderableType:
    """The plan, top to bottom: whether anything runs, then what, then room on disk."""
    if plan.version is not None:
        told = f"{plan.name}@{plan.version} is built already from these inputs and settings: nothing would run."
        return Group(Text(f"plan {plan.plan}"), Text(told), *_sample(plan))
    parts = [Text(f"plan {plan.plan}: would make a new version of {plan.name} in {plan.store}"), _sources(plan)]
    return Group(*parts, _stages(plan), *_sample(plan), Text(_space(plan)))


def _sources(plan: BuildPlan) -> RenderableType:
    return table(
        "Per record: read, clean, measure",
        ["source", "why", "files", "rows", "chunks", "on file", "run", "rows to run"],
        [
            [one.source, _why(one), one.files, one.rows, one.chunks, one.reused, one.run, one.run_rows]
            for one in plan.sources
        ],
        left=2,
    )


def _why(source: SourcePlan) -> str:
    if not source.because:
        return "every chunk is on file" if source.chunks else "no rows"
    return "\n".join(f"{one.reason}" + (f" ({one.chunks})" if source.run > 1 else "") for one in source.because)


def _stages(plan: BuildPlan) -> RenderableType:
    return table(
        "All rows",
        ["stage", "state", "why"],
        [[one.stage, one.state, _because(one)] for one in plan.stages],
        left=3,
    )


def _because(stage: StagePlan) -> str:
    return "\n".join(map(str, stage.because)) or ("on file" if stage.state == "reused" else "kept nowhere else")


def _space(plan: BuildPlan) -> str:
    space = plan.space
    results = told_bytes(space.results - space.on_file)
    told = (
        f"Disk: about {told_bytes(space.needed)} to be written ({results} of results, "
        f"{told_bytes(space.version)} of the version), {told_bytes(space.free)} free."
    )
    return told if plan.enough_space else f"{told} Not enough: the build would refuse to start."


def _sample(plan: BuildPlan) -> list[RenderableType]:
    """What the sample says: rejected codes, every bound, what passes, and times."""
    sample = plan.sample
    if sample is None:
        return []
    rows = [
        [one.source, f"rejected {code}", *_estimated(found)]
        for one in sample.sources
        for code, found in sorted(one.rejected.items())
    ]
    for one in sample.sources:
        rows += [[one.source, "left out by where", *_estimated(one.unselected)]] if one.unselected.seen else []
        rows += [[one.source, f"filter {bound.reason}", *_estimated(bound.drops)] for bound in one.bounds]
        rows.append([one.source, "passes", *_estimated(one.kept)])
        rows += [[one.source, f"tokens, {purpose}", *_estimated(found)] for purpose, found in one.tokens.items()]
    columns = ["source", "what", "in the sample", "in all, about", "95 % interval"]
    title = f"Sample: {sample.rows:,} rows of each source, or all it has"
    return [table(title, columns, rows, left=2), Text(_twins(sample)), Text(_times(sample))]


def _estimated(found: Estimate) -> list[object]:
    return [found.seen, f"{found.estimate:,.0f}", f"{found.low:,.0f} to {found.high:,.0f}"]


def _twins(sample: Sampled) -> str:
    twins = [f"{one.source} {one.exact_duplicates:,}" for one in sample.sources if one.exact_duplicates]
    told = ", ".join(twins) if twins else "none"
    return f"Exact duplicates within the sample: {told}. The sources have at least as many; most copies are not in it."


def _times(sample: Sampled) -> str:
    each = ", ".join(f"{stage} {seconds:,.1f} s" for stage, seconds in sample.seconds.items())
    unknown = ", ".join(sample.not_estimated)
    left = f"; not estimated, since no build of this store tells: {unknown}" if unknown else ""
    results = told_bytes(sample.results_bytes)
    return f"Time, with {sample.workers} workers: {each or 'none'}{left}.\nChunk results by the sample: {results}."
