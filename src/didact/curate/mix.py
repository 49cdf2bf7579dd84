"""Mix: how much each source gives, exactly, and in which order the rows are trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from didact.curate.order import I64, U64, keyed_order
from didact.errors import ImpossibleMix
from didact.recipe.mixes import Mix, Repeat


@dataclass(frozen=True, slots=True)
class Supply:
    """What one source can give a mix: its rows' ids and their sizes in the mix's unit."""

    ids: U64
    sizes: I64

    @property
    def total(self) -> int:
        """Size of one epoch in the mix's unit."""
        return int(self.sizes.sum())


@dataclass(frozen=True, slots=True)
class Drawn:
    """What one source gives: its rows in training order, the epoch of each, and the amount planned in the mix's
    unit.
    """

    rows: I64
    epochs: I64
    planned: int


def largest_remainder(total: int, weights: Mapping[str, float]) -> dict[str, int]:
    """Whole numbers in the ratio of the weights that add up to `total` (Hamilton's method); ties go to the first name.

    >>> largest_remainder(10, {"a": 1, "b": 1, "c": 1})
    {'a': 4, 'b': 3, 'c': 3}
    """
    weight = sum(weights.values())
    exact = {name: total * value / weight for name, value in weights.items()}
    parts = {name: int(value) for name, value in exact.items()}
    missing = total - sum(parts.values())
    for name in sorted(exact, key=lambda n: (parts[n] - exact[n], n))[:missing]:
        parts[name] += 1
    return parts


def plan_amounts(name: str, mix: Mix, supplies: Mapping[str, Supply]) -> dict[str, int]:
    """The amount each source gives, in the mix's unit.

    Raises ImpossibleMix, with the nearest possible budget, when the sources cannot supply it.
    """
    for source, supply in supplies.items():
        if supply.total == 0:
            raise ImpossibleMix(
                f"mixes.{name}: source '{source}' has no {mix.unit} for training; remove it or loosen its filters"
            )
    fixed = {
        source: _fixed_amount(mix, source, supply)
        for source, supply in supplies.items()
        if mix.sources[source].share is None
    }
    shares = {source: share for source in supplies if (share := mix.sources[source].share) is not None}
    _refuse_overdraw(name, mix, fixed, supplies)
    if not shares:
        return _within_budget(name, mix, fixed)
    weight = sum(shares.values())
    if mix.budget is None:
        pool = int(min(supplies[source].total * weight / share for source, share in shares.items()))
    else:
        pool = mix.budget - sum(fixed.values())
    if pool < len(shares):
        raise ImpossibleMix(
            f"mixes.{name}.budget: {mix.budget} {mix.unit} leaves {max(pool, 0)} to share after the fixed amounts; "
            f"raise it"
        )
    return fixed | _share_amounts(name, mix, pool, shares, supplies)


def _fixed_amount(mix: Mix, source: str, supply: Supply) -> int:
    portion = mix.sources[source]
    return portion.count if portion.count is not None else round((portion.epochs or 1.0) * supply.total)


def _limit(mix: Mix, source: str, supply: Supply) -> int:
    """The most a source may give: as many epochs as stated for it, as `repeat` allows, else one."""
    repeats = mix.on_exhaust.repeat if isinstance(mix.on_exhaust, Repeat) else 1
    return int(np.ceil(supply.total * max(repeats, mix.sources[source].epochs or 0)))


def _refuse_overdraw(name: str, mix: Mix, amounts: Mapping[str, int], supplies: Mapping[str, Supply]) -> None:
    for source, amount in amounts.items():
        limit = _limit(mix, source, supplies[source])
        if amount > limit:
            raise ImpossibleMix(
                f"mixes.{name}.sources.{source}: {amount} {mix.unit} asked for, at most {limit} can be given; lower it "
                f"or set on_exhaust: {{repeat: N}}"
            )


def _within_budget(name: str, mix: Mix, fixed: dict[str, int]) -> dict[str, int]:
    if mix.budget is not None and sum(fixed.values()) > mix.budget:
        raise ImpossibleMix(
            f"mixes.{name}.budget: the sources' counts and epochs add up to {sum(fixed.values())} {mix.unit}, the "
            f"budget is {mix.budget}"
        )
    return fixed


def _share_amounts(
    name: str, mix: Mix, pool: int, shares: dict[str, float], supplies: Mapping[str, Supply]
) -> dict[str, int]:
    limits = {source: _limit(mix, source, supplies[source]) for source in shares}
    amounts = largest_remainder(pool, shares)
    short = {source for source in shares if amounts[source] > limits[source]}
    if not short:
        return amounts
    if mix.on_exhaust != "renormalise":
        weight = sum(shares.values())
        possible = int(min(limits[source] * weight / share for source, share in shares.items()))
        worst = min(sorted(short), key=lambda source: limits[source] / shares[source])
        raise ImpossibleMix(
            f"mixes.{name}: source '{worst}' should give {amounts[worst]} {mix.unit} and can give {limits[worst]}; the "
            f"nearest possible is "
            f"{possible} {mix.unit} for all shares together; lower the budget, or set on_exhaust to {{repeat: N}} or "
            f"renormalise"
        )
    return _renormalised(pool, shares, limits)


def _renormalised(pool: int, shares: dict[str, float], limits: dict[str, int]) -> dict[str, int]:
    """Sources that run out give all they have; the others share what is missing in their ratios."""
    done: dict[str, int] = {}
    left = dict(shares)
    while left:
        amounts = largest_remainder(pool - sum(done.values()), left)
        short = {source: limits[source] for source in left if amounts[source] >= limits[source]}
        if not short:
            return done | amounts
        done |= short
        left = {source: share for source, share in left.items() if source not in short}
    return done


def draw(source: str, supply: Supply, amount: int, key: str) -> Drawn:
    """Rows of a source whose sizes add up to the amount, to within half of the last row.

    Epoch by epoch, each in its own keyed order and without replacement, so that a row is seen twice only when every
    row was seen once.
    """
    rows, epochs = [], []
    left, epoch = amount, 0
    while left > 0:
        order = keyed_order(supply.ids, key, source, str(epoch))
        reached = np.cumsum(supply.sizes[order])
        if int(reached[-1]) > left:
            order, left = order[: _nearest(reached, left)], 0
        else:
            left -= int(reached[-1])
        rows.append(order)
        epochs.append(np.full(len(order), epoch, np.int64))
        epoch += 1
    if not rows:
        return Drawn(np.zeros(0, np.int64), np.zeros(0, np.int64), amount)
    return Drawn(np.concatenate(rows), np.concatenate(epochs), amount)


def _nearest(reached: I64, amount: int) -> int:
    """How many rows come nearest to the amount: one row more if that misses by less."""
    below = int(np.searchsorted(reached, amount, side="right"))
    short = amount - (int(reached[below - 1]) if below else 0)
    return below + 1 if int(reached[below]) - amount < short else below


def interleave(sizes: list[I64]) -> tuple[I64, I64]:
    """One order for the rows of several sources in which every stretch holds them in the ratio of the whole.

    sizes: for each source, the sizes of its rows in order. Returns (source, row within the source) of each place.
    A row stands where its middle falls in its source's cumulated size;
    so the ratio holds in the mix's unit, not in records.
    """
    middles, sources, rows = [], [], []
    for source, own in enumerate(sizes):
        reached = np.cumsum(own, dtype=np.float64)
        total = reached[-1] if len(own) else 1.0
        middles.append((reached - own / 2) / total)
        sources.append(np.full(len(own), source, np.int64))
        rows.append(np.arange(len(own), dtype=np.int64))
    if not sizes:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    order = np.argsort(np.concatenate(middles), kind="stable")
    return np.concatenate(sources)[order], np.concatenate(rows)[order]
