"""What is going on, told while it goes on: one line that counts along on a terminal, plain lines elsewhere, always on
stderr.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol, TextIO

from didact.text.shown import visible


class Listener(Protocol):
    """Hears of stages, of how far they are, and of remarks."""

    def stage(self, name: str) -> None:
        """A stage begins."""

    def advance(
        self, done: int, total: int | None, unit: str, about: str = "", *, bytes: int = 0, share: float | None = None
    ) -> None:
        """The stage has done so much of so much; `about` tells how it goes.

        bytes: how much data that was; share: how much of the stage it is, where `total` does not tell it.
        """

    def note(self, text: str) -> None:
        """A remark worth a line."""


class Silent:
    """Hears and says nothing."""

    def stage(self, name: str) -> None:
        """Nothing is said."""

    def advance(
        self, done: int, total: int | None, unit: str, about: str = "", *, bytes: int = 0, share: float | None = None
    ) -> None:
        """Nothing is said."""

    def note(self, text: str) -> None:
        """Nothing is said."""


class _Mark(NamedTuple):
    """How far a stage was at a time."""

    at: float
    done: int
    bytes: int
    share: float


class Narrator:
    """Tells stages and remarks as lines. On a terminal the last line counts along, five times a second at most, and is
    never longer than the terminal is wide; elsewhere progress is told every ten seconds, without control characters.

    The line is written over and no cursor is hidden, so that a killed command leaves the terminal as it was.
    """

    def __init__(
        self, stream: TextIO | None = None, interval: float = 10.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.stream = stream if stream is not None else sys.stderr
        self.live = self.stream.isatty()
        self.interval = 0.2 if self.live else interval
        self.clock = clock
        self.name = ""
        self.began = self.told = clock()
        self.first: _Mark | None = None
        self.open_line = False

    def stage(self, name: str) -> None:
        """Close the line of the stage before and begin another."""
        self.finish()
        self.name, self.began = name, self.clock()
        self.told, self.first = self.began, None
        self._write(f"{name} …", keep=not self.live)

    def advance(
        self, done: int, total: int | None, unit: str, about: str = "", *, bytes: int = 0, share: float | None = None
    ) -> None:
        """Count along, not more often than the interval. Rates are those since the first call of a stage: what it found
        done, as a resumed training does, took no time.
        """
        now = self.clock()
        share = done / total if total and share is None else share
        soon = now - self.told < self.interval
        if self.first is None:
            self.first = _Mark(now, done, bytes, share or 0.0) if soon else _Mark(self.began, 0, 0, 0.0)
        if soon:
            return
        self.told = now
        elapsed = max(now - self.first.at, 1e-9)
        gained = (share or 0.0) - self.first.share
        parts = [f"{done:,}{f'/{total:,}' if total else ''} {unit}", f"{_rate((done - self.first.done) / elapsed)}/s"]
        parts += [f"{(bytes - self.first.bytes) / elapsed / 1e6:,.1f} MB/s"] if bytes else []
        parts += [f"{_duration(elapsed * (1 - share) / gained)} left"] if share and gained > 0 else []
        parts += [f"{memory:,} MB"] if (memory := resident_mb()) else []
        bar = f"{_bar(share)} " if self.live and share is not None else ""
        self._write(f"{self.name}: {bar}{', '.join(parts)}{f', {about}' if about else ''}", keep=not self.live)

    def note(self, text: str) -> None:
        """A line of its own."""
        self._clear()
        self._write(f"  {text}", keep=True)

    def finish(self) -> None:
        """Tell how long the stage took."""
        if self.name:
            self._clear()
            self._write(f"{self.name}: {_duration(self.clock() - self.began)}", keep=True)
            self.name = ""

    def _write(self, text: str, keep: bool) -> None:
        text = visible(text)
        if not keep:
            text = text[: self._width() - 1]
        self.stream.write(("\r\x1b[K" if self.live else "") + text + ("\n" if keep else ""))
        self.stream.flush()
        self.open_line = not keep

    def _width(self) -> int:
        try:
            return os.get_terminal_size(self.stream.fileno()).columns or 80
        except (OSError, ValueError):
            return 80

    def _clear(self) -> None:
        if self.open_line:
            self.stream.write("\r\x1b[K")
            self.open_line = False


_CELLS = 16
"""Characters of a bar."""


def _bar(share: float) -> str:
    full = round(min(max(share, 0.0), 1.0) * _CELLS)
    return f"{'━' * full}{'╌' * (_CELLS - full)} {share:4.0%}"


def _rate(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def resident_mb() -> int:
    """Memory that this process and its workers hold now, in MB; 0 where the system does not tell it.

    Pages that several of them share, such as mapped files, count for each.
    """
    pids = [os.getpid(), *(child.pid for child in multiprocessing.active_children() if child.pid is not None)]
    pages = 0
    for pid in pids:
        try:
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except (OSError, IndexError, ValueError):
            continue
    return pages * os.sysconf("SC_PAGE_SIZE") // 1_000_000
