"""What is going on, told while it goes on: bars on a terminal, plain lines elsewhere, always on stderr."""

from __future__ import annotations

import sys
import time
from typing import Protocol, TextIO


class Listener(Protocol):
    """Hears of stages, of how far they are, and of remarks."""

    def stage(self, name: str) -> None:
        """A stage begins."""

    def advance(self, done: int, total: int | None, unit: str, about: str = "") -> None:
        """The stage has done so much of so much; `about` tells how it goes."""

    def note(self, text: str) -> None:
        """A remark worth a line."""


class Silent:
    """Hears and says nothing."""

    def stage(self, name: str) -> None:
        """Nothing is said."""

    def advance(self, done: int, total: int | None, unit: str, about: str = "") -> None:
        """Nothing is said."""

    def note(self, text: str) -> None:
        """Nothing is said."""


class Narrator:
    """Tells stages and remarks as lines; on a terminal the last line counts along, elsewhere progress is told every
    ten seconds.
    """

    def __init__(self, stream: TextIO | None = None, interval: float = 10.0) -> None:
        self.stream = stream if stream is not None else sys.stderr
        self.live = self.stream.isatty()
        self.interval = 0.2 if self.live else interval
        self.name = ""
        self.began = self.told = time.monotonic()
        self.open_line = False

    def stage(self, name: str) -> None:
        """Close the line of the stage before and begin another."""
        self.finish()
        self.name, self.began = name, time.monotonic()
        self.told = self.began
        self._write(f"{name} …", keep=not self.live)

    def advance(self, done: int, total: int | None, unit: str, about: str = "") -> None:
        """Count along, not more often than the interval."""
        now = time.monotonic()
        if now - self.told < self.interval:
            return
        self.told = now
        rate = done / max(now - self.began, 1e-9)
        of = f"/{total:,}" if total else ""
        left = f", {_duration((total - done) / rate)} left" if total and done else ""
        speed = f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
        goes = f", {about}" if about else ""
        self._write(f"{self.name}: {done:,}{of} {unit}, {speed}/s{left}{goes}", keep=not self.live)

    def note(self, text: str) -> None:
        """A line of its own."""
        self._clear()
        self._write(f"  {text}", keep=True)

    def finish(self) -> None:
        """Tell how long the stage took."""
        if self.name:
            self._clear()
            self._write(f"{self.name}: {_duration(time.monotonic() - self.began)}", keep=True)
            self.name = ""

    def _write(self, text: str, keep: bool) -> None:
        self.stream.write(("\r\x1b[K" if self.live else "") + text + ("\n" if keep else ""))
        self.stream.flush()
        self.open_line = not keep

    def _clear(self) -> None:
        if self.open_line:
            self.stream.write("\r\x1b[K")
            self.open_line = False


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"
