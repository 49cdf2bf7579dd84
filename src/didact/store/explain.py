"""Explain: the whole life of a record, from its line in a file to its rows in the shards, or to where it was lost."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from didact.errors import CallError
from didact.store.lookup import Test, among, begins, equals, row_at, rows_where, values_where
from didact.store.version import Version

_ID = re.compile(r"[0-9a-f]{4,32}")
_AT = re.compile(r"(?P<path>.+)(?P<mark>[:#])(?P<number>[0-9]{1,18})")
_LISTED = 10
"""Candidates that an ambiguous question names."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a row stands: source, path in it, index in the file, physical line from 1."""

    source: str
    path: str
    index: int
    line: int


_PLACE_COLUMNS = ("source", "path", "index", "line")


@dataclass(frozen=True, slots=True)
class Appearance:
    """One row of a shard, counted from 0."""

    mix: str
    split: str
    shard: str
    row: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Loss:
    """Why a row is in no shard: the stage, the reason or code, and the evidence."""

    stage: str
    reason: str
    evidence: str


@dataclass(frozen=True, slots=True)
class Twin:
    """A row that was dropped as a duplicate of the one that the cluster kept."""

    id: str
    place: Place
    reason: str
    evidence: str


@dataclass(frozen=True, slots=True)
class Cluster:
    """Duplicates: the id that stayed, its place, and the rows that were dropped in its favour."""

    kept: str
    place: Place | None
    """None when the kept one is in no shard: a later stage dropped it."""
    dropped: list[Twin]


@dataclass
class Life:
    """One row of the input and what became of it."""

    place: Place
    id: str | None = None
    """None for a row that was rejected before it became a record."""
    key: str | None = None
    kind: str | None = None
    license: str | None = None
    findings: list[dict[str, Any]] = field(default_factory=list)
    """Warnings: code, pointer, message."""
    cleaned: list[dict[str, Any]] = field(default_factory=list)
    """Changed texts: field, rules, before (null where personal data was replaced), after."""
    signals: dict[str, float] = field(default_factory=dict)
    cluster: Cluster | None = None
    split: str | None = None
    shards: list[Appearance] = field(default_factory=list)
    loss: Loss | None = None
    record: dict[str, Any] | None = None
    """The record as it is in the shard, or as it was when it was dropped."""
    header: dict[str, Any] | None = None
    raw: str | None = None
    """First characters of a rejected row as they stand in its file."""

    def as_json(self) -> dict[str, Any]:
        """The life as plain values."""
        return asdict(self)


def explain(version: Version, written: str) -> list[Life]:
    """The life of every row that has an id (32 hex digits or how it begins, at least 4), or that stands at a place
    (`PATH:LINE` or `PATH#INDEX`; the end of a path is enough).

    One row, unless the data repeat a record word by word: copies share an id. Raises CallError when nothing fits, or
    when several different records do.
    """
    if _ID.fullmatch(written):
        return _lives_of(version, _whole_id(version, written))
    match = _AT.fullmatch(written)
    if match is None:
        raise CallError(f"'{written}': neither an id (4 to 32 hex digits) nor a place (PATH:LINE or PATH#INDEX)")
    return _lives_at(version, match["path"], "line" if match["mark"] == ":" else "index", int(match["number"]))


def _whole_id(version: Version, start: str) -> str:
    """The one id that begins so."""
    found: set[str] = set()
    for part in ("data", "dropped"):
        found.update(row["id"] for row in values_where(version, part, ["id"], begins("id", start)))
    if not found:
        raise CallError(
            f"{version.folder}: no id begins with '{start}'; rows that never became records are asked for as "
            "PATH:LINE, and rows that `where` leaves out are counted only"
        )
    if len(found) > 1:
        raise CallError(f"'{start}' begins {len(found)} ids: {_some(sorted(found))}; give more digits")
    return found.pop()


def _lives_at(version: Version, path: str, column: str, number: int) -> list[Life]:
    """The lives of what stands at a place."""
    in_shards = values_where(version, "data", ["id", "row"], _at(path, column, number, within="row"))
    dropped = values_where(version, "dropped", ["id", "path", column], _at(path, column, number))
    ids = sorted({row["id"] for row in [*in_shards, *dropped]})
    names = ["source", "path", "index", "line", "code", "pointer", "message", "raw"]
    rejected = values_where(version, "rejected", names, _at(path, column, number))
    lives = [life for one in ids for life in _lives_of(version, one)]
    lives = [life for life in lives if getattr(life.place, column) == number and _ends(life.place.path, path)]
    lives += [_rejected(version, row) for row in rejected]
    if not lives:
        raise CallError(f"{version.folder}: no row of a source stands at {column} {number} of '{path}'")
    if len({(life.place.source, life.place.path) for life in lives}) > 1 or len(lives) > _LISTED:
        places = sorted(f"{life.place.source}: {life.place.path}#{life.place.index}" for life in lives)
        raise CallError(f"{len(lives)} rows stand at {column} {number} of '{path}': {_some(places)}; name one of them")
    return lives


def _ends(path: str, wanted: str) -> bool:
    return path == wanted or path.endswith(f"/{wanted}")


def _at(path: str, column: str, number: int, within: str | None = None) -> Test:
    """Rows at a place; `within` names the struct that holds it."""

    def test(batch: pa.RecordBatch) -> Any:
        def of(name: str) -> pa.Array:
            return batch.column(within).field(name) if within else batch.column(name)

        named = pc.or_(pc.equal(of("path"), path), pc.ends_with(of("path"), f"/{path}"))
        return pc.and_(pc.equal(of(column), number), named)

    return test


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def _lives_of(version: Version, record_id: str) -> list[Life]:
    """Every row with an id, first in the shards, then among the dropped."""
    lives: dict[Place, Life] = {}
    for name, number in rows_where(version, "data", ["id"], equals("id", record_id)):
        row = row_at(version.file(name), number)
        place = Place(row["source"], *(row["row"][part] for part in ("path", "index", "line")))
        life = lives.setdefault(place, _begun(version, place, row))
        _, mix, shard = name.split("/")
        life.split = shard.rsplit("-", 3)[0]
        life.shards.append(Appearance(mix, life.split, name, number, row["epoch"]))
    for name, number in rows_where(version, "dropped", ["id"], equals("id", record_id)):
        row = row_at(version.file(name), number)
        place = _place(row)
        life = lives[place] = _begun(version, place, row)
        life.loss = Loss(row["stage"], row["reason"], row["evidence"])
        life.cluster = _cluster(version, row["kept"]) if row["kept"] else None
    for life in lives.values():
        _tell(version, life)
    return list(lives.values())


def _begun(version: Version, place: Place, row: dict[str, Any]) -> Life:
    record = orjson.loads(row["record"])
    life = Life(place, id=row["id"], kind=record["kind"], record=record, header=version.header(record.get("header")))
    life.key = record.get("origin", {}).get("key")
    life.license = record.get("license", version.manifest.sources[place.source].license)
    return life


def _tell(version: Version, life: Life) -> None:
    """Add what the side tables say of a row."""
    life.findings = list(_side(version, "findings", life.place, ("code", "pointer", "message")))
    life.cleaned = list(_side(version, "cleaned", life.place, ("field", "rules", "before", "after")))
    for signals in _side(version, "signals", life.place, None):
        life.signals = {name: value for name, value in signals.items() if "." in name and value is not None}
    if life.loss is None and life.id is not None:
        cluster = _cluster(version, life.id)
        life.cluster = cluster if cluster.dropped else None


def _side(version: Version, part: str, place: Place, columns: Sequence[str] | None) -> Iterator[dict[str, Any]]:
    """Rows of a side table about one row of the input."""
    name = f"{part}/{part}.parquet"
    if not version.has(name):
        return
    wanted = [(name, "=", getattr(place, name)) for name in ("source", "path", "index")]
    table = pq.read_table(
        version.file(name), columns=list(columns) if columns else None, filters=wanted, partitioning=None
    )
    yield from table.to_pylist()


def _cluster(version: Version, kept: str) -> Cluster:
    """The duplicates around the record that stayed in place of some row."""
    keeper, place = _keeper(version, kept)
    return Cluster(keeper, place, sorted(_twins(version, keeper), key=lambda twin: twin.place))


def _keeper(version: Version, kept: str) -> tuple[str, Place | None]:
    """The record that stayed in the end, and its place: what was kept in place of a copy may itself have been dropped
    in favour of a near copy.
    """
    seen: set[str] = set()
    while kept not in seen:
        seen.add(kept)
        place = _place_in_shards(version, kept)
        if place is not None:
            return kept, place
        later = [row["kept"] for row in values_where(version, "dropped", ["id", "kept"], equals("id", kept))]
        kept = next((one for one in later if one is not None and one not in seen), kept)
    return kept, None


def _twins(version: Version, keeper: str) -> list[Twin]:
    """The rows dropped in favour of a record, and those dropped in favour of these."""
    columns = [*_PLACE_COLUMNS, "id", "reason", "evidence", "kept"]
    twins: list[Twin] = []
    seen, level = {keeper}, {keeper}
    while level:
        rows = values_where(version, "dropped", columns, among("kept", sorted(level)))
        twins += [Twin(row["id"], _place(row), row["reason"], row["evidence"]) for row in rows]
        level = {row["id"] for row in rows} - seen
        seen |= level
    return twins


def _place(row: dict[str, Any]) -> Place:
    return Place(*(row[name] for name in _PLACE_COLUMNS))


def _place_in_shards(version: Version, record_id: str) -> Place | None:
    for name, number in rows_where(version, "data", ["id"], equals("id", record_id)):
        row = row_at(version.file(name), number)
        return Place(row["source"], *(row["row"][part] for part in ("path", "index", "line")))
    return None


def _rejected(version: Version, row: dict[str, Any]) -> Life:
    life = Life(_place(row))
    told = row["message"] + (f" (at {row['pointer']})" if row["pointer"] else "")
    life.loss = Loss("read", row["code"], told)
    life.raw = row["raw"].decode("utf-8", "replace")
    life.license = version.manifest.sources[life.place.source].license
    life.findings = list(_side(version, "findings", life.place, ("code", "pointer", "message")))
    return life
