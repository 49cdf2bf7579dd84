"""What a run did, as tables for a terminal: losses, scores beside their baselines, sample answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType

from didact.report.summary import plain_console, table
from didact.text.shown import shortened

_BARS = "▁▂▃▄▅▆▇█"
_SHOWN = 100
"""Characters of a question or an answer shown."""


def run_summary(metrics: Mapping[str, Any]) -> RenderableType:
    """Phases, scores before and after fine-tuning, sample answers."""
    evaluations = metrics["evaluations"]
    parts: list[RenderableType] = [_phases(metrics["phases"]), _data(metrics["phases"])]
    parts += [_curves(name, phase["validations"]) for name, phase in metrics["phases"].items() if phase["validations"]]
    # A classifier answers no tasks: its scores stand in a table of their own.
    for reads in (False, True):
        some = {name: found for name, found in evaluations.items() if (name == "classifier") == reads}
        parts += [evaluation_summary(some)] if some else []
    return Group(*parts)


def evaluation_summary(evaluations: Mapping[str, Any]) -> RenderableType:
    """Bits per byte, scores beside their baselines, and sample answers, of one or several evaluations by name."""
    return Group(_bits(evaluations), _scores(evaluations), _samples(list(evaluations.values())[-1]))


def print_run(metrics: Mapping[str, Any], console: Console | None = None) -> None:
    """Print what a run did on stdout."""
    (console or plain_console()).print(run_summary(metrics))


def _phases(phases: Mapping[str, Any]) -> RenderableType:
    rows = []
    for name, phase in phases.items():
        validation = phase["validation_loss"]
        seconds = max(phase["seconds"], 1e-9)
        rows.append(
            [
                name,
                phase["steps"],
                phase["tokens"],
                f"{phase['tokens'] / seconds:,.0f}",
                f"{phase['seconds']:.0f}",
                f"{phase['train_loss']:.3f}",
                "–" if validation is None else f"{validation:.3f}",
            ]
        )
    return table(
        "Training (losses in nats per trained token; of preferences per pair, of classifiers per text)",
        ["phase", "steps", "tokens", "tokens/s", "seconds", "train loss", "validation loss"],
        rows,
    )


def _data(phases: Mapping[str, Any]) -> RenderableType:
    """What packing made of each phase's data: counts, and beside them shares of records and of tokens."""
    kinds = ("used", "lost", "split", "truncated", "repeated", "padded")
    rows = []
    for name, phase in phases.items():
        for unit, of in phase["data"]["shares"].items():
            told = (f"{of[kind]:.2%}" if kind in of else "–" for kind in kinds)
            rows.append([name, unit, phase["data"]["documents" if unit == "records" else "tokens"], *told])
    title = "Data (lost: over-long, untrained or empty; padded: room left open in rows, which costs nothing)"
    return table(title, ["phase", "unit", "count", *kinds], rows, left=2)


_LOSSES = {
    "dropped_over_long": "longer than the context",
    "dropped_untrained": "without a trained token",
    "dropped_empty": "empty or not to be rendered",
    "dropped_equal": "with the same answer twice",
}


def data_line(told: Mapping[str, Any]) -> str:
    """What packing made of the data, in one line; `told` is the report of a plan."""
    parts = [f"{told[kind]:,} {kind}" for kind in ("whole", "split", "truncated") if told[kind]]
    parts += [f"{told[kind]:,} left out ({why})" for kind, why in _LOSSES.items() if told.get(kind)]
    share = told["shares"]["tokens"]
    tail = f", {100 * share['repeated']:.1f} % of them repeats" if share["repeated"] else ""
    return (
        f"{told['documents']:,} records: {', '.join(parts)}; {told['tokens']:,} tokens in {told['rows']:,} rows, "
        f"{100 * share['used']:.1f} % of all, {100 * share['padded']:.1f} % of the rows open{tail}{_curriculum(told)}"
    )


def derived_line(derived: Mapping[str, Any]) -> str:
    """What was worked out for a phase, in one line: every size, the batch, the rate, the length, the device."""
    heads = f"{derived['heads']} heads ({derived['kv_heads']} of keys)"
    return (
        f"{derived['parameters']:,} parameters: {derived['layers']} layers of {derived['width']}, {heads}, "
        f"feed-forward {derived['ffn']}, vocabulary {derived['vocabulary']:,}, context {derived['context']:,}; "
        f"{derived['steps']:,} steps of {derived['batch_tokens']:,} tokens, {derived['tokens']:,} in all, "
        f"{derived['tokens_at_once']:,} at once; peak rate {derived['learning_rate']:.2g}; {derived['device']}, "
        f"{derived['precision']}, {derived['processes']} {'process' if derived['processes'] == 1 else 'processes'}"
    )


def _curriculum(told: Mapping[str, Any]) -> str:
    """Where the phases of a curriculum begin, and which of them the run is too short for."""
    phases: Mapping[str, Any] = told.get("phases", {})
    if not phases:
        return ""
    steps = round(told["planned_epochs"] * told["steps_per_epoch"])
    late = [name for name, phase in phases.items() if phase["first_step"] >= steps]
    begins = ", ".join(f"{name} from step {phase['first_step'] + 1:,}" for name, phase in phases.items())
    missed = f"; the run ends after {steps:,} steps, before {', '.join(late)}" if late else ""
    return f"; phases: {begins}{missed}"


_UNITS = {"preference": "pair", "encoder": "hidden token", "classifier": "text"}
"""What losses are told per, where it is not a trained token."""


def _curves(phase: str, validations: list[Mapping[str, Any]]) -> RenderableType:
    """Validation losses over the run, in all and of each source: first, best, last, and their course; then the other
    measures, where `best` is theirs when the loss was best.
    """
    courses = {"all": [found["loss"] for found in validations]}
    for source in sorted({source for found in validations for source in found.get("sources", {})}):
        courses[source] = [found["sources"][source] for found in validations if source in found.get("sources", {})]
    rows = [
        [name, f"{course[0]:.3f}", f"{min(course):.3f}", f"{course[-1]:.3f}", sparkline(course)]
        for name, course in courses.items()
    ]
    best = min(validations, key=lambda found: found["loss"]).get("measures", {})
    for name, value in best.items():
        course = [found["measures"][name] for found in validations]
        told = (f"{number:.3f}" for number in (course[0], value, course[-1]))
        rows.append([name.replace("_", " "), *told, sparkline(course)])
    title = f"Validation of {phase} (nats per {_UNITS.get(phase, 'trained token')}, {len(validations)} times)"
    return table(title, ["source", "first", "best", "last", "course"], rows)


def sparkline(values: Sequence[float]) -> str:
    """Values as a line of bars of eight heights, the lowest value the lowest bar; at most 40, evenly chosen.

    >>> sparkline([3.0, 2.0, 1.0])
    '█▄▁'
    """
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return ""
    step = max(1, -(-len(known) // 40))
    shown = [*known[:-1:step], known[-1]]
    low, high = min(shown), max(shown)
    return "".join(_BARS[int((value - low) / ((high - low) or 1) * (len(_BARS) - 1))] for value in shown)


def _bits(evaluations: Mapping[str, Any]) -> RenderableType:
    last = list(evaluations.values())[-1]
    ngrams = last.get("ngram_bits", {})
    names = list(dict.fromkeys(name for found in ngrams.values() for name in found))
    rows = [
        [
            mix,
            *(f"{evaluation['bits_per_byte'].get(mix, math.nan):.3f}" for evaluation in evaluations.values()),
            *(f"{ngrams.get(mix, {}).get(name, math.nan):.3f}" for name in names),
        ]
        for mix in sorted(last["bits_per_byte"])
    ]
    title = "Bits per byte of held-out text" + (" (n-grams: counted in the mix's training text)" if names else "")
    return table(title, ["mix", *(f"after {phase}" for phase in evaluations), *names], rows)


def _scores(evaluations: Mapping[str, Any]) -> RenderableType:
    last = list(evaluations.values())[-1]["tasks"]
    scores = {
        phase: {task["task"]: task["score"] for task in evaluation["tasks"]}
        for phase, evaluation in evaluations.items()
    }
    rows = []
    for task in last:
        name = task["task"]
        score = task["score"]
        own = [_percent(scores[phase].get(name, {}).get("mean")) for phase in evaluations]
        rows.append(
            [
                name,
                task["metric"],
                score["n"],
                *own,
                f"{_percent(score['low'])}–{_percent(score['high'])}",
                _percent(task["chance"]),
                _percent(task["neighbour"]),
            ]
        )
    if last:
        means = [_percent(evaluation["mean_score"]) for evaluation in evaluations.values()]
        rows.append(
            [
                "mean",
                "",
                sum(task["score"]["n"] for task in last),
                *means,
                "",
                *(_mean(last, key) for key in ("chance", "neighbour")),
            ]
        )
    return table(
        "Scores on held-out prompts, % (95 % interval; chance: best constant answer or blind choice; neighbour: answer "
        "of the most similar training prompt)",
        ["task", "metric", "n", *(f"after {phase}" for phase in evaluations), "interval", "chance", "neighbour"],
        rows,
        left=2,
    )


def _samples(evaluation: Mapping[str, Any]) -> RenderableType:
    rows = []
    for task in evaluation["tasks"]:
        for answered in task["answers"][:1]:
            reference = answered["references"][0] if answered["references"] else ""
            rows.append(
                [
                    task["task"],
                    shortened(answered["question"], _SHOWN),
                    shortened(answered["answer"], _SHOWN),
                    shortened(reference, _SHOWN),
                    "yes" if answered["score"] >= 1 else "no",
                ]
            )
    return table("Sample answers", ["task", "question", "answer", "reference", "right"], rows, left=5)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def _mean(tasks: list[Mapping[str, Any]], key: str) -> str:
    known = [task[key] for task in tasks if task[key] is not None]
    return _percent(sum(known) / len(known)) if known else "–"
