"""Time and peak memory of the stages of a build, for `build.json`; nothing a version holds depends on them."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass, field
from typing import Any, TypedDict


class StageMeasure(TypedDict):
    """One stage: seconds of wall time, and the highest resident memory so far of the process that leads, in MB."""

    stage: str
    seconds: float
    peak_mb: int


@dataclass
class Measures:
    """Measures stages one after the other."""

    done: list[StageMeasure] = field(default_factory=list)
    _name: str = ""
    _began: float = 0.0

    def stage(self, name: str) -> None:
        """End the stage before and begin another."""
        self._end()
        self._name, self._began = name, time.monotonic()

    def report(self) -> dict[str, Any]:
        """End the last stage and give all, with the highest memory of the largest worker that has ended."""
        self._end()
        self._name = ""
        return {"stages": self.done, "worker_peak_mb": _peak_mb(resource.RUSAGE_CHILDREN)}

    def _end(self) -> None:
        if self._name:
            seconds = round(time.monotonic() - self._began, 3)
            measure = StageMeasure(stage=self._name, seconds=seconds, peak_mb=_peak_mb(resource.RUSAGE_SELF))
            self.done.append(measure)


def _peak_mb(who: int) -> int:
    """Highest resident memory in MB; the system counts it in KiB, on macOS in bytes."""
    return int(resource.getrusage(who).ru_maxrss // (1_000_000 if sys.platform == "darwin" else 1_000))
