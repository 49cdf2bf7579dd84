"""An S3 server for tests, on this machine alone, that can be told to fail some of its calls."""

from __future__ import annotations

import random
import socket
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.request import Request, urlopen

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

_SLOW = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
_BROKEN = b"<?xml version='1.0'?><Error><Code>InternalError</Code><Message>We had an error.</Message></Error>"
FAILURES = ("500", "503", "dropped", "lost")
"""An error of the server, one that says slow down, a connection that ends unanswered, and one that ends unanswered
although the call was carried out.
"""


class FailingServer:
    """Passes calls on to S3, but for a share of them, drawn by a seed."""

    def __init__(self) -> None:
        self._app = DomainDispatcherApplication(create_backend_app)
        self._lock = threading.Lock()
        self._random = random.Random(0)
        self.share = 0.0
        self.calls: Counter[str] = Counter()
        """Calls by method."""
        self.failed: Counter[str] = Counter()
        """Calls that were made to fail, by how."""
        self.unanswered: Counter[str] = Counter()
        """The same, by method."""
        self.url = ""

    @contextmanager
    def failing(self, share: float, seed: int) -> Iterator[None]:
        """Fail a share of all calls for the length of the block."""
        self._random, self.share, self.failed, self.unanswered = random.Random(seed), share, Counter(), Counter()
        try:
            yield
        finally:
            self.share = 0.0

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer a call, or fail it."""
        with self._lock:
            self.calls[environ["REQUEST_METHOD"]] += 1
            fails = self._random.random() < self.share
            how = self._random.choice(FAILURES) if fails else ""
            self.failed[how] += bool(how)
            self.unanswered[environ["REQUEST_METHOD"]] += bool(how)
        if how in ("500", "503"):
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start_response(f"{how} Failed", [("Content-Type", "application/xml")])
            return [_BROKEN if how == "500" else _SLOW]
        if how == "dropped":
            return self._dropped(environ)
        if how == "lost":
            for _ in self._app(environ, lambda *_: lambda _: None):
                pass
            return self._dropped(environ)
        answer: Iterable[bytes] = self._app(environ, start_response)
        return answer

    def _dropped(self, environ: dict[str, Any]) -> Iterable[bytes]:
        environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        raise ConnectionError("dropped on purpose")


class _Quiet(WSGIRequestHandler):
    def log(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def serving() -> Iterator[FailingServer]:
    """A server on a free port of this machine, for the length of the block; it has no bucket."""
    app = FailingServer()
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet)
    app.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        _forget_all(app)
        yield app
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _forget_all(server: FailingServer) -> None:
    """All servers of a process have their buckets in common; those of modules that ran before are deleted."""
    urlopen(Request(f"{server.url}/moto-api/reset", method="POST")).close()
    server.calls.clear()


def options_for(server: FailingServer) -> dict[str, Any]:
    """What fsspec takes to reach the server."""
    return {"endpoint_url": server.url, "key": "tester", "secret": "a-secret-that-is-never-written"}


def make_bucket(server: FailingServer, name: str) -> None:
    """An empty bucket."""
    import fsspec

    fsspec.filesystem("s3", **options_for(server)).mkdir(name)
