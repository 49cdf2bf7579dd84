"""What became of a version from one build to the next, as tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
from rich.console import Console, Group, RenderableType
from rich.text import Text

from didact.report.summary import plain_console, table
from didact.store.diff import CauseCount, Diff, SettingChange
from didact.text.shown import visible

_SHOWN = 60
"""Characters of a setting's value shown."""


def print_diff(found: Diff, console: Console | None = None) -> None:
    """Print a difference on stdout."""
    (console or plain_console()).print(diff_summary(found))


def diff_summary(found: Diff) -> RenderableType:
    """Counts, the settings and inputs that differ, mixes, causes, and the records that were listed."""
    names = f"{found.old.name}@{found.old.version} → {found.new.name}@{found.new.version}"
    if found.same:
        return Group(Text(f"{names}: the same rows in the same order"), *_settings(found))
    parts: list[RenderableType] = [
        table(f"Records: {names}", list(found.counts), [list(found.counts.values())], left=0)
    ]
    parts += _settings(found)
    if found.mixes:
        parts.append(_mixes(found))
    parts += _causes("Removed records by the stage that lost them", found.removed_by)
    parts += _causes("Added records by what had lost them before", found.added_by)
    return Group(*parts, *_records(found))


def _settings(found: Diff) -> list[RenderableType]:
    parts: list[RenderableType] = []
    for title, changes in (("Settings that differ", found.settings), ("Libraries and algorithms", found.libraries)):
        if changes:
            parts.append(table(title, ["pointer", "old", "new"], map(_change, changes), left=3))
    if found.inputs:
        counts = [[visible(i.source), len(i.added), len(i.removed), len(i.changed)] for i in found.inputs]
        parts.append(table("Input files that differ", ["source", "added", "removed", "changed"], counts))
    return parts


def _change(change: SettingChange) -> list[str]:
    return [visible(change.pointer), *(_short(value) for value in (change.old, change.new))]


def _short(value: object) -> str:
    text = visible(orjson.dumps(value).decode()) if value is not None else "–"
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _mixes(found: Diff) -> RenderableType:
    rows = []
    for change in found.mixes:
        delta = change.delta()
        told = ["–" if delta[unit] is None else f"{delta[unit]:+,}" for unit in ("records", "tokens", "trained_tokens")]
        rows.append([change.mix, visible(change.source), change.old.records, change.new.records, *told])
    columns = ["mix", "source", "rows before", "rows after", "rows ±", "tokens ±", "trained tokens ±"]
    return table("Training rows of mixes", columns, rows, left=2)


def _causes(title: str, counts: Sequence[CauseCount]) -> list[RenderableType]:
    rows = [[visible(str(one.cause)), visible(", ".join(one.settings)) or "–", one.records] for one in counts]
    return [table(title, ["cause", "settings that differ", "records"], rows, left=2)] if rows else []


def _records(found: Diff) -> list[RenderableType]:
    parts: list[RenderableType] = []
    for name, last in (("removed", "cause"), ("added", "cause"), ("changed", "by")):
        listed = getattr(found, name)
        rows = [
            [row["id"], visible(f"{row['source']}: {row['path']}:{row['line']}"), row["split"], visible(row[last])]
            for row in listed.to_pylist()
        ]
        if rows:
            title = f"{name.capitalize()}: {len(rows):,} of {found.counts[name]:,}"
            parts.append(table(title, ["id", "place", "split", last], rows, left=4))
    return parts
