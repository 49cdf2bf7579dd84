"""The life of a record, for a terminal: one line for each thing that happened to it, in the order of the data path."""

from __future__ import annotations

from collections.abc import Iterator

import orjson
from rich.console import Console
from rich.text import Text

from didact.records.findings import CODES
from didact.report.summary import plain_console
from didact.store.explain import Life, Place
from didact.text.shown import visible

_SHOWN = 400
"""Characters of a record shown; `--json` gives all."""
_TWINS = 10
"""Duplicates listed; `--json` gives all."""


def print_life(life: Life, console: Console | None = None) -> None:
    """Print a life on stdout."""
    out = console or plain_console()
    for name, told in life_lines(life):
        out.print(Text(f"{name:12}{visible(told)}"), soft_wrap=True)


def life_lines(life: Life) -> Iterator[tuple[str, str]]:
    """What happened, as pairs of what it concerns and what is to be told of it; texts as they are, unescaped."""
    yield "record", f"{life.id or 'none: the row was rejected'}" + (f"  key {life.key}" if life.key else "")
    yield "read from", f"{_place(life.place)}, row {life.place.index}"
    yield "licence", life.license or "unknown"
    for found in life.findings:
        yield "warning", f"{found['code']} {_title(found['code'])} at '{found['pointer']}': {found['message']}"
    for change in life.cleaned:
        rules = ", ".join(change["rules"])
        before = "(held personal data)" if change["before"] is None else repr(change["before"])
        yield "cleaned", f"{change['field']} by {rules}: {before} → {change['after']!r}"
    if life.signals:
        yield "signals", ", ".join(f"{name} {value:.6g}" for name, value in sorted(life.signals.items()))
    yield from _fate(life)
    if life.record is not None:
        yield "content", _short(orjson.dumps(life.record).decode())
    if life.raw is not None:
        yield "raw", _short(life.raw)


def _fate(life: Life) -> Iterator[tuple[str, str]]:
    if life.loss is not None:
        kind = "rejected" if life.id is None else "dropped"
        yield (
            kind,
            f"by {life.loss.stage}: {life.loss.reason} {_title(life.loss.reason)}".rstrip()
            + (f" ({life.loss.evidence})"),
        )
    if life.cluster is not None:
        place = f" from {_place(life.cluster.place)}" if life.cluster.place else ", which a later stage dropped"
        yield "duplicates", f"{len(life.cluster.dropped)} dropped; kept {life.cluster.kept}{place}"
        for twin in life.cluster.dropped[:_TWINS]:
            yield "", f"{twin.id} from {_place(twin.place)}: {twin.reason}, {twin.evidence}"
    if life.split is not None:
        yield "split", life.split
    for one in life.shards:
        yield "mix", f"{one.mix}: {one.shard}, row {one.row}, epoch {one.epoch}"


def _place(place: Place) -> str:
    return f"{place.source}: {place.path}:{place.line}"


def _title(code: str) -> str:
    return CODES[code].title if code in CODES else ""


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
