"""Rows of a database: any SQLAlchemy URL and a query. Needs `didact[sql]`.

Not through pandas: it makes floats of integer columns that have a NULL, chunk by chunk, so that the same table would
read differently with another chunk size, and large integers would lose digits.
"""

from __future__ import annotations

import heapq
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from didact.errors import CallError, InputMissing
from didact.sources.spool import Spool, spelt_row

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine, Row

FETCHED = 1000
"""Rows that are asked of the database at a time."""
_SORTED_BYTES = 16 << 20
"""Rows that are sorted in memory; more are sorted in pieces of this size and merged."""

_NOT_CODE = re.compile(
    r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`|\[[^\]]*\]|--[^\n]*|/\*.*?\*/|\$(\w*)\$.*?\$\1\$", re.DOTALL
)
_INNER = re.compile(r"\([^()]*\)")
_READS = re.compile(r"[\s(]*(?:select|with|values|table|from)\b", re.IGNORECASE)
_ORDER = re.compile(r"\border\s+by\b", re.IGNORECASE)
_FIRST_ONLY = re.compile(r"\b(?:limit\b|fetch\s+(?:first|next)\b|offset\s+\d|top\s+\d)", re.IGNORECASE)


def query_rows(url: str, query: str, folder: Path, spool: Spool, name: str) -> Path:
    """The file into which the rows of a query are written, in an order that does not change between two calls.

    folder: what the path of an SQLite file is relative to. Raises CallError when the query cannot be run or has no
    order that can be kept, InputMissing when there is no such SQLite file.
    """
    ordered = _is_ordered(query)
    with _connected(url, folder) as (connection, shown):
        lines = _lines(_run(connection, query, shown), shown)
        return spool.write(f"{name}/query", lines if ordered else _sorted(lines, spool.folder))


def _is_ordered(query: str) -> bool:
    """Whether the query itself states the order of its rows. Raises CallError when it reads nothing, or some rows only
    and does not say which.
    """
    if not _READS.match(_NOT_CODE.sub(" ", query)):
        raise CallError("query: begins with none of SELECT, WITH, VALUES; Didact only reads databases")
    outer = outermost(query)
    if ";" in outer.rstrip().rstrip(";"):
        raise CallError("query: holds several statements; give one")
    if _ORDER.search(outer):
        return True
    if _FIRST_ONLY.search(outer):
        raise CallError("query: takes some of the rows without saying which come first; add ORDER BY a unique key")
    return False


def outermost(query: str) -> str:
    """A query without what stands in quotes, comments and parentheses.

    >>> outermost("SELECT (SELECT 1 ORDER BY 1), 'x'")
    'SELECT  ,  '
    """
    left = _NOT_CODE.sub(" ", query)
    while (fewer := _INNER.sub(" ", left)) != left:
        left = fewer
    return left


@contextmanager
def _connected(url: str, folder: Path) -> Iterator[tuple[Connection, str]]:
    """A connection that only reads, as far as the database can promise that, and its URL without secrets."""
    try:
        import sqlalchemy
    except ImportError as error:
        raise CallError("a database needs more packages; pip install 'didact[sql]'") from error
    try:
        parsed = sqlalchemy.make_url(url)
        shown = parsed.set(query={}).render_as_string(hide_password=True)
    except (sqlalchemy.exc.ArgumentError, ValueError) as error:
        raise CallError("path: no database URL; it has the form dialect://user:password@host/name") from error
    try:
        engine = _engine(parsed, folder, shown)
    except (sqlalchemy.exc.ArgumentError, ImportError) as error:
        raise CallError(f"{shown}: {_told(error, parsed)}; install the database's driver") from error
    try:
        with engine.connect() as connection:
            yield _reading(connection), shown
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise CallError(f"{shown}: {_told(error, parsed)}") from error
    finally:
        engine.dispose()


def _engine(url: URL, folder: Path, shown: str) -> Engine:
    from sqlalchemy import create_engine, pool

    if url.get_backend_name() != "sqlite":
        return create_engine(url, poolclass=pool.NullPool, hide_parameters=True)
    if url.database in (None, "", ":memory:"):
        raise CallError(f"{shown}: an SQLite database in memory is empty; name a file")
    path = folder / str(url.database)
    if not path.is_file():
        raise InputMissing(path, "SQLite file")
    return create_engine("sqlite://", poolclass=pool.NullPool, creator=partial(_open_sqlite, path.resolve()))


def _open_sqlite(path: Path) -> Any:
    """A connection that cannot write. Texts in no valid UTF-8 come as they are, so that they cost their row only."""
    import sqlite3

    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    connection.text_factory = _lenient
    return connection


def _lenient(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")


def _reading(connection: Connection) -> Connection:
    """The connection with rows that stream and, where the dialect knows it, a transaction that cannot write."""
    options: dict[str, Any] = {"stream_results": True, "yield_per": FETCHED, "no_parameters": True}
    if connection.dialect.name == "postgresql":
        options["postgresql_readonly"] = True
    return connection.execution_options(**options)


def _run(connection: Connection, query: str, shown: str) -> Iterator[Row[Any]]:
    # As the author wrote it: colons and per cent signs in it are no placeholders.
    result = connection.exec_driver_sql(query)
    names = list(result.keys())
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise CallError(f"{shown}: two columns of the query are called '{twice}'; rename one with AS")
    yield from result


def _lines(rows: Iterable[Row[Any]], shown: str) -> Iterator[bytes]:
    for index, row in enumerate(rows):
        yield spelt_row(dict(row._mapping), f"{shown}, row {index}")


def _sorted(lines: Iterator[bytes], folder: Path) -> Iterator[bytes]:
    """Lines by their bytes, in bounded memory."""
    part, rest = sorted(_taken(lines)), _taken(lines)
    if not rest:
        yield from part
        return
    runs = [_written(part, folder)]
    del part
    while rest:
        runs.append(_written(sorted(rest), folder))
        rest = _taken(lines)
    yield from heapq.merge(*(_read_back(run) for run in runs))
    for run in runs:
        run.unlink()


def _taken(lines: Iterator[bytes]) -> list[bytes]:
    """The next lines, about as many as may be sorted in memory."""
    taken: list[bytes] = []
    size = 0
    for line in lines:
        taken.append(line)
        size += len(line) + 64
        if size >= _SORTED_BYTES:
            break
    return taken


def _written(lines: Iterable[bytes], folder: Path) -> Path:
    descriptor, name = tempfile.mkstemp(dir=folder)
    with os.fdopen(descriptor, "wb") as file:
        file.writelines(line + b"\n" for line in lines)
    return Path(name)


def _read_back(run: Path) -> Iterator[bytes]:
    with run.open("rb") as file:
        for line in file:
            yield line[:-1]


def _told(error: Exception, url: URL) -> str:
    """An error in one line, without the password."""
    told = " ".join(str(getattr(error, "orig", None) or error).split())[:300]
    for secret in (url.password, *(value for value in url.query.values() if isinstance(value, str))):
        if secret:
            told = told.replace(secret, "***")
    return told
