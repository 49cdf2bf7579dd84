"""How far a mean score may be from the truth, given the number of records it was measured on."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

_Z95 = 1.959963984540054
_RESAMPLES = 2000


class Estimate(NamedTuple):
    """A mean over n scores with the bounds of its 95 % interval; all three 0 when n is 0."""

    mean: float
    low: float
    high: float
    n: int


def wilson(successes: int, n: int) -> tuple[float, float]:
    """95 % interval of a share by Wilson's score method (1927), which stays in 0..1 and is honest at 0 % and 100 %.

    >>> [round(bound, 3) for bound in wilson(10, 10)]
    [0.722, 1.0]
    """
    share, square = successes / n, _Z95 * _Z95
    centre = (share + square / (2 * n)) / (1 + square / n)
    half = _Z95 * math.sqrt(share * (1 - share) / n + square / (4 * n * n)) / (1 + square / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def bootstrap(scores: ArrayLike, seed: int) -> tuple[float, float]:
    """95 % percentile interval of the mean from 2,000 resamples of the records; the same seed gives the same bounds."""
    values = np.asarray(scores, dtype=np.float64)
    random = np.random.Generator(np.random.PCG64(seed))
    means = [values[random.integers(0, values.size, values.size)].mean() for _ in range(_RESAMPLES)]
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def estimate(scores: ArrayLike, seed: int = 0) -> Estimate:
    """Mean and 95 % interval: Wilson's for scores that are all 0 or 1, bootstrap for others."""
    values = np.asarray(scores, dtype=np.float64)
    if values.size == 0:
        return Estimate(0.0, 0.0, 0.0, 0)
    is_share = bool(np.isin(values, (0.0, 1.0)).all())
    low, high = wilson(int(values.sum()), values.size) if is_share else bootstrap(values, seed)
    return Estimate(float(values.mean()), low, high, int(values.size))
