"""Inputs that are elsewhere: files at URLs that fsspec knows, brought to this disk once and again when they change."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from didact.canonical import content_hash
from didact.durable import aside_name, locked, remove, store_errors, write_json
from didact.errors import CallError, InputMissing, StoreError
from didact.remote.folder import Folder
from didact.remote.prefix import Prefix, is_url
from didact.remote.retries import persist, told
from didact.sources.saved import data_files

HUB = "hf://"
INPUTS = ".cache/didact/inputs"
"""In the home folder: copies of files that are elsewhere."""
_INDEX = ".fetched.json"
"""In a folder of copies: what the store said of each file when it was fetched."""


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """How files at URLs are reached, and where their copies stand."""

    folder: Path | None = None
    """None: INPUTS in the home folder."""
    storage: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    """Options of fsspec by protocol; may hold credentials."""

    def prefix(self, url: str) -> Prefix:
        """The file system of a URL. Raises CallError when fsspec has none for it."""
        return Prefix.at(url, self.storage.get(url.partition("://")[0].lower()))


def is_elsewhere(path: str) -> bool:
    """Whether a source's path is a URL of fsspec; data sets of the hub are fetched by their own library.

    >>> is_elsewhere("s3://bucket/a.jsonl"), is_elsewhere("hf://owner/name"), is_elsewhere("data/a.jsonl")
    (True, False, False)
    """
    return is_url(path) and not path.startswith(HUB)


def fetched_files(urls: Iterable[str], how: Elsewhere) -> list[tuple[Path, str]]:
    """The files that URLs stand for, as copies on this disk, each with its path relative to the folder that all of one
    protocol have in common.

    A URL names a file, a folder (all in and below it but what is hidden), or a glob. A copy is fetched again when the
    store tells another size, ETag or time than it did. What a record is made from is the content alone, by its SHA-256.
    Raises InputMissing when a URL stands for nothing, StoreError when the store stays away, CallError for a URL that no
    file system serves or two files of one name.
    """
    groups: dict[str, list[str]] = {}
    for url in urls:
        groups.setdefault(url.partition("://")[0].lower(), []).append(url)
    found: dict[str, Path] = {}
    for group in groups.values():
        for path, relative in _group(group, how):
            if relative in found:
                raise CallError(f"{group[0]}: '{relative}' is a file of another URL, too; make sources of their own")
            found[relative] = path
    return [(found[relative], relative) for relative in sorted(found)]


def _group(urls: list[str], how: Elsewhere) -> list[tuple[Path, str]]:
    """Files of one protocol."""
    prefix = how.prefix(urls[0])
    roots: list[str] = []
    found: dict[str, dict[str, Any]] = {}
    named = set[str]()
    for url in urls:
        root, files, is_folder = _listed(prefix, url)
        if not files:
            raise InputMissing(url, "file, folder or match", "is the URL right, and may you read it?")
        roots.append(root)
        found |= files
        named |= set() if is_folder else files.keys()
    root = _common(roots)
    place = (how.folder or Path.home() / INPUTS) / content_hash([prefix.protocol, root, sorted(urls)])[:12]
    copies = {name[len(root) :].lstrip("/"): (name, _state(info)) for name, info in found.items()}
    with locked(place.with_suffix(".lock"), lambda: None):
        _bring(prefix, copies, place)
    kept = [place / relative for relative, (name, _) in copies.items() if name in named]
    kept += data_files(place / relative for relative, (name, _) in copies.items() if name not in named)
    return [(path, path.relative_to(place).as_posix()) for path in kept]


def _listed(prefix: Prefix, url: str) -> tuple[str, dict[str, dict[str, Any]], bool]:
    """The root of a URL, what the store says of each of its files, by full name, and whether the URL is a folder's."""
    files = prefix.filesystem
    name = files._strip_protocol(url)

    def ask() -> tuple[str, dict[str, dict[str, Any]], bool]:
        if glob.has_magic(name):
            fixed = name[: len(name) - len(name.lstrip("/"))] + "/".join(_without_magic(name.lstrip("/").split("/")))
            there = files.glob(name, detail=True)
            return fixed, {one: info for one, info in there.items() if info["type"] == "file"}, False
        info = files.info(name)
        if info["type"] == "file":
            return name.rpartition("/")[0], {name: info}, False
        return name.rstrip("/"), _shown(files.find(name, detail=True), name.rstrip("/")), True

    try:
        return persist(ask, "list", url, None)
    except FileNotFoundError as error:
        raise InputMissing(url, "file, folder or match", told(error)) from error


def _shown(files: Mapping[str, dict[str, Any]], root: str) -> dict[str, dict[str, Any]]:
    """Files of a folder without hidden ones and the empty marks of folders."""
    relative = {name: name[len(root) :].strip("/") for name in files}
    return {
        name: info
        for name, info in files.items()
        if relative[name]
        and not name.endswith("/")
        and not any(part.startswith(".") for part in relative[name].split("/"))
    }


def _without_magic(parts: list[str]) -> list[str]:
    """The folders of a glob before its first wildcard."""
    stops = [number for number, part in enumerate(parts[:-1]) if glob.has_magic(part)]
    return parts[: stops[0] if stops else len(parts) - 1]


def _common(roots: list[str]) -> str:
    """The folder that all have in common."""
    split = [root.split("/") for root in roots]
    same = 0
    while same < min(map(len, split)) and len({parts[same] for parts in split}) == 1:
        same += 1
    return "/".join(split[0][:same])


def _state(info: Mapping[str, Any]) -> list[str]:
    """What tells one state of a file from another: its size, and what the store says of its content or time."""
    marks = ("ETag", "etag", "md5Hash", "checksum", "LastModified", "last_modified", "mtime", "created")
    return [str(info.get("size")), *(str(info[mark]) for mark in marks if info.get(mark) is not None)]


def _bring(prefix: Prefix, copies: Mapping[str, tuple[str, list[str]]], place: Path) -> None:
    """Fetch what is not on this disk as the store has it now, and delete copies of what is not there any more."""
    known: dict[str, list[str]] = Folder(place).read_json(_INDEX) or {}
    for relative, (name, state) in copies.items():
        path = place / relative
        if ".." in Path(relative).parts:
            raise StoreError(f"{prefix.url}: '{name}' is no name of a file below it")
        # A store that tells nothing but a size cannot tell that a file is the same.
        if len(state) > 1 and known.get(relative) == state and path.is_file():
            continue
        _fetch(prefix, name, state[0], path)
        known[relative] = state
        write_json(place / _INDEX, known)
    for gone in known.keys() - copies.keys():
        remove(place / gone)


def _fetch(prefix: Prefix, name: str, size: str, path: Path) -> None:
    files = prefix.filesystem
    url = files.unstrip_protocol(name)
    aside = aside_name(path)

    def get() -> None:
        files.get_file(name, str(aside))
        if size.isdigit() and aside.stat().st_size != int(size):
            raise ConnectionError(f"{aside.stat().st_size:,} of {int(size):,} bytes came")

    with store_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        persist(get, "fetch", url, None)
        with store_errors(path):
            aside.replace(path)
    except FileNotFoundError as error:
        raise InputMissing(url, "file", told(error)) from error
    finally:
        aside.unlink(missing_ok=True)
