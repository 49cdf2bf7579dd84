"""Writes web archives for tests, record by record, as crawlers do."""

from __future__ import annotations

import gzip

PAGE = b"<html lang='en'><head><title>A  day</title></head><body><main><h1>A day</h1><p>%s</p></main></body></html>"


def record(
    kind: str,
    body: bytes,
    content_type: str = "application/http; msgtype=response",
    uri: str = "https://example.org/",
    extra: str = "",
    length: int | None = None,
) -> bytes:
    """One WARC record; `length` is what its header states when that is not the truth."""
    head = (
        f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: {uri}\r\nWARC-Date: 2024-05-18T01:58:10Z\r\n{extra}"
        f"Content-Type: {content_type}\r\nContent-Length: {len(body) if length is None else length}\r\n\r\n"
    )
    return head.encode() + body + b"\r\n\r\n"


def response(
    payload: bytes, content_type: str = "text/html", status: str = "200 OK", extra: str = "", uri: str = "https://a.b/"
) -> bytes:
    """A record of a server's answer; `extra` are more HTTP headers."""
    stated = f"Content-Type: {content_type}\r\n" if content_type else ""
    return record("response", f"HTTP/1.1 {status}\r\n{stated}{extra}\r\n".encode() + payload, uri=uri)


def page(text: str) -> bytes:
    """A page whose main text is a heading and a paragraph."""
    return PAGE % text.encode()


def in_members(records: list[bytes]) -> bytes:
    """An archive compressed record by record."""
    return b"".join(gzip.compress(one, mtime=0) for one in records)
