"""Shares: whole amounts in exact ratios, in rational arithmetic, so that no rounding of a machine decides a row."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Context, Decimal
from fractions import Fraction


def as_written(value: float) -> Fraction:
    """The number a person wrote: 0.3 is three tenths, not the nearest double."""
    return Fraction(repr(value))


def largest_remainder(total: int, weights: Mapping[str, Fraction | float]) -> dict[str, int]:
    """Whole numbers in the ratio of the weights that add up to `total` (Hamilton's method); ties go to the first name.

    >>> largest_remainder(10, {"a": 1, "b": 1, "c": 1})
    {'a': 4, 'b': 3, 'c': 3}
    """
    whole = sum((Fraction(weight) for weight in weights.values()), Fraction())
    exact = {name: total * Fraction(weight) / whole for name, weight in weights.items()}
    parts = {name: int(value) for name, value in exact.items()}
    missing = total - sum(parts.values())
    for name in sorted(exact, key=lambda n: (parts[n] - exact[n], n))[:missing]:
        parts[name] += 1
    return parts


def temperature_shares(sizes: Mapping[str, int], temperature: float, cap: int | None) -> dict[str, Fraction]:
    """Shares proportional to min(size, cap)^(1/temperature): Raffel et al. 2020 (T5), arXiv:1910.10683, section 3.5.2.

    At 1 they are the capped sizes; they become equal as the temperature grows. The root is taken in decimal arithmetic
    of 28 digits, so that it is the same on every machine.

    >>> temperature_shares({"a": 100, "b": 9}, 2, None)
    {'a': Fraction(10, 1), 'b': Fraction(3, 1)}
    """
    capped = {name: size if cap is None else min(size, cap) for name, size in sizes.items()}
    if temperature == 1:
        return {name: Fraction(size) for name, size in capped.items()}
    digits = Context(prec=28)
    power = digits.divide(Decimal(1), Decimal(repr(temperature)))
    return {name: Fraction(digits.power(Decimal(size), power)) for name, size in capped.items()}


def within_limits(
    total: int, weights: Mapping[str, Fraction], limits: Mapping[str, int]
) -> tuple[dict[str, int], set[str]]:
    """Parts of `total` of which none exceeds its limit, and who ran out: those give all they have, and the others share
    what is missing in their ratios, again and again until nobody exceeds.

    The parts add up to `total` when the limits do; else to the sum of the limits.
    """
    out: dict[str, int] = {}
    left = dict(weights)
    while left:
        pool, whole = total - sum(out.values()), sum(left.values(), Fraction())
        over = {name: limits[name] for name in left if pool * left[name] > limits[name] * whole}
        if not over:
            return out | largest_remainder(pool, left), set(out)
        out |= over
        left = {name: weight for name, weight in left.items() if name not in over}
    return out, set(out)
