"""A `didact` command in a process group of its own: who belongs to it, how much memory it holds, how it is killed.

Reads /proc, so it needs Linux.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_DIDACT = "from didact.cli import main; main()"


@dataclass(frozen=True)
class Peak:
    """The highest memory seen, in MB.

    Of all processes together as the system shares it out among those that map a page (PSS), and of that the part that
    only they need: pages of mapped files can be dropped at any time. Of the largest process alone: resident (RSS).
    """

    together: float = 0.0
    own: float = 0.0
    largest: float = 0.0

    def raised(self, other: Peak) -> Peak:
        """The higher of both, value by value."""
        return Peak(max(self.together, other.together), max(self.own, other.own), max(self.largest, other.largest))


def held(pids: Sequence[int]) -> Peak:
    """What some processes hold at this moment."""
    seen = [values for pid in pids if (values := _memory(pid))]
    return Peak(
        sum(values["Pss"] for values in seen),
        sum(values["Pss_Anon"] + values["Pss_Shmem"] for values in seen),
        max((values["Rss"] for values in seen), default=0.0),
    )


def _memory(pid: int) -> dict[str, float]:
    """What /proc tells of a process's memory, in MB; nothing when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return {}
    return {name: int(value.split()[0]) / 1e3 for name, _, value in (line.partition(":") for line in lines)}


def start(arguments: Sequence[str | Path], log: Path) -> subprocess.Popen[bytes]:
    """A `didact` command as the leader of its own group; what it tells goes to `log`."""
    with log.open("ab") as out:
        return subprocess.Popen(
            [sys.executable, "-c", _DIDACT, *map(str, arguments)],
            stdout=out,
            stderr=out,
            start_new_session=True,
        )


def members(leader: int) -> list[int]:
    """Living processes of a group, the leader first; ended ones that nobody has asked for do not count."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, group = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
        except (OSError, ValueError):
            continue
        if int(group) == leader and state not in "ZX":
            found.append(int(folder.name))
    return sorted(found, key=lambda pid: (pid != leader, pid))


def kill(leader: int, chosen: Sequence[int]) -> None:
    """Kill processes of a group that cannot see it coming: the whole group at once, or one by one."""
    if set(chosen) >= set(members(leader)):
        os.killpg(leader, signal.SIGKILL)
        return
    for pid in chosen:
        os.kill(pid, signal.SIGKILL)


def ended(leader: int, seconds: float) -> bool:
    """Whether every process of a group is gone within a time."""
    until = time.monotonic() + seconds
    while members(leader):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def stage_of(log: str) -> str:
    """The stage that a build's log says it is in."""
    begun = [line for line in log.splitlines() if line.endswith(" …")]
    return begun[-1].removesuffix(" …") if begun else "start"


def watched(process: subprocess.Popen[bytes], stage: Callable[[], str], interval: float = 0.2) -> dict[str, Peak]:
    """Wait for a command to end; the highest memory of its group in each stage that `stage` names meanwhile."""
    peaks: dict[str, Peak] = {}
    while process.poll() is None:
        now = stage()
        peaks[now] = peaks.get(now, Peak()).raised(held(members(process.pid)))
        time.sleep(interval)
    return peaks
