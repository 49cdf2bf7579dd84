"""Loss spikes: steps whose loss lies far above what it was lately, so that their documents can be looked at."""

from __future__ import annotations

from dataclasses import dataclass

MEMORY = 0.98
"""Weight of the past in the running mean and variance: about the last 50 steps."""
FIRST_STEPS = 20
"""Steps before anything is called a spike: the mean is still that of the first losses."""


@dataclass
class Usual:
    """Running mean and variance of the loss over `count` finite steps."""

    count: int = 0
    mean: float = 0.0
    variance: float = 0.0

    def is_spike(self, loss: float, deviations: float) -> bool:
        """Whether a loss lies more than so many standard deviations above the mean."""
        return self.count >= FIRST_STEPS and loss - self.mean > deviations * max(self.variance**0.5, 1e-6)

    def take_in(self, loss: float) -> None:
        """Count a loss, a spike's too, so that a lasting change soon becomes the usual."""
        share = max(1 - MEMORY, 1 / (self.count + 1))
        away = loss - self.mean
        self.mean += share * away
        self.variance = (1 - share) * (self.variance + share * away * away)
        self.count += 1
