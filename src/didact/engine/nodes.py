"""What happens on a node of a cluster: it is made sure that the node can take part, then the function is run.

A node takes part only when it would write the same bytes into the same store: the same code, the same libraries, the
same kind of machine, and the same folder in front of it.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import platform
import socket
import sys
import traceback
import uuid
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from didact.engine.local import work_alone
from didact.errors import DidactError, EngineError, InputMissing
from didact.remote.folder import Folder

_SHAPING = (
    "numpy", "pyarrow", "numba", "orjson", "tokenizers", "xxhash", "zstandard", "pydantic", "ftfy", "google-re2",
    "langdetect", "phonenumbers", "python-stdnum",
)  # fmt: skip
"""Libraries that a chunk's bytes can depend on."""

SEEN = "seen-by-nodes"
"""A file with fresh content, by which a node shows that it sees the store."""
_READY: set[str] = set()
"""Keys of the setups that this process has passed."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What a node must have to take part."""

    traits: dict[str, str]
    """Of the code, the libraries and the machine."""
    shared: Folder | None = None
    """A folder that every node must see as the process that leads does."""
    content: bytes = b""
    """What stands there under the name `SEEN`."""
    stray: str | None = None
    """A folder that Ray lets workers import from although the process that leads does not."""
    key: str = field(default_factory=lambda: uuid.uuid4().hex)

    @classmethod
    def here(cls, shared: Folder | None) -> Setup:
        """What this process has; something new is left in the shared folder."""
        # Ray puts the current folder in front of a worker's path; a `datasets.py` of the user's would come before the
        # library of that name.
        current = str(Path.cwd())
        stray = None if {current, ""} & set(sys.path) else current
        content = uuid.uuid4().hex.encode()
        if shared is not None:
            shared.write(SEEN, content)
        return cls(traits(), shared, content, stray)


@cache
def traits() -> dict[str, str]:
    """Digest of Didact's code, versions of the libraries that shape its results, and the kind of machine."""
    return {"Didact's code": _code(), **{name: _installed(name) for name in _SHAPING}, "machine": platform.machine()}


def _code() -> str:
    package = Path(__file__).parents[1]
    state = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        state.update(f"{path.relative_to(package)}\0".encode() + path.read_bytes())
    return state.hexdigest()[:12]


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "nothing"


def run_on_node(setup: Setup, call: bytes) -> bytes:
    """Run a pickled function and item; pickled: whether it succeeded, and the result or the error.

    Bytes travel, so that what a function gets is its own: arrays that Ray unpacks itself are shared and read-only.
    """
    try:
        take_part(setup)
        function, item = pickle.loads(call)  # noqa: S301 - from the process that leads, over Ray's connection
        outcome: tuple[bool, Any] = True, function(item)
    except Exception as error:  # noqa: BLE001 - raised again by the process that leads
        outcome = False, _told(error)
    return pickle.dumps(outcome, protocol=5)


def take_part(setup: Setup) -> None:
    """Make this process a worker of a build. Raises EngineError when its node cannot take part."""
    if setup.key in _READY:
        return
    if setup.stray is not None:
        sys.path[:] = [place for place in sys.path if place != setup.stray]
    own = traits()
    for name, wanted in setup.traits.items():
        if own[name] != wanted:
            raise EngineError(
                f"node {socket.gethostname()} has {name} {own[name]}, the machine that leads has {wanted}; install the "
                "same on every node"
            )
    if setup.shared is not None and setup.shared.read(SEEN) != setup.content:
        raise EngineError(
            f"node {socket.gethostname()} does not see {setup.shared} as the machine that leads does; put the store "
            "where every node reaches it under the same path or URL"
        )
    work_alone()
    _READY.add(setup.key)


def _told(error: Exception) -> Exception:
    """An error as the process that leads can raise it: one that a node's surroundings cause names the node."""
    node = f"node {socket.gethostname()}"
    if isinstance(error, InputMissing | OSError):
        return EngineError(f"{node}: {error}; every node must reach the inputs and the store under the same path")
    if isinstance(error, ImportError):
        return EngineError(f"{node}: {error}; install the same packages on every node")
    if isinstance(error, DidactError):
        return error
    error.add_note(f"on {node}, process {os.getpid()}:\n{''.join(traceback.format_exception(error))}")
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - made in the line before
    except Exception:  # noqa: BLE001 - an exception class of the user's may do anything
        return EngineError(f"{node}: {type(error).__name__}: {error}")
    return error
