"""Calls to an object store that fail: which are tried again, how often, and where it is noted.

Every call that goes through here may run twice with the same effect: objects are read, listed, deleted, or written
whole with the same bytes. A write that was applied although its answer was lost is simply written again.
"""

from __future__ import annotations

import errno
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import orjson

from didact.errors import StoreError

Result = TypeVar("Result")

ATTEMPTS = 8
"""How often a call is made in all. With the waits below a store may be away for about 13 seconds; at one failure in ten
calls, one call in 10^8 fails for good.
"""
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 10.0
"""Seconds before the second attempt; doubled each time, up to the longest. Half of it is drawn at random, so that many
workers that failed together do not come back together.
"""

_REFUSALS = (FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError, NotADirectoryError)
"""What another attempt does not change."""
_REFUSED = frozenset(
    {
        errno.EINVAL,
        errno.ENOSYS,
        errno.EPERM,
        errno.ENAMETOOLONG,
        errno.EMSGSIZE,
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EROFS,
    }
)
_NETWORK = frozenset(
    {"HTTPClientError", "ConnectionError", "ClientConnectionError", "ClientPayloadError", "IncompleteRead", "HttpError"}
)
"""Errors of network libraries that are no OSError, by the name of a class they are of; none is imported for this.

botocore has a ConnectionError of its own. A connection that is reset while the request is sent is one.
"""


def transient(error: BaseException) -> bool:
    """Whether a call that failed so may succeed when it is made again.

    >>> transient(ConnectionResetError()), transient(PermissionError())
    (True, False)
    """
    if isinstance(error, _REFUSALS):
        return False
    if isinstance(error, OSError):
        return error.errno not in _REFUSED
    return any(kind.__name__ in _NETWORK for kind in type(error).__mro__)


def persist(call: Callable[[], Result], what: str, url: str, journal: Path | None) -> Result:
    """Make a call, again after failures that may pass, at most `ATTEMPTS` times.

    what: the call in a word, for messages. journal: a file on this disk that gets a line for each failed attempt.
    Raises FileNotFoundError and FileExistsError as they are, since callers ask for them, StoreError for all else.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return call()
        except (FileNotFoundError, FileExistsError):
            raise
        # Each file system has its own errors; those that are not told here are re-raised.
        except Exception as error:
            if not transient(error):
                if isinstance(error, OSError):
                    raise StoreError(
                        f"{url}: {what} was refused ({told(error)}); check name, rights and credentials"
                    ) from error
                raise
            _note(journal, what, url, told(error))
            if attempt == ATTEMPTS:
                raise StoreError(
                    f"{url}: {what} failed {ATTEMPTS} times, the last time with: {told(error)}; when the store can be "
                    "reached again, the same command goes on from what is there"
                ) from error
            time.sleep(_wait(attempt))
    raise AssertionError("unreachable")


def _wait(attempt: int) -> float:
    """Seconds to wait after a failed attempt."""
    longest = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** (attempt - 1))
    return longest * (0.5 + random.random() / 2)


def told(error: BaseException) -> str:
    """An error in one short line."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(f"{type(error).__name__}: {text}".split())[:200]


def _note(journal: Path | None, what: str, url: str, error: str) -> None:
    """Add a line to the journal; one write, so that processes do not tear each other's lines."""
    if journal is None:
        return
    journal.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(handle, orjson.dumps({"call": what, "url": url, "error": error}, option=orjson.OPT_APPEND_NEWLINE))
    finally:
        os.close(handle)


def repeated(journal: Path) -> Counter[str]:
    """How many attempts failed by the journal, by call."""
    if not journal.is_file():
        return Counter()
    return Counter(orjson.loads(line)["call"] for line in journal.read_bytes().splitlines() if line.endswith(b"}"))
