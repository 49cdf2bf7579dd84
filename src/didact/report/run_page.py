"""A training run as one web page: how losses fell, on which sources, what it scores, what it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from didact.report.curves import CURVE_STYLE, curves
from didact.report.page import cell, excerpt, number, page, table, text

_SOURCES = 24
"""Sources whose curves are drawn; of more those with the highest last losses."""
_ANSWERS = 5
"""Answers shown of a task."""
_EXCERPT = 400
"""Characters of a question or an answer."""

_STYLE = (
    CURVE_STYLE
    + """
h3 { font-size: 1rem; margin: 1.25rem 0 .25rem; } .said { overflow-wrap: anywhere; white-space: pre-wrap; }
figure { margin: .5rem 0; } figcaption { color: var(--soft); } ul.examples { list-style: none; padding: 0; }
li { border-top: 1px solid var(--line); overflow: hidden; padding-top: .4rem; }
@media (max-width: 40rem) { body { padding: 1rem; } }
"""
)


@dataclass(frozen=True, slots=True)
class Run:
    """What a run's folder says of it."""

    name: str
    version: str
    phases: Mapping[str, Sequence[Mapping[str, Any]]]
    """Lines of `metrics.jsonl`, by phase."""
    evaluations: Mapping[str, Mapping[str, Any]]
    """By the phase they followed."""
    ended: bool


def run_page(run: Run) -> str:
    """The page; it depends on what is in the run's folder alone."""
    state = "" if run.ended else " It has not ended: this is what it has reported so far."
    parts = [f"<h1>{text(run.name)}</h1>", f'<p class="soft">Trained on version {text(run.version)}.{state}</p>']
    parts += [_phase(name, lines) for name, lines in run.phases.items() if lines]
    if run.evaluations:
        parts += ["<h2>Scores</h2>", _bits(run.evaluations), _scores(run.evaluations), "<h2>Answers</h2>"]
        phase, last = list(run.evaluations.items())[-1]
        parts += [f'<p class="soft">After {text(phase)}.</p>', *map(_answers, last["tasks"])]
    return page(run.name, "\n".join(part for part in parts if part), _STYLE)


def _of(lines: Sequence[Mapping[str, Any]], kind: str) -> list[Mapping[str, Any]]:
    return [line for line in lines if line.get("event") == kind]


def _course(lines: Sequence[Mapping[str, Any]], key: str) -> list[tuple[float, float]]:
    return [(line["step"], line[key]) for line in lines if isinstance(line.get(key), int | float)]


def _phase(name: str, lines: Sequence[Mapping[str, Any]]) -> str:
    """Losses of one phase, of all tokens and of each source, and how fast it went."""
    steps, validations = _of(lines, "step"), _of(lines, "validation")
    losses = {"training": _course(steps, "loss"), "validation": _course(validations, "loss")}
    parts = [f"<h2>{text(name)}</h2>", _phase_facts(steps, validations)]
    parts.append(
        _figure(curves(losses, f"losses of {name}"), "Loss, nats per trained token; of preferences, per pair.")
    )
    parts.append(_by_source(validations))
    small = {"Tokens a second": "tokens_per_second", "Gradient norm": "gradient_norm", "Learning rate": "rate"}
    drawn = [
        _figure(curves({title: _course(steps, key)}, f"{title} of {name}", 320, 150), title)
        for title, key in small.items()
    ]
    return "\n".join([*parts, f'<div class="several">{"".join(drawn)}</div>'])


def _phase_facts(steps: Sequence[Mapping[str, Any]], validations: Sequence[Mapping[str, Any]]) -> str:
    if not steps:
        return "<p>No step was reported.</p>"
    best = min((line["loss"] for line in validations if line.get("loss") is not None), default=None)
    told = f"{steps[-1]['step']:,} steps, {steps[-1].get('tokens', 0):,} tokens; last loss {steps[-1]['loss']:.3f}"
    return f"<p>{told}{'' if best is None else f', best validation loss {best:.3f}'}.</p>"


def _figure(drawn: str, caption: str) -> str:
    return f"<figure>{drawn}<figcaption>{text(caption)}</figcaption></figure>" if drawn else ""


def _small(course: Sequence[tuple[float, float]], told: str, caption: str) -> str:
    return _figure(curves({"": course}, told, 320, 150), caption)


def _by_source(validations: Sequence[Mapping[str, Any]]) -> str:
    """A small chart for each source, its course over that of all."""
    found: dict[str, list[tuple[float, float]]] = {}
    for line in validations:
        for source, loss in line.get("sources", {}).items():
            found.setdefault(source, []).append((line["step"], loss))
    if len(found) < 2:
        return ""
    chosen = sorted(sorted(found, key=lambda source: -found[source][-1][1])[:_SOURCES])
    drawn = [
        _figure(
            curves({"": found[source]}, f"validation loss of {source}", 320, 150), f"{source}: {_fell(found[source])}"
        )
        for source in chosen
    ]
    left = len(found) - len(chosen)
    more = f'<p class="soft">and {left} more sources with lower losses</p>' if left else ""
    return f'<h3>Validation loss by source</h3>\n<div class="several">{"".join(drawn)}</div>{more}'


def _fell(course: Sequence[tuple[float, float]]) -> str:
    return f"{course[0][1]:.3f} → {course[-1][1]:.3f}"


def _bits(evaluations: Mapping[str, Mapping[str, Any]]) -> str:
    last = list(evaluations.values())[-1]
    ngrams: Mapping[str, Mapping[str, float]] = last.get("ngram_bits", {})
    names = list(dict.fromkeys(name for found in ngrams.values() for name in found))
    lines = []
    for mix in sorted({mix for one in evaluations.values() for mix in one["bits_per_byte"]}):
        values = [one["bits_per_byte"].get(mix) for one in evaluations.values()]
        values += [ngrams.get(mix, {}).get(name) for name in names]
        cells = (f'<td class="number">{"–" if value is None else f"{value:.3f}"}</td>' for value in values)
        lines.append(f"<tr>{cell(mix)}{''.join(cells)}</tr>")
    heads = [("mix", ""), *((f"after {text(phase)}", "number") for phase in evaluations)]
    heads += [(text(name), "number") for name in names]
    return f"<h3>Bits per byte of held-out text</h3>{table(heads, lines)}" if lines else ""


def _scores(evaluations: Mapping[str, Mapping[str, Any]]) -> str:
    """Scores of each task after each phase, beside what needs no model."""
    last = list(evaluations.values())[-1]["tasks"]
    scores = {phase: {task["task"]: task["score"] for task in one["tasks"]} for phase, one in evaluations.items()}
    lines = []
    for task in last:
        own = [_percent(scores[phase].get(task["task"], {}).get("mean")) for phase in evaluations]
        interval = f"{_percent(task['score']['low'])}–{_percent(task['score']['high'])}"
        values = [*own, interval, _percent(task["chance"]), _percent(task["neighbour"])]
        cells = "".join(f'<td class="number">{value}</td>' for value in values)
        lines.append(f"<tr>{cell(task['task'])}{cell(task['metric'])}{number(task['score']['n'])}{cells}</tr>")
    heads = [("task", ""), ("metric", ""), ("items", "number")]
    heads += [(f"after {text(phase)}", "number") for phase in evaluations]
    heads += [(name, "number") for name in ("95 % interval", "chance", "neighbour")]
    note = (
        '<p class="soft">In percent. Chance: best constant answer or blind choice; neighbour: answer of the most '
        "similar training prompt.</p>"
    )
    return f"<h3>Tasks</h3>{note}{table(heads, lines)}" if lines else ""


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def _answers(task: Mapping[str, Any]) -> str:
    shown = "".join(map(_answer, task["answers"][:_ANSWERS]))
    return f'<details open><summary>{text(task["task"])}</summary><ul class="examples">{shown}</ul></details>'


def _answer(one: Mapping[str, Any]) -> str:
    right = one["score"] >= 1
    mark = '<span class="soft">right</span>' if right else '<span class="error">not right</span>'
    reference = one["references"][0] if one["references"] else ""
    rows = [("question", one["question"]), ("answer", one["answer"]), ("reference", reference)]
    said = "".join(f'<div class="said"><b>{role}</b> {excerpt(content, _EXCERPT)}</div>' for role, content in rows)
    return f"<li>{mark}{said}</li>"
