"""Functions for worker processes: some answer, some fail, some kill the process they run in."""

from __future__ import annotations

import os
import signal
from pathlib import Path


def square(number: int) -> int:
    """The item's square."""
    return number * number


def fail_at_three(number: int) -> int:
    """Raise on 3."""
    if number == 3:
        raise ValueError("three")
    return number


def die_once(path: Path) -> str:
    """Kill the worker the first time an item is tried: a file remembers."""
    if path.name == "poison" and not path.exists():
        path.write_text("tried")
        os.kill(os.getpid(), signal.SIGKILL)
    return path.name


def die_always(path: Path) -> str:
    """Kill the worker each time, and count how often."""
    if path.name == "poison":
        with path.open("a") as handle:
            handle.write("x")
        os.kill(os.getpid(), signal.SIGKILL)
    return path.name


def started_by(process: int) -> list[int]:
    """Processes that a process has started, and those that these have: workers are forked from a server."""
    found = Path(f"/proc/{process}/task/{process}/children")
    children = [int(child) for child in found.read_text().split()] if found.exists() else []
    return children + [one for child in children for one in started_by(child)]
