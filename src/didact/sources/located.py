"""Where the rows of a source are: local files as they stand; files at URLs, data sets of the hub and query results as
local files.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from didact.errors import CallError
from didact.recipe.sources import Source
from didact.sources.database import query_rows
from didact.sources.elsewhere import Elsewhere, fetched_files, is_elsewhere
from didact.sources.files import list_files
from didact.sources.hub import SCHEME, hub_files
from didact.sources.saved import split_of
from didact.sources.spool import Spool


class Located(NamedTuple):
    """A local file, the path that names it in findings and records, and the split it belongs to if that is known."""

    path: Path
    relative: str
    split: str | None


def locate(name: str, source: Source, folder: Path, spool: Spool | None) -> list[Located]:
    """The files of a source, in the order of their relative paths.

    Paths are relative to `folder`; the rows of a query are written into `spool`. Raises InputMissing when a path stands
    for nothing, CallError when a database or the hub cannot give what is asked for.
    """
    if source.query is not None:
        if spool is None:
            raise CallError(f"{name}: a query's rows stand in no file; this works on files only")
        (url,) = source.paths()
        return [Located(query_rows(url, source.query, folder, spool, name), "query", None)]
    paths = source.paths()
    local = [path for path in paths if not path.startswith(SCHEME) and not is_elsewhere(path)]
    found = [Located(path, relative, split_of(path)) for path, relative in list_files(local, folder)] if local else []
    found += [Located(*file) for path in paths if path.startswith(SCHEME) for file in hub_files(path)]
    if urls := [path for path in paths if is_elsewhere(path)]:
        how = spool.elsewhere if spool is not None else Elsewhere()
        found += [Located(path, relative, split_of(path)) for path, relative in fetched_files(urls, how)]
    return sorted(found, key=lambda file: file.relative)
