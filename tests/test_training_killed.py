"""Training that is killed at every moment something is written ends with the bytes of one that was not."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from test_fit import files_of, train

from didact.model import checkpoint


def killed_at(folder: Path, writes: int) -> bool:
    """Train in a forked process that kills itself when it is about to sync or rename for this time; whether it did."""
    child = os.fork()
    if child == 0:
        _kill_at(writes)
        train(folder, average=0.8)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def _kill_at(writes: int) -> None:
    """Let this process die by SIGKILL at one of its syncs and renames, counted from 1."""
    left = writes
    sync, rename = os.fsync, os.replace

    def count() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted_sync(descriptor: int) -> None:
        count()
        sync(descriptor)

    def counted_rename(source: str, target: str) -> None:
        count()
        rename(source, target)

    os.fsync, os.replace = counted_sync, counted_rename  # type: ignore[assignment]
    os.rename = counted_rename  # type: ignore[assignment]


@pytest.mark.slow
def test_killed_at_any_write_it_ends_with_the_same_bytes(tmp_path: Path) -> None:
    """Each start is killed one write later than the one before, in the middle of checkpoints, pointers and logs."""
    straight = train(tmp_path / "straight", average=0.8)
    kills = 0
    for writes in range(1, 200):
        if not killed_at(tmp_path / "killed", writes):
            break
        kills += 1
        assert checkpoint.newest(tmp_path / "killed", tidy=False) is None or checkpoint.load_optimizer(
            checkpoint.newest(tmp_path / "killed", tidy=False) or tmp_path
        )
    resumed = train(tmp_path / "killed", average=0.8)
    assert kills >= 10
    assert files_of(resumed.last) == files_of(straight.last)
    assert (resumed.best.name, resumed.train_loss) == (straight.best.name, straight.train_loss)
