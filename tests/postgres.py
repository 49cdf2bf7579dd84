"""A PostgreSQL server of the test's own, in a temporary folder, reached by a socket in it."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

OTHER_USER = "nobody"


def why_not() -> str | None:
    """Why no server can be started here; None when it can."""
    if lacking := [name for name in ("initdb", "pg_ctl", "postgres") if shutil.which(name) is None]:
        return f"not on PATH: {', '.join(lacking)}"
    if os.geteuid() == 0 and OTHER_USER not in {entry.pw_name for entry in pwd.getpwall()}:
        return f"PostgreSQL refuses to run as root, and there is no user '{OTHER_USER}'"
    return None


@contextmanager
def running_server() -> Iterator[str]:
    """A server that runs for the length of the block; the URL of its database, with a password."""
    # Not pytest's folder: the other user may not enter it, and a socket's path is at most 107 bytes long.
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    try:
        owner = _owner(folder)
        data = folder / "data"
        _run(["initdb", "-D", str(data), "-A", "trust", "-E", "UTF8", "--locale=C", "-U", "ann", "-N"], owner, folder)
        options = f"-k {folder} -h '' -F -c max_connections=8 -c shared_buffers=1MB"
        _run(["pg_ctl", "-D", str(data), "-l", str(folder / "log"), "-w", "-o", options, "start"], owner, folder)
        try:
            yield f"postgresql+psycopg://ann:geheim@/postgres?host={quote(str(folder), safe='')}"
        finally:
            _run(["pg_ctl", "-D", str(data), "-m", "immediate", "-w", "stop"], owner, folder)
    finally:
        shutil.rmtree(folder)


def _owner(folder: Path) -> str | None:
    """The user that runs the server, given the folder; None: this one."""
    if os.geteuid() != 0:
        return None
    shutil.chown(folder, OTHER_USER)
    return OTHER_USER


def _run(command: list[str], owner: str | None, folder: Path) -> None:
    group = pwd.getpwnam(owner).pw_gid if owner else None
    # To a file: a started server keeps what it inherits open, and a pipe would never end.
    with (folder / f"{command[0]}.out").open("ab") as out:
        done = subprocess.run(
            command, user=owner, group=group, extra_groups=[] if owner else None, cwd=folder, stdout=out, stderr=out,
            stdin=subprocess.DEVNULL, check=False, timeout=60,
        )  # fmt: skip
    assert done.returncode == 0, (folder / f"{command[0]}.out").read_text()
