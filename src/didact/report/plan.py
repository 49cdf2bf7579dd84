"""What a build would do, as tables for a terminal."""

from __future__ import annotations

from rich.console import Console, Group, RenderableType
from rich.text import Text

from didact.report.plan_json import BuildPlan, SourcePlan, StagePlan
from didact.report.summary import plain_console, table
from didact.text.shown import told_bytes


def print_plan(plan: BuildPlan, console: Console | None = None) -> None:
    """Print the plan on stdout."""
    (console or plain_console()).print(plan_summary(plan))


def plan_summary(plan: BuildPlan) -> RenderableType:
    """The plan, top to bottom: whether anything runs, then what, then room on disk."""
    if plan.version is not None:
        told = f"{plan.name}@{plan.version} is built already from these inputs and settings: nothing would run."
        return Group(Text(f"plan {plan.plan}"), Text(told))
    parts = [Text(f"plan {plan.plan}: would make a new version of {plan.name} in {plan.store}"), _sources(plan)]
    return Group(*parts, _stages(plan), Text(_space(plan)))


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
