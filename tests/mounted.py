"""Small file systems of one test: full after so many bytes, or read-only. Where mounting is not allowed, tests skip."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def _mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"a file system cannot be mounted here: {done.stderr.strip()}")


@contextmanager
def small_disk(folder: Path, size: int, files: int = 0) -> Iterator[Path]:
    """A disk of `size` bytes (rounded up to pages) mounted on a folder; `files`: how many it can hold, if bounded."""
    folder.mkdir(exist_ok=True)
    try:
        _mount("-t", "tmpfs", "-o", f"size={size}" + (f",nr_inodes={files}" if files else ""), "tmpfs", str(folder))
    except FileNotFoundError:
        pytest.skip("there is no `mount` here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def resize(folder: Path, size: int) -> None:
    """Make room: the same disk with another size; what is on it stays."""
    _mount("-o", f"remount,size={size},nr_inodes=0", str(folder))


def set_writable(folder: Path, writable: bool) -> None:
    """Mount the same disk read-only, or for writing again."""
    _mount("-o", f"remount,{'rw' if writable else 'ro'}", str(folder))
