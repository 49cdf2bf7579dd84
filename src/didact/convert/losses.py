"""What a conversion loses: equal losses of many records told once, with their number and the first place."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from didact.formats.writing import Loss
from didact.records.findings import CODES

_INDEX = re.compile(r"/\d+(?=/|$)")
_MOST = 500
"""Kinds of loss that are told apart; pointers hold keys of the data, so their number has no bound of its own."""
_MORE = "other losses, more kinds than are told apart"


@dataclass(slots=True)
class LossKind:
    """One thing that has no place in the target format, over all records that have it."""

    pointer: str
    """JSON pointer with indices as `*`: in the record, or in the author's row for keys that records do not have."""
    why: str
    first: str
    """File and line of the first record that loses it."""
    left_out: bool
    """Whether the records are not written at all."""
    records: int = 0


@dataclass
class Conversion:
    """What a conversion did, or would do: records = written + left_out."""

    to: str
    files: list[dict[str, str]] = field(default_factory=list)
    """Every file that was read, its format, and the file written for it."""
    records: int = 0
    written: int = 0
    left_out: int = 0
    losing: int = 0
    """Records that lose something, those left out among them."""
    changed: int = 0
    """Records that `edit` changed."""
    copied: Counter[str] = field(default_factory=Counter)
    """Rows that could not be read and were copied as they are, by code; they are counted as records written."""
    losses: list[LossKind] = field(default_factory=list)
    rows: list[Any] = field(default_factory=list)
    """The new rows, when they were asked for instead of a file."""

    @property
    def lossless(self) -> bool:
        """Whether nothing is lost."""
        return not self.losses

    def as_json(self) -> dict[str, Any]:
        """The report as plain values."""
        counts = {name: getattr(self, name) for name in ("records", "written", "left_out", "losing", "changed")}
        return {
            "to": self.to,
            "files": self.files,
            **counts,
            "copied": dict(sorted(self.copied.items())),
            "losses": [asdict(kind) for kind in self.losses],
        }


class Ledger:
    """Collects losses into a conversion."""

    def __init__(self, report: Conversion) -> None:
        self.report = report
        self._kinds: dict[tuple[str, str, bool], LossKind] = {}

    def lost(self, place: str, losses: Iterable[Loss], *, left_out: bool = False, again: bool = False) -> None:
        """One record loses something; what it loses several times over is counted once.

        `again`: it is counted among the losing records already.
        """
        kinds = {(_INDEX.sub("/*", loss.pointer), loss.why) for loss in losses}
        for pointer, why in sorted(kinds):
            self._kind(pointer, why, left_out, place).records += 1
        self.report.losing += bool(kinds) and not again
        self.report.left_out += left_out
        self.report.written -= left_out

    def unread(self, place: str, code: str) -> None:
        """A row that cannot be read as a record is left out."""
        self.lost(place, [Loss("", f"{code}: {CODES[code].title}")], left_out=True)

    def not_copied(self, place: str, code: str, why: str) -> None:
        """A row that cannot be read was to be copied as it is, and cannot be."""
        self.report.copied[code] -= 1
        self.report.copied += Counter()  # drops what is zero
        self.lost(place, [Loss("", f"{code}: {CODES[code].title}; {why}" if code else why)], left_out=True)

    def _kind(self, pointer: str, why: str, left_out: bool, place: str) -> LossKind:
        key = (pointer, why, left_out)
        if key not in self._kinds and len(self._kinds) >= _MOST:
            pointer, why = "", _MORE
            key = (pointer, why, left_out)
        if key not in self._kinds:
            self._kinds[key] = LossKind(pointer, why, place, left_out)
            self.report.losses.append(self._kinds[key])
        return self._kinds[key]
