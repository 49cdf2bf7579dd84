"""What a store holds, what was deleted from it and what was exported, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from didact.report.summary import plain_console, table
from didact.store.collect import Collection
from didact.store.export import Exported
from didact.store.history import Entry
from didact.text.shown import visible


def print_history(entries: Sequence[Entry], console: Console | None = None) -> None:
    """Print the versions of a data set on stdout."""
    rows = [[entry.version, ", ".join(entry.refs) or "–", _parent(entry), _holds(entry)] for entry in entries]
    (console or plain_console()).print(table("Versions", ["version", "refs", "parent", "rows of mixes"], rows, left=4))


def _parent(entry: Entry) -> str:
    if entry.parent is None:
        return "–"
    return entry.parent if entry.parent_is_there else f"{entry.parent} (gone)"


def _holds(entry: Entry) -> str:
    if entry.manifest is None:
        return visible(f"damaged: {entry.problem}")
    mixes = entry.manifest.mixes.items()
    return visible(", ".join(f"{name} {sum(mix.rows.values()):,}" for name, mix in mixes))


def print_collection(found: Collection, dry_run: bool, console: Console | None = None) -> None:
    """Print what was deleted, or would be, and what stays, on stdout."""
    out = console or plain_console()
    for title, side in (("Would go" if dry_run else "Deleted", found.deleted), ("Kept", found.kept)):
        if side:
            rows = [[visible(one.path), visible(one.why), f"{one.bytes / 1e6:,.1f}"] for one in side]
            out.print(table(title, ["what", "why", "MB"], rows, left=2))
    verb = "would be free" if dry_run else "free"
    out.print(f"{found.bytes / 1e6:,.1f} MB {verb}" if found.deleted else "Nothing to delete")


def print_export(done: Exported, console: Console | None = None) -> None:
    """Print what an export wrote on stdout."""
    out = console or plain_console()
    rows = [[visible(mix), split, count] for mix, splits in done.mixes.items() for split, count in splits.items()]
    out.print(table(f"Rows written as {done.format}", ["mix", "split", "rows"], rows, left=2))
    if done.lost:
        lost = [[visible(told), count] for told, count in done.lost.most_common()]
        out.print(table(f"Not held by the format; {done.left_out:,} rows left out", ["what", "rows"], lost))
    out.print(visible(str(done.path)), markup=False, soft_wrap=True)
