"""Diff: which records came, went or changed from one version to another, and which stage, setting or input did it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from didact.curate.order import I64
from didact.store.causes import INPUT, Cause, causes
from didact.store.holdings import SPLITS, Holdings, chosen_batches, holdings
from didact.store.manifest import Amounts, Manifest
from didact.store.pairing import pair
from didact.store.version import Version

_STAGE_SETTINGS = {"read": "/sources", "clean": "/clean", "filter": "/filters", "dedup": "/dedup", "mix": "/mixes"}
"""Where in a recipe the settings of a stage stand."""


@dataclass(frozen=True, slots=True)
class SettingChange:
    """A value of the recipe's data sections that differs; None on the side that lacks it."""

    pointer: str
    old: Any
    new: Any


@dataclass(frozen=True, slots=True)
class InputChange:
    """A source whose files differ, by path relative to the source."""

    source: str
    added: list[str]
    removed: list[str]
    changed: list[str]


@dataclass(frozen=True, slots=True)
class MixChange:
    """Training rows and tokens of a source in a mix, before and after; zeros where it took no part."""

    mix: str
    source: str
    old: Amounts
    new: Amounts

    def delta(self) -> dict[str, int | None]:
        """New minus old in each unit; None where one side was not counted."""
        return {unit: _minus(getattr(self.new, unit), getattr(self.old, unit)) for unit in Amounts.model_fields}


@dataclass(frozen=True, slots=True)
class CauseCount:
    """Records that went or came for one reason, and the changed settings of the stage that decided it (all, where none
    of its own changed).
    """

    cause: Cause
    records: int
    settings: list[str]


@dataclass(frozen=True)
class Diff:
    """The difference of two versions. Counts are of records, however often a mix repeats one."""

    old: Manifest
    new: Manifest
    counts: dict[str, int]
    """added, removed, changed, unchanged; resplit: in another split than before; moved: at another place."""
    settings: list[SettingChange]
    inputs: list[InputChange]
    libraries: list[SettingChange]
    mixes: list[MixChange]
    removed_by: list[CauseCount]
    added_by: list[CauseCount]
    changed_by: dict[str, int]
    """`input`: the row of the file is another one; `clean`: it was cleaned differently."""
    added: pa.Table
    """id, source, path, index, line, split, cause; of all added records, or of as many as were asked for."""
    removed: pa.Table
    changed: pa.Table
    """id, source, path, index, line, split of the new record, its old_id, and by: input or clean."""

    @property
    def same(self) -> bool:
        """Whether both versions hold the same rows in the same order."""
        return self.old.digest == self.new.digest

    def as_json(self) -> dict[str, Any]:
        """The difference as plain values."""
        return {
            "old": f"{self.old.name}@{self.old.version}",
            "new": f"{self.new.name}@{self.new.version}",
            "same": self.same,
            "counts": self.counts,
            "settings": [asdict(change) for change in self.settings],
            "inputs": [asdict(change) for change in self.inputs],
            "libraries": [asdict(change) for change in self.libraries],
            "mixes": [_mix_json(change) for change in self.mixes],
            "removed_by": [asdict(count) for count in self.removed_by],
            "added_by": [asdict(count) for count in self.added_by],
            "changed_by": self.changed_by,
            **{name: getattr(self, name).to_pylist() for name in ("added", "removed", "changed")},
        }


def diff(old: Version, new: Version, limit: int | None = None) -> Diff:
    """Compare two versions by their ids; texts are not read.

    limit: records listed in each of the tables `added`, `removed` and `changed`, none: all. Counts are always whole.
    Memory: 120 bytes per record of the larger version, and the tables.
    """
    before, after = holdings(old), holdings(new)
    found = pair(before, after)
    settings = list(setting_changes(old.manifest.recipe, new.manifest.recipe))
    edited = (before.ids[found.old] != after.ids[found.new]).any(axis=1)
    recleaned = ~edited & (before.contents[found.old] != after.contents[found.new]).any(axis=1)
    changed = np.flatnonzero(edited | recleaned)
    went, came = causes(_of(before, found.removed), old, new), causes(_of(after, found.added), new, old)
    removed = _listed(old, before, found.removed[:limit]).append_column("cause", _told(went[:limit]))
    added = _listed(new, after, found.added[:limit]).append_column("cause", _told(came[:limit]))
    return Diff(
        old.manifest,
        new.manifest,
        {
            "added": len(found.added),
            "removed": len(found.removed),
            "changed": len(changed),
            "unchanged": len(found.old) - len(changed),
            "resplit": int((before.splits[found.old] != after.splits[found.new]).sum()),
            "moved": int((before.places[found.old] != after.places[found.new]).sum()),
        },
        settings,
        list(_input_changes(old.manifest, new.manifest)),
        list(setting_changes(old.manifest.created_by, new.manifest.created_by)),
        _mix_changes(old.manifest, new.manifest),
        _counted(went, settings),
        _counted(came, settings),
        {"input": int(edited.sum()), "clean": int(recleaned.sum())},
        added,
        removed,
        _changed_table(new, before, after, found.old[changed[:limit]], found.new[changed[:limit]]),
    )


def setting_changes(old: Any, new: Any, pointer: str = "") -> Iterator[SettingChange]:
    """The values that differ between two JSON values, by JSON pointer, sorted.

    >>> [change.pointer for change in setting_changes({"a": [1, 2]}, {"a": [1, 3], "b/c": 1})]
    ['/a/1', '/b~1c']
    """
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted(old.keys() | new.keys()):
            place = f"{pointer}/{str(key).replace('~', '~0').replace('/', '~1')}"
            yield from _one_sided(old, new, key, place)
    elif isinstance(old, list) and isinstance(new, list):
        sides = dict(enumerate(old)), dict(enumerate(new))
        for index in range(max(len(old), len(new))):
            yield from _one_sided(*sides, index, f"{pointer}/{index}")
    elif old != new or isinstance(old, bool) != isinstance(new, bool):
        yield SettingChange(pointer, old, new)


def _one_sided(old: Mapping[Any, Any], new: Mapping[Any, Any], key: Any, place: str) -> Iterator[SettingChange]:
    if key in old and key in new:
        yield from setting_changes(old[key], new[key], place)
    else:
        yield SettingChange(place, old.get(key), new.get(key))


def _input_changes(old: Manifest, new: Manifest) -> Iterator[InputChange]:
    for name in sorted(old.sources.keys() | new.sources.keys()):
        before = old.sources[name].files if name in old.sources else {}
        after = new.sources[name].files if name in new.sources else {}
        if before != after:
            both = before.keys() & after.keys()
            yield InputChange(
                name,
                sorted(after.keys() - both),
                sorted(before.keys() - both),
                sorted(path for path in both if before[path] != after[path]),
            )


def _mix_changes(old: Manifest, new: Manifest) -> list[MixChange]:
    """Every source of every mix that differs in amount."""
    before, after = _amounts(old), _amounts(new)
    none = Amounts(records=0, tokens=0, trained_tokens=0)
    found = [MixChange(*key, before.get(key, none), after.get(key, none)) for key in sorted(before | after)]
    return [change for change in found if change.old != change.new]


def _amounts(manifest: Manifest) -> dict[tuple[str, str], Amounts]:
    return {
        (mix, source): part.achieved for mix, entry in manifest.mixes.items() for source, part in entry.sources.items()
    }


def _minus(new: int | None, old: int | None) -> int | None:
    return None if new is None or old is None else new - old


def _mix_json(change: MixChange) -> dict[str, Any]:
    sides = {"old": change.old.model_dump(), "new": change.new.model_dump()}
    return {"mix": change.mix, "source": change.source, **sides, "delta": change.delta()}


def _counted(found: list[Cause], settings: list[SettingChange]) -> list[CauseCount]:
    """Causes by how many records they concern, with the settings that changed in the stage that decided."""
    return [
        CauseCount(cause, records, [] if cause.stage == INPUT else _settings_of(cause.stage, settings))
        for cause, records in sorted(Counter(found).items(), key=lambda item: (-item[1], str(item[0])))
    ]


def _settings_of(stage: str, settings: list[SettingChange]) -> list[str]:
    """Changed settings of a stage, or all where none of its own changed: what comes before a stage shifts it too."""
    prefix = _STAGE_SETTINGS.get(stage, f"/{stage}")
    own = [change.pointer for change in settings if change.pointer.startswith(prefix)]
    return own or [change.pointer for change in settings]


def _of(held: Holdings, chosen: I64) -> Holdings:
    return Holdings(*(getattr(held, name)[chosen] for name in Holdings.__dataclass_fields__))


def _told(found: list[Cause]) -> pa.Array:
    return pa.array([str(cause) for cause in found], pa.string())


def _changed_table(version: Version, before: Holdings, after: Holdings, old: I64, new: I64) -> pa.Table:
    listed = _listed(version, after, new)
    edited = (before.ids[old] != after.ids[new]).any(axis=1)
    ids = [words.astype("<u8").tobytes().hex() for words in before.ids[old]]
    listed = listed.append_column("old_id", pa.array(ids, pa.string()))
    return listed.append_column("by", pa.array(np.where(edited, "input", "clean").tolist(), pa.string()))


def _listed(version: Version, held: Holdings, chosen: I64) -> pa.Table:
    """Some records of a version with their place, in the order of `chosen`, which ascends."""
    kind = pa.schema(
        [
            ("id", pa.string()),
            ("source", pa.string()),
            ("path", pa.string()),
            ("index", pa.int64()),
            ("line", pa.int64()),
        ]
    )
    rows = held.rows[chosen]
    parts = [_places(batch, kind) for batch in chosen_batches(version, rows, ("id", "source", "row"))]
    table = pa.concat_tables(parts) if parts else kind.empty_table()
    splits: NDArray[np.int8] = held.splits[chosen]
    return table.append_column("split", pa.array([SPLITS[code] for code in splits.tolist()], pa.string()))


def _places(batch: pa.RecordBatch, kind: pa.Schema) -> pa.Table:
    row = batch.column("row")
    place = [row.field(name) for name in ("path", "index", "line")]
    return pa.Table.from_arrays([batch.column("id"), batch.column("source"), *place], schema=kind)
