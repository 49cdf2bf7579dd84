"""Nearest: a mix as planned, or a refusal that names the nearest possible ones in keys and values of the recipe."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from didact.curate.draw import Supply
from didact.curate.mix import Change, MixPlan, Shortage, amounts_of
from didact.errors import ImpossibleMix
from didact.recipe.mixes import Mix

_MOST_REPEATS = 100
_MOST_REPAIRS = 200

_Placed = tuple[int, Change]
"""A change and the phase whose settings it is made to."""


def plan_mix(name: str, mix: Mix, supplies: Mapping[str, Supply]) -> MixPlan:
    """The amount each source gives in each phase, in the mix's unit.

    Raises ImpossibleMix when the sources cannot supply it. The message tells which changes of the recipe make the mix
    possible, as `key: value` with the key's path: the nearest amounts under the same rules, and other rules for
    exhausted sources, where these help. Each was tried.
    """
    try:
        return amounts_of(mix, supplies)
    except Shortage as short:
        where = f"mixes.{name}" + (f".phases[{short.phase}]" if mix.phases else "")
        ways = [_told(name, mix, way) for way in _ways(mix, supplies, short)]
        told = f"possible: {'; or '.join(ways)}" if ways else "nothing of it can be mixed; look at the sources' filters"
        raise ImpossibleMix(f"{where}: {short}; {told}") from short


def _ways(mix: Mix, supplies: Mapping[str, Supply], short: Shortage) -> Iterator[list[_Placed]]:
    """Sets of changes that make the mix possible, the nearest one first."""
    nearest = _repaired(mix, supplies)
    if nearest:
        yield nearest
    repeats: Iterable[Any] = ({"repeat": number} for number in range(2, _MOST_REPEATS + 1))
    for rules in (repeats, ["renormalise"]):
        tried: Iterator[list[_Placed]] = ([(short.phase, (("on_exhaust",), rule))] for rule in rules)
        helps = next((changes for changes in tried if _possible(mix, changes, supplies)), None)
        if helps:
            yield helps


def _possible(mix: Mix, changes: list[_Placed], supplies: Mapping[str, Supply]) -> bool:
    changed = _changed(mix, changes)
    return changed is not None and _shortage(changed, supplies) is None


def _repaired(mix: Mix, supplies: Mapping[str, Supply]) -> list[_Placed] | None:
    """The changes that every shortage asks for, one after the other; None when that leads nowhere."""
    changes: list[_Placed] = []
    for _ in range(_MOST_REPAIRS):
        repaired = _changed(mix, changes)
        short = None if repaired is None else _shortage(repaired, supplies)
        if short is None:
            return None if repaired is None else changes
        changes = _merged(changes, [(short.phase, change) for change in short.changes])
    return None


def _merged(before: list[_Placed], more: list[_Placed]) -> list[_Placed]:
    """Both, where a later change of a key, or of what it stands in, takes the place of an earlier one."""
    kept = [
        (phase, (path, value))
        for phase, (path, value) in before
        if not any(phase == other and path[: len(new)] == new for other, (new, _) in more)
    ]
    return kept + more


def _shortage(mix: Mix, supplies: Mapping[str, Supply]) -> Shortage | None:
    try:
        amounts_of(mix, supplies)
    except Shortage as short:
        return short
    return None


def _changed(mix: Mix, changes: Iterable[_Placed]) -> Mix | None:
    """The mix with changes made; None where that is no valid mix any more."""
    settings = mix.model_dump(exclude_unset=True)
    for phase, (path, value) in changes:
        place: Any = settings["phases"][phase] if mix.phases else settings
        for key in path[:-1]:
            place = place[key]
        if value is None:
            place.pop(path[-1])
        else:
            place[path[-1]] = value
    try:
        return Mix.model_validate(settings)
    except ValidationError:
        return None


def _told(name: str, mix: Mix, changes: Iterable[_Placed]) -> str:
    """Changes as a person writes them into the recipe."""
    told = []
    for phase, (path, value) in changes:
        key = ".".join([f"mixes.{name}" + (f".phases[{phase}]" if mix.phases else ""), *path])
        written = f"{{repeat: {value['repeat']}}}" if isinstance(value, dict) else value
        told.append(f"without {key}" if value is None else f"{key}: {written}")
    return " and ".join(told)
