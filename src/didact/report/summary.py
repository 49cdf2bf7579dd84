"""What a build did, as tables for a terminal: rows by source and stage, losses by reason, mixes planned and
achieved.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from didact.records.findings import CODES
from didact.store.manifest import Account, Manifest, MixSource

_STAGES = {"read": "read", "filter": "filter", "dedup": "dedup", "mix": "unused"}


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], left: int = 1) -> Table:
    """A table whose first `left` columns are words and whose others are numbers. Cells are plain text, never markup."""
    made = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    for place, column in enumerate(columns):
        made.add_column(column, justify="left" if place < left else "right", overflow="fold")
    for row in rows:
        made.add_row(*(Text(f"{cell:,}" if isinstance(cell, int) else str(cell)) for cell in row))
    return made


def plain_console() -> Console:
    """Stdout: as wide as the terminal, or 120 columns where there is none."""
    return Console(width=None if sys.stdout.isatty() else 120, highlight=False)


def build_summary(manifest: Manifest) -> RenderableType:
    """The whole story of a build, top to bottom."""
    parts: list[RenderableType] = [_rows(manifest), _reasons(manifest.accounting)]
    if any(manifest.findings.values()):
        parts.append(_warnings(manifest))
    if any(manifest.cleaned.values()):
        parts.append(_cleaned(manifest))
    if manifest.compression:
        parts.append(_compression(manifest))
    return Group(*parts, _mixes(manifest), Text(_leaks(manifest)))


def print_summary(manifest: Manifest, console: Console | None = None) -> None:
    """Print the story of a build on stdout."""
    (console or plain_console()).print(build_summary(manifest))


def _rows(manifest: Manifest) -> Table:
    by = {(account.stage, account.source): account for account in manifest.accounting}
    rows: list[tuple[str, list[int]]] = []
    for source in sorted({account.source for account in manifest.accounting}):
        own = [by[stage, source] for stage in _STAGES if (stage, source) in by]
        held = manifest.splits[source].achieved
        numbers = [own[0].rows_in, *(account.lost for account in own), own[-1].kept, held["validation"], held["test"]]
        rows.append((source, numbers))
    totals = [sum(column) for column in zip(*(numbers for _, numbers in rows), strict=True)]
    columns = ["source", "rows in", "rejected", "filtered", "duplicate", "unused", "kept", "validation", "test"]
    return table(
        "Rows: in = kept + lost; validation and test are held out of the kept",
        columns,
        ([name, *numbers] for name, numbers in [*rows, ("all", totals)]),
    )


def _reasons(accounts: Sequence[Account]) -> Table:
    lost: Counter[tuple[str, str, str]] = Counter()
    for account in accounts:
        for reason, count in (account.dropped | account.rejected).items():
            lost[account.stage, reason, account.source] += count
    rows = [
        [stage, f"{reason} {CODES[reason].title}" if reason in CODES else reason, source, count]
        for (stage, reason, source), count in lost.most_common()
    ]
    return table(
        "Lost rows by reason (each is in dropped/ or rejected/ with its text)",
        ["stage", "reason", "source", "rows"],
        rows or [["–", "nothing was lost", "", 0]],
        left=3,
    )


def _warnings(manifest: Manifest) -> Table:
    found = Counter({(code, source): n for source, codes in manifest.findings.items() for code, n in codes.items()})
    rows = [[code, CODES[code].title, source, n] for (code, source), n in found.most_common()]
    return table("Warnings on kept rows and files", ["code", "meaning", "source", "count"], rows, left=3)


def _cleaned(manifest: Manifest) -> Table:
    changed = Counter({(rule, source): n for source, rules in manifest.cleaned.items() for rule, n in rules.items()})
    return table(
        "Texts changed by cleaning",
        ["rule", "source", "texts"],
        [[rule, source, n] for (rule, source), n in changed.most_common()],
        left=2,
    )


def _compression(manifest: Manifest) -> Table:
    rows = [
        [fit.source, fit.language, fit.records, fit.bytes, fit.tokens, f"{fit.bytes_per_token:.2f}"]
        for fit in manifest.compression
    ]
    columns = ["source", "language", "records", "bytes", "tokens", "bytes per token"]
    return table("Tokenizer: how well it fits a sample of the training texts", columns, rows, left=2)


def _mixes(manifest: Manifest) -> RenderableType:
    tables = []
    for name, mix in sorted(manifest.mixes.items()):
        tables.append(_mix(f"Mix {name}: training split", mix.unit, mix.sources))
        tables += [
            _mix(f"Mix {name}, phase {phase.name}: {phase.rows:,} rows", mix.unit, phase.sources)
            for phase in mix.phases
        ]
    return Group(*tables)


def _mix(title: str, unit: str, sources: Mapping[str, MixSource]) -> Table:
    """Achieved beside planned amounts of each source; in the mix's own unit a plan is met within a record."""
    rows = []
    for source, entry in sorted(sources.items()):
        amounts = [_beside(entry, of) for of in ("records", "tokens", "trained_tokens")]
        rows.append([source, *amounts, f"{entry.share:.2%}", f"{entry.epochs:.2f}", f"{entry.unique_share:.1%}"])
    columns = ["source", "records", "tokens", "trained tokens", "share", "epochs", "unique"]
    return table(f"{title}, shares in {unit.replace('_', ' ')} (achieved / planned)", columns, rows)


def _beside(entry: MixSource, unit: str) -> str:
    achieved, planned = getattr(entry.achieved, unit), getattr(entry.planned, unit)
    return "–" if achieved is None else f"{achieved:,} / {planned:,}"


def _leaks(manifest: Manifest) -> str:
    check = manifest.leak_check
    if check is None:
        return "Leak check: nothing was held out."
    return (
        f"Leak check: of {check.held_out:,} held-out records {check.same_prompt} share their prompt with training, "
        f"{check.near_prompt} have a training prompt of Jaccard similarity {check.threshold:g} or more."
    )
