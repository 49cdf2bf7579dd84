"""Random mixes over random sources, and what a refusal tells to write instead, written."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import yaml
from hypothesis import strategies as st

from didact.curate.draw import Drawn, Ordered, Supply, draw, in_training_order
from didact.curate.nearest import plan_mix
from didact.recipe.mixes import Mix


def supply(sizes: list[int], first: int = 0) -> Supply:
    """A source whose rows have these sizes and ids that count from `first`."""
    return Supply(np.arange(first, first + len(sizes), dtype=np.uint64), np.array(sizes, np.int64))


def supplies_of(sources: list[list[int]]) -> dict[str, Supply]:
    """Sources named by their numbers; ids differ over all of them."""
    return {str(number): supply(sizes, 1000 * number) for number, sizes in enumerate(sources)}


@dataclass(frozen=True)
class Mixed:
    """A mix carried out: planned amounts by phase, rows of each source, and all of them in order."""

    planned: list[dict[str, int]]
    drawn: dict[str, Drawn]
    order: Ordered
    ids: list[int]


def carried_out(mix: Mix, supplies: dict[str, Supply]) -> Mixed:
    """What a build does with a mix. Raises ImpossibleMix."""
    there = {name: supplies[name] for name in mix.taking_part}
    plan = plan_mix("m", mix, there)
    drawn = {name: draw(name, own, plan.of(name), "key") for name, own in there.items()}
    order = in_training_order(list(drawn.values()), [own.sizes for own in there.values()])
    names = list(there)
    ids = [int(there[names[s]].ids[r]) for s, r in zip(order.sources.tolist(), order.rows.tolist(), strict=True)]
    return Mixed(plan.phases, drawn, order, ids)


SIZES = st.lists(
    st.tuples(st.sampled_from([1, 10]), st.lists(st.integers(0, 9), min_size=1, max_size=12)).map(
        lambda pair: [pair[0] * size for size in pair[1]]
    ),
    min_size=1,
    max_size=4,
)
"""Sizes of the rows of one to four sources; some are ten times those of others, some nothing."""

_SHARES = st.one_of(st.floats(0.01, 1), st.integers(1, 5))


@st.composite
def _blends(draw_: st.DrawFn, names: list[str]) -> dict[str, Any]:
    """Settings of one phase."""
    chosen = draw_(st.lists(st.sampled_from(names), min_size=1, unique=True))
    heated = draw_(st.booleans())
    sources: dict[str, Any] = {}
    for name in chosen:
        kind = draw_(st.sampled_from(["share", "share", "share", "epochs", "count"]))
        value = {"share": _SHARES, "epochs": st.floats(0.1, 3), "count": st.integers(1, 60)}[kind]
        sources[name] = {} if heated and kind == "share" else {kind: draw_(value)}
        if kind != "epochs" and draw_(st.booleans()):
            sources[name]["max_epochs"] = draw_(st.floats(0.5, 3))
    blend: dict[str, Any] = {"sources": sources}
    if heated:
        blend["temperature"] = draw_(st.sampled_from([1, 1.5, 2, 100]))
        blend["cap"] = draw_(st.sampled_from([None, 5, 40]))
    if draw_(st.booleans()):
        blend["budget"] = draw_(st.integers(1, 200))
    blend["on_exhaust"] = draw_(st.sampled_from(["error", "renormalise", {"repeat": 2}, {"repeat": 5}]))
    return blend


@st.composite
def mixes(draw_: st.DrawFn) -> tuple[dict[str, Any], list[list[int]]]:
    """Settings of a mix with or without phases, and the sizes of the rows of its sources."""
    sizes = draw_(SIZES)
    names = [str(number) for number in range(len(sizes))]
    if draw_(st.booleans()):
        return {"unit": "tokens", **draw_(_blends(names))}, sizes
    phases = draw_(st.lists(_blends(names), min_size=1, max_size=3))
    return {"unit": "tokens", "phases": phases}, sizes


def pasted(settings: dict[str, Any], message: str) -> list[dict[str, Any]]:
    """The settings of mix `m` after each of the ways that a refusal names, read off its text."""
    _, _, ways = message.partition("; possible: ")
    return [_written(settings, way.split(" and ")) for way in ways.split("; or ")] if ways else []


def _written(settings: dict[str, Any], changes: list[str]) -> dict[str, Any]:
    changed = copy.deepcopy(settings)
    for change in changes:
        key, _, value = change.removeprefix("without ").partition(": ")
        place: Any = changed
        path = [int(part) if part.isdigit() and at else part for part, at in _parts(key)]
        for part in path[:-1]:
            place = place[part]
        if change.startswith("without "):
            del place[path[-1]]
        else:
            place[path[-1]] = yaml.safe_load(value)
    return changed


def _parts(key: str) -> list[tuple[str, bool]]:
    """Parts of a path after `mixes.m.`, and whether each stood in brackets."""
    found = re.findall(r"([^.\[\]]+)(\])?", key.removeprefix("mixes.m."))
    return [(part, bool(bracket)) for part, bracket in found]
