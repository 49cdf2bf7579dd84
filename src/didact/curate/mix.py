"""Mix: how much each source gives in each phase, exactly, or why that cannot be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from didact.curate.draw import Supply
from didact.curate.shares import as_written, largest_remainder, temperature_shares, within_limits
from didact.recipe.mixes import Blend, Mix

Change = tuple[tuple[str, ...], Any]
"""Path of a key inside a blend and the value to write there; None: remove the key."""


class Shortage(Exception):
    """What a phase asks for cannot be given; `changes` to its settings bring it nearest to what was asked.

    `plan_mix` makes of it an ImpossibleMix that tells the whole way.
    """

    def __init__(self, phase: int, reason: str, *changes: Change) -> None:
        super().__init__(reason)
        self.phase = phase
        self.changes = changes


@dataclass(frozen=True, slots=True)
class MixPlan:
    """The amount each source gives in each phase, in the mix's unit, and who ran out there."""

    phases: list[dict[str, int]]
    exhausted: list[set[str]]

    def of(self, source: str) -> list[int]:
        """MixPlan of one source, phase by phase."""
        return [amounts.get(source, 0) for amounts in self.phases]


def amounts_of(mix: Mix, supplies: Mapping[str, Supply]) -> MixPlan:
    """The amount each source gives in each phase. Raises Shortage when the sources cannot supply it."""
    given = dict.fromkeys(supplies, 0)
    planned = MixPlan([], [])
    for place, blend in enumerate(mix.blends):
        amounts, out = _Portioning(place, blend, mix.unit.replace("_", " "), supplies, given).amounts()
        given = {source: amount + amounts.get(source, 0) for source, amount in given.items()}
        planned.phases.append(amounts)
        planned.exhausted.append(out)
    return planned


@dataclass(frozen=True, slots=True)
class _Portioning:
    """One phase: its settings, what the sources have, and what they gave in the phases before."""

    phase: int
    blend: Blend
    unit: str
    supplies: Mapping[str, Supply]
    given: Mapping[str, int]

    def amounts(self) -> tuple[dict[str, int], set[str]]:
        """What each source gives, and which ran out."""
        for source in sorted(self.blend.sources):
            if self.supplies[source].total == 0:
                raise self._short(f"source '{source}' has no {self.unit} for training", (("sources", source), None))
        fixed, shares = self._fixed(), self._shares()
        if shares:
            parts, out = self._shared(self._pool(fixed, shares), shares, sum(fixed.values()))
            return fixed | parts, out
        total = sum(fixed.values())
        if self.blend.budget not in (None, total):
            raise self._short(
                f"the sources' counts and epochs add up to {total} {self.unit}, the budget is {self.blend.budget}",
                (("budget",), total),
            )
        return fixed, set()

    def _short(self, reason: str, *changes: Change) -> Shortage:
        return Shortage(self.phase, reason, *changes)

    def _fixed(self) -> dict[str, int]:
        """Counts and epochs, which are given in full. Raises Shortage when a count is more than there is."""
        fixed = {}
        for source, portion in sorted(self.blend.sources.items()):
            if portion.epochs is not None:
                fixed[source] = round(as_written(portion.epochs) * self.supplies[source].total)
            elif portion.count is not None:
                fixed[source] = portion.count
                left = self._left(source, self.blend.repeats)
                if portion.count > left:
                    change: Change = (("sources", source, "count"), left) if left else (("sources", source), None)
                    asked = f"source '{source}': {portion.count} {self.unit} asked for"
                    raise self._short(f"{asked}, at most {left} can be given", change)
        return fixed

    def _shares(self) -> dict[str, Fraction]:
        open_ = [name for name, portion in sorted(self.blend.sources.items()) if not (portion.epochs or portion.count)]
        if self.blend.temperature is not None:
            sizes = {name: self.supplies[name].total for name in open_}
            return temperature_shares(sizes, self.blend.temperature, self.blend.cap)
        return {name: as_written(self.blend.sources[name].share or 0) for name in open_}

    def _left(self, source: str, repeats: int) -> int:
        """The most a source may still give: its own `max_epochs`, else `repeats` epochs, less what it gave before."""
        most = self.blend.sources[source].max_epochs
        limit = int(as_written(float(repeats if most is None else most)) * self.supplies[source].total)
        return max(0, limit - self.given[source])

    def _pool(self, fixed: Mapping[str, int], shares: Mapping[str, Fraction]) -> int:
        """What the shares divide. Raises Shortage when that is nothing."""
        if self.blend.budget is not None:
            total = sum(fixed.values())
            if self.blend.budget <= total:
                told = f"a budget of {self.blend.budget} {self.unit} leaves nothing to share after the fixed {total}"
                raise self._short(told, (("budget",), total + 1))
            return self.blend.budget - total
        left = {source: self._left(source, 1) for source in shares}
        if self.blend.on_exhaust == "renormalise" and any(left.values()):
            left = {source: amount for source, amount in left.items() if amount}
        return self._most(left, {source: shares[source] for source in left})

    def _most(self, left: Mapping[str, int], shares: Mapping[str, Fraction]) -> int:
        """The largest amount that divides by the shares without anyone giving more than it has left.

        Raises Shortage when somebody has nothing left.
        """
        for source in sorted(shares):
            if not left[source]:
                told = f"source '{source}' has nothing left to give: it was seen as often as allowed"
                raise self._short(told, (("sources", source), None))
        whole = sum(shares.values(), Fraction())
        return int(min(left[source] * whole / share for source, share in shares.items()))

    def _shared(self, pool: int, shares: Mapping[str, Fraction], fixed: int) -> tuple[dict[str, int], set[str]]:
        """The pool divided by the shares, by the rule for sources that run out."""
        left = {source: self._left(source, self.blend.repeats) for source in shares}
        if self.blend.on_exhaust == "renormalise":
            most = sum(left.values())
            if most < pool:
                told = f"{pool} {self.unit} to share, all sources together can give {most}"
                without = [(("sources", source), None) for source in shares]
                raise self._short(told, *([(("budget",), fixed + most)] if most else without))
            return within_limits(pool, shares, left)
        parts = largest_remainder(pool, shares)
        short = sorted((source for source in shares if parts[source] > left[source]), key=lambda s: left[s] / shares[s])
        if short:
            told = f"source '{short[0]}' should give {parts[short[0]]} {self.unit} and can give {left[short[0]]}"
            raise self._short(told, self._nearest(short[0], left, shares, fixed))
        return parts, set()

    def _nearest(self, worst: str, left: Mapping[str, int], shares: Mapping[str, Fraction], fixed: int) -> Change:
        """The largest budget below the one asked for that the sources can supply; else the phase without the worst."""
        if not left[worst]:
            return ("sources", worst), None
        possible = self._most(left, shares)
        while all(part <= left[source] for source, part in largest_remainder(possible + 1, shares).items()):
            possible += 1
        return ("budget",), fixed + possible
