"""Data sets of the Hugging Face hub, `hf://owner/name?config=..&split=..`: found by revision, read from local files.

The `datasets` library fetches a data set into its own cache, as Arrow files; those are read as other files are. No
code of a repository is run: the library has stopped doing so, and is never asked to.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from didact.errors import CallError

SCHEME = "hf://"
_PATH = re.compile(r"(?:[\w.-]+/)?[\w.-]+")
_SPLIT = re.compile(r"\w+(?:\.\w+)*")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_KEYS = ("config", "split", "revision")


@dataclass(frozen=True, slots=True)
class HubName:
    """A data set of the hub, and what of it is meant."""

    name: str
    config: str | None = None
    split: str | None = None
    revision: str | None = None
    """A commit, branch or tag; none: the newest commit."""


def parse(url: str) -> HubName:
    """What a URL names. Raises CallError."""
    path, _, query = url.removeprefix(SCHEME).partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    form = f"write {SCHEME}owner/name, then ?config=..&split=..&revision=.. as needed"
    if not _PATH.fullmatch(path) or ".." in path:
        raise CallError(f"{url}: names no data set of the hub; {form}")
    if unknown := options.keys() - set(_KEYS):
        raise CallError(f"{url}: unknown option '{min(unknown)}'; {form}")
    if "split" in options and not _SPLIT.fullmatch(options["split"]):
        raise CallError(f"{url}: a split is a name such as train; for a part of it use 'limit' or 'where'")
    return HubName(path, **options)


def hub_files(url: str) -> list[tuple[Path, str, str]]:
    """The files of a data set: where each is, its path with the commit in it, and its split.

    Raises CallError when the data set cannot be had.
    """
    wanted = parse(url)
    commit = _commit(wanted, url)
    splits = _loaded(wanted, commit, url)
    root = f"{wanted.name}@{commit[:12]}" + (f"/{wanted.config}" if wanted.config else "")
    return [
        (path, f"{root}/{split}/{path.name}", split) for split in sorted(splits) for path in _cached(splits[split], url)
    ]


def _commit(wanted: HubName, url: str) -> str:
    """The commit that a revision names now; a commit names itself, so that a fetched data set is read offline."""
    if wanted.revision is not None and _COMMIT.fullmatch(wanted.revision):
        return wanted.revision
    try:
        return find_commit(wanted.name, wanted.revision)
    # The client's errors of the network come from a library that it has changed before; all mean the same here.
    except Exception as error:
        hint = "without a network, name a commit that was fetched before with ?revision="
        raise CallError(f"{url}: cannot be found on the hub ({_one_line(error)}); {hint}") from error


def find_commit(name: str, revision: str | None) -> str:
    """The commit of a data set that a revision names, asked of the hub."""
    from huggingface_hub import HfApi

    return str(HfApi().dataset_info(name, revision=revision).sha)


def _loaded(wanted: HubName, commit: str, url: str) -> Mapping[str, Any]:
    """The data set's splits by name, fetched into the library's cache."""
    import datasets

    try:
        found = datasets.load_dataset(wanted.name, wanted.config, split=wanted.split, revision=commit)
    # As above; and a repository may hold anything, which the library tells by many errors.
    except Exception as error:
        raise CallError(f"{url}: cannot be loaded ({_one_line(error)})") from error
    return {wanted.split: found} if wanted.split is not None else found


def _cached(rows: Any, url: str) -> list[Path]:
    """The Arrow files that hold a split, in its order."""
    files = [Path(file["filename"]) for file in rows.cache_files]
    if not files:
        raise CallError(f"{url}: has a split without a file; is it empty?")
    return files


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
