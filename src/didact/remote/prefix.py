"""A prefix of an object store, reached through fsspec: the few calls that Didact makes, each safe to make again.

Objects appear whole or not at all, and there is no rename. So a set of objects is complete once the one that lists the
others is there, and that one is written last.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from didact.durable import sha256_file, store_errors
from didact.errors import CallError, StoreError
from didact.remote.retries import persist, told

Result = TypeVar("Result")

_URL = re.compile(r"(?P<protocol>[a-z][a-z0-9+.-]*)(?:::.+|://.*)", re.IGNORECASE)
_SMALL = 256 << 20
"""Bytes of the largest object that is read into memory: manifests and lists; data goes through files."""
_WRITTEN = ("LastModified", "last_modified", "mtime", "created")
"""Where a listing tells when an object was written: on S3, Azure, Google, and in memory."""
_OWN_RETRIES: dict[str, Any] = {"retries": {"total_max_attempts": 1, "mode": "standard"}}
"""botocore's setting for one attempt: what fails is tried again here, where it is counted."""


def is_url(written: str | Path) -> bool:
    """Whether a store or path is written as a URL, not as a path on this disk.

    >>> is_url("s3://bucket/store"), is_url("./store")
    (True, False)
    """
    return isinstance(written, str) and _URL.fullmatch(written) is not None


@dataclass(frozen=True, slots=True)
class Prefix:
    """Everything below a URL. Can be pickled, and holds nothing that belongs to a process."""

    url: str
    """Without a slash at its end."""
    options: Mapping[str, Any] = field(default_factory=dict, repr=False, hash=False)
    """What fsspec takes for this kind of store; may hold credentials, so it is never printed or written."""
    journal: Path | None = field(default=None, compare=False)
    """A file on this disk that gets a line for each attempt that failed."""

    @classmethod
    def at(cls, url: str, options: Mapping[str, Any] | None = None, journal: Path | None = None) -> Prefix:
        """The prefix that a URL names. Raises CallError when no file system of fsspec serves it, or when credentials
        stand in it, which would then be printed with every message.
        """
        authority = url.partition("://")[2].partition("/")[0]
        if ":" in authority.rpartition("@")[0]:
            raise CallError(
                f"{url.partition('://')[0]}://…: a URL with a password in it would be printed and logged; give "
                "credentials in fsspec's options or as the library of the store finds them by itself"
            )
        found = cls(url.rstrip("/"), dict(options or {}), journal)
        found.filesystem  # noqa: B018 (asked here so that a missing library is told at once)
        return found

    @property
    def protocol(self) -> str:
        """The URL's scheme: `s3`, `gs`, `memory`, ..."""
        match = _URL.fullmatch(self.url)
        return match["protocol"].lower() if match is not None else "file"

    @property
    def filesystem(self) -> Any:
        """Fsspec's file system, kept by fsspec itself for each process."""
        import fsspec

        options: dict[str, Any] = {"use_listings_cache": False, **self.options}
        if self.protocol in ("s3", "s3a"):
            options["config_kwargs"] = {**_OWN_RETRIES, **options.get("config_kwargs", {})}
        try:
            filesystem, _ = fsspec.core.url_to_fs(self.url, **options)
        except ImportError as error:
            raise CallError(f"{self.url}: {error}; `pip install didact[s3]` brings it for s3://") from error
        except (ValueError, TypeError, KeyError) as error:
            raise CallError(f"{self.url}: cannot be opened ({told(error)})") from error
        if self.protocol in ("s3", "s3a"):
            filesystem.retries = 1
        return filesystem

    def __truediv__(self, name: str) -> Prefix:
        """A prefix below this one."""
        return replace(self, url=self.address(name))

    def address(self, name: str) -> str:
        """URL of an object. Raises StoreError for a name that leaves the prefix: names may come from foreign files."""
        parts = PurePosixPath(name).parts
        if not parts or ".." in parts or parts[0] == "/" or "\\" in name:
            raise StoreError(f"{self.url}: '{name}' is no name below it")
        return f"{self.url}/{'/'.join(parts)}"

    def read(self, name: str) -> bytes | None:
        """A small object's bytes, or None when it is not there. Raises StoreError for one of more than 256 MiB."""
        url = self.address(name)

        def get() -> bytes:
            content: bytes = self.filesystem.cat_file(url, start=0, end=_SMALL + 1)
            return content

        size = self.size(name)
        if size is None:
            return None
        if size > _SMALL:
            raise StoreError(f"{url}: {size:,} bytes; at most {_SMALL:,} are expected here")
        return b"" if size == 0 else self._found("read", url, get)

    def size(self, name: str) -> int | None:
        """An object's size in bytes, or None when it is not there."""
        found = self._info(name)
        return None if found is None or found["type"] != "file" else int(found["size"])

    def changed(self, name: str) -> datetime | None:
        """When an object was written, by the store's clock; None when it is not there or the store does not tell."""
        url = self.address(name)

        def ask() -> datetime:
            time: datetime = self.filesystem.modified(url)
            return time

        try:
            return self._found("time", url, ask)
        except NotImplementedError:
            return None

    def files(self) -> dict[str, int]:
        """Every object below the prefix: its name relative to it, and its bytes."""
        root = self.filesystem._strip_protocol(self.url).strip("/")

        def walk() -> dict[str, int]:
            found = self.filesystem.find(self.url, detail=True)
            return {path.strip("/")[len(root) + 1 :]: int(info["size"] or 0) for path, info in found.items()}

        return {name: size for name, size in (self._found("list", self.url, walk) or {}).items() if name}

    def children(self) -> dict[str, bool]:
        """Names directly below the prefix; True for those that are a prefix themselves."""

        def ask() -> dict[str, bool]:
            there = self.filesystem.ls(self.url, detail=True)
            named = ((info["name"].rstrip("/").rpartition("/")[2], info) for info in there)
            return {name: info["type"] == "directory" for name, info in named if name}

        return self._found("list", self.url, ask) or {}

    def written(self) -> dict[str, float]:
        """When each object directly below the prefix was written, in seconds by the store's clock; 0 where its listing
        does not tell.
        """

        def ask() -> dict[str, float]:
            there = self.filesystem.ls(self.url, detail=True)
            return {info["name"].rpartition("/")[2]: _time(info) for info in there if info["type"] == "file"}

        return self._found("list", self.url, ask) or {}

    def write(self, name: str, content: bytes) -> None:
        """Write a whole object, in place of an older one."""
        self._put(name, lambda url: self.filesystem.pipe_file(url, content))

    def create(self, name: str, content: bytes) -> bool:
        """Write an object if there is none of that name; whether the object that is there now has this content.

        The store decides (`If-None-Match`) where it can, as S3 does; where it cannot, another writer between the look
        and the write would be overwritten.
        """
        try:
            self._put(name, lambda url: self.filesystem.pipe_file(url, content, mode="create"))
        except FileExistsError:
            return self.read(name) == content
        except StoreError as error:
            there = self.read(name)
            if there is not None:
                return there == content
            if not _unsupported(error.__cause__):
                raise
            self.write(name, content)
        return True

    def send(self, file: Path, name: str) -> None:
        """Write a whole object from a file of this disk; large ones go in parts, and appear when the last is there."""
        self._put(name, lambda url: self.filesystem.put_file(str(file), url))

    def fetch(self, name: str, file: Path) -> bool:
        """Copy an object into a file of this disk, which is written in place; False when it is not there."""
        url = self.address(name)
        size = self.size(name)
        if size is None:
            return False
        with store_errors(file):
            file.parent.mkdir(parents=True, exist_ok=True)
        return self._found("fetch", url, lambda: self._copied(url, file, size)) is not None

    def sha256(self, name: str, beside: Path) -> str | None:
        """Hex SHA-256 of an object's bytes, None when it is not there; `beside` is a path for its bytes meanwhile."""
        try:
            return sha256_file(beside) if self.fetch(name, beside) else None
        finally:
            beside.unlink(missing_ok=True)

    def delete(self, names: Iterable[str]) -> None:
        """Delete objects, one after the other in the given order; those that are not there count as deleted."""
        for name in names:
            url = self.address(name)
            self._found("delete", url, lambda url=url: self.filesystem.rm_file(url))  # type: ignore[misc]

    def _copied(self, url: str, file: Path, size: int) -> bool:
        """One attempt to copy an object. An answer that ends early must not pass for the whole."""
        self.filesystem.get_file(url, str(file))
        if file.stat().st_size != size:
            raise OSError(errno.EIO, f"{file.stat().st_size:,} of {size:,} bytes came")
        return True

    def _info(self, name: str) -> dict[str, Any] | None:
        url = self.address(name)

        def ask() -> dict[str, Any]:
            found: dict[str, Any] = self.filesystem.info(url)
            return found

        return self._found("look", url, ask)

    def _put(self, name: str, write: Callable[[str], Any]) -> None:
        url = self.address(name)
        try:
            persist(lambda: write(url), "write", url, self.journal)
        except FileNotFoundError as error:
            raise StoreError(f"{url}: cannot be written ({told(error)}); is there such a bucket?") from error

    def _found(self, what: str, url: str, call: Callable[[], Result]) -> Result | None:
        """What a call gives, None when there is no such object."""
        try:
            return persist(call, what, url, self.journal)
        except FileNotFoundError:
            return None


def _time(info: Mapping[str, Any]) -> float:
    """When an object was written, by what a listing says of it."""
    time: datetime | float = next((info[key] for key in _WRITTEN if key in info), 0.0)
    return time.timestamp() if isinstance(time, datetime) else time


def _unsupported(error: BaseException | None) -> bool:
    """Whether the store does not know conditional writes."""
    return isinstance(error, OSError) and error.errno == errno.ENOSYS
