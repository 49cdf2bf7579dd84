"""Leases: how those who work on one object store know of each other, where there are no locks.

Whoever makes something in the store writes a lease, an object of its own, then looks whether a collector has one; a
collector writes its lease, then looks whether anybody else has one. An object store shows a finished write to everyone
who looks afterwards, so at least one of two who come together sees the other: the collector gives way, a builder waits.

Leases are written anew while their holder lives. One that was not for `DEAD` counts as a dead process's. Both times are
those that the store gives its objects, so that clocks of machines do not matter.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from didact.durable import readable_json
from didact.errors import StoreError
from didact.remote.prefix import Prefix

SIGN = 120.0
"""Seconds between signs of life."""
DEAD = timedelta(minutes=30)
"""Without a sign of life for so long a holder counts as dead: fifteen signs were missed."""
_LOOK = 2.0
"""Seconds between looks while somebody else must be waited for."""
_COLLECTOR = "gc.json"


@contextmanager
def in_use(leases: Prefix, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold a lease of somebody who makes something; `waiting` is called when a collector is at work."""
    own = f"{uuid.uuid4().hex}.json"
    leases.write(own, _holder())
    told = False
    while _lives(leases, _COLLECTOR, own):
        leases.delete([own])
        if not told:
            waiting()
            told = True
        time.sleep(_LOOK)
        leases.write(own, _holder())
    with _alive(leases, own):
        yield


@contextmanager
def alone(leases: Prefix) -> Iterator[None]:
    """Hold the lease of a collector. Raises StoreError when anybody else works on the store."""
    # Of two collectors that come together one gets the lease; a dead one's is taken over.
    probe = f"{uuid.uuid4().hex}.probe"
    leases.write(probe, _holder())
    try:
        if _lives(leases, _COLLECTOR, probe):
            raise StoreError(f"{leases.url}: another gc is at work on the store; run gc again when it has ended")
        leases.delete([_COLLECTOR])
        if not leases.create(_COLLECTOR, _holder()):
            raise StoreError(f"{leases.url}: another gc has just begun on the store; run gc again when it has ended")
    finally:
        leases.delete([probe])
    with _alive(leases, _COLLECTOR):
        for name in leases.children():
            if name in (_COLLECTOR, probe):
                continue
            if _lives(leases, name, _COLLECTOR):
                raise StoreError(
                    f"{leases.url}/{name}: a build or run is making something in the store; run gc again when it has "
                    f"ended. If it was killed: its lease counts as dead after {DEAD.seconds // 60} minutes"
                )
            leases.delete([name])
        yield


def _holder() -> bytes:
    """What a lease says, for people who look: which process on which machine."""
    return readable_json({"host": socket.gethostname(), "process": os.getpid()})


def _lives(leases: Prefix, name: str, now: str) -> bool:
    """Whether a lease is there and its holder gave a sign of life; `now` is an object that was just written."""
    if leases.size(name) is None:
        return False
    changed, present = leases.changed(name), leases.changed(now)
    # Where the store tells no times, nobody is taken for dead.
    return changed is None or present is None or present - changed < DEAD


@contextmanager
def _alive(leases: Prefix, own: str) -> Iterator[None]:
    """Write a lease anew from time to time, and delete it at the end."""
    ended = threading.Event()
    thread = threading.Thread(target=_signs, args=(leases, own, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        leases.delete([own])


def _signs(leases: Prefix, own: str, ended: threading.Event) -> None:
    while not ended.wait(SIGN):
        try:
            leases.write(own, _holder())
        except StoreError:
            # The store is away; who works on it learns that by itself, and the next sign may come through.
            continue
