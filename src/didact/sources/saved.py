"""Folders of data sets, Hugging Face's among them: which files hold rows, and which split a file belongs to."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

from didact.errors import CallError
from didact.sources.endings import ROWS, bare_suffix

_STATE = "state.json"
_SPLITS = "dataset_dict.json"
_ABOUT = re.compile(
    r"(?:README|LICEN[CS]E(?:-(?:MIT|APACHE|BSD|CC|CODE|DATA))?|COPYING|NOTICE|CITATION)(?:\.(?:md|txt|rst|cff|bib))?"
    r"|README[-_.][a-z-]{2,7}\.(?:md|txt|rst)|dataset_infos\.json",
    re.IGNORECASE,
)
"""Files that tell about the data of a repository. Where all others are texts, they may be such, too."""
_SHARD = re.compile(r"([A-Za-z][\w.]*)-\d{5}-of-\d{5}\.(?:parquet|arrow)")
_MOST_BYTES = 1 << 20


def data_files(files: Iterable[Path]) -> list[Path]:
    """The files of a folder that hold rows.

    In a folder written by `save_to_disk` those are the ones its `state.json` names, and no caches; among files of rows,
    what tells about them holds none. Raises CallError when such a folder is not whole.
    """
    found = set(files)
    saved = {folder: _named(folder) for folder in {file.parent for file in found if file.name == _STATE}}
    missing = next((file for named in saved.values() for file in sorted(named or ()) if file not in found), None)
    if missing is not None:
        raise CallError(f"{missing}: named by '{_STATE}' beside it, but not there; save the data set again")
    among_rows = any(bare_suffix(file) in ROWS for file in found if not _ABOUT.fullmatch(file.name))
    return [file for file in found if _holds_rows(file, saved) and not (among_rows and _ABOUT.fullmatch(file.name))]


def _holds_rows(file: Path, saved: dict[Path, set[Path] | None]) -> bool:
    named = saved.get(file.parent)
    if named is not None:
        return file in named
    return file.name != _SPLITS or _read(file, "splits") is None


def _named(folder: Path) -> set[Path] | None:
    """The data files that a saved folder's state names; None when it is the state of something else."""
    entries = _read(folder / _STATE, "_data_files")
    names = [entry.get("filename") for entry in entries if isinstance(entry, dict)] if entries is not None else []
    if entries is None or not all(isinstance(name, str) and Path(name).name == name for name in names):
        return None
    return {folder / str(name) for name in names}


def split_of(file: Path) -> str | None:
    """The split that a file's name or its folder says it belongs to: Hugging Face's conventions, and no others."""
    stated = _value(file.parent / _STATE, "_split")
    if isinstance(stated, str):
        return stated
    for folder, name in ((file.parent, file.name), (file.parent.parent, file.parent.name)):
        if name in (_read(folder / _SPLITS, "splits") or ()):
            return name
    shard = _SHARD.fullmatch(file.name)
    return shard[1] if shard and shard[1] not in ("data", "part") else None


def _read(file: Path, key: str) -> list[Any] | None:
    """The list under a key of a small JSON file; None when there is none."""
    value = _value(file, key)
    return value if isinstance(value, list) else None


def _value(file: Path, key: str) -> Any:
    try:
        if file.stat().st_size > _MOST_BYTES:
            return None
        content = orjson.loads(file.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None
    return content.get(key) if isinstance(content, dict) else None
