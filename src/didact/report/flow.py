"""The accounting of a build as a picture: rows flow from sources through stages to splits, and what is lost falls out
of the stage that lost it. Inline SVG without script; every band is labelled, so colour is never the only sign.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from didact.records.findings import CODES
from didact.report.page import excerpt
from didact.store.manifest import Account, SplitEntry

STAGES = {
    "read": "read", "filter": "filter", "dedup": "deduplicate", "decontaminate": "decontaminate", "mix": "mix",
}  # fmt: skip
"""Names of stages as people read them."""
_SOURCES, _REASONS = 12, 5
"""Sources drawn apart, and reasons named for each stage; what is smaller is drawn together."""
_WIDTH, _LEFT, _RIGHT = 1080, 170, 150
_HEIGHT, _TOP, _LINE = 260, 34, 17
"""The trunk's height for all rows, the room above it, and the height of a line of text."""
_THIN = 1.5
"""Least height of a band: what is there is seen."""

FLOW_STYLE = """
.flow { min-width: 60rem; width: 100%; height: auto; font-size: 13px; }
.flow text { fill: var(--ink); } .flow .soft { fill: var(--soft); } .flow .end { text-anchor: end; }
.flow .stage { font-weight: 600; text-anchor: middle; } .flow .mid { text-anchor: middle; }
.kept { fill: #0072b2; } .flow .band { fill: #0072b2; fill-opacity: .28; } .dropped { fill: #e69f00; }
.flow .band.dropped { fill: #e69f00; fill-opacity: .4; } .rejected { fill: #cc3311; }
.flow .band.rejected { fill: #cc3311; fill-opacity: .4; }
@media (prefers-color-scheme: dark) { .kept, .flow .band { fill: #56b4e9; }
  .rejected, .flow .band.rejected { fill: #ff7a5c; } .flow .band.dropped { fill: #e69f00; } }
"""
"""Blue, orange and vermilion stay apart under every common colour blindness (Okabe and Ito 2008)."""


@dataclass
class Stage:
    """What one stage kept and lost, over all sources."""

    name: str
    rows_in: int = 0
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)

    @property
    def lost(self) -> int:
        """Rows that entered and did not leave."""
        return self.dropped.total() + self.rejected.total()


def stages_of(accounts: Sequence[Account]) -> list[Stage]:
    """The stages in the order of the data path, over all sources."""
    found: dict[str, Stage] = {}
    for account in accounts:
        stage = found.setdefault(account.stage, Stage(account.stage))
        stage.rows_in += account.rows_in
        stage.kept += account.kept
        stage.dropped.update(account.dropped)
        stage.rejected.update(account.rejected)
    return list(found.values())


def reason_title(reason: str) -> str:
    """A reason or code as people read it."""
    return f"{reason} {CODES[reason].title}" if reason in CODES else reason


def flow(accounts: Sequence[Account], splits: Mapping[str, SplitEntry]) -> str:
    """The picture, or nothing when no row was read."""
    stages = stages_of(accounts)
    total = stages[0].rows_in if stages else 0
    if not total:
        return ""
    picture = _Picture(total, len(stages))
    sources = Counter({one.source: one.rows_in for one in accounts if one.stage == stages[0].name})
    picture.sources(sources)
    for place, stage in enumerate(stages):
        picture.stage(place, stage)
    parts: Counter[str] = Counter()
    for entry in splits.values():
        parts.update(entry.achieved)
    unused = stages[-1].lost if stages[-1].name == "mix" else 0
    picture.ends([("kept", stages[-1].kept)] if unused else [(name, count) for name, count in parts.items() if count])
    told = f"{total:,} rows in, {stages[-1].kept:,} kept, {sum(one.lost for one in stages):,} lost"
    return picture.svg(told)


class _Picture:
    """Bands and labels, collected; x grows with the path, y downwards."""

    def __init__(self, total: int, stages: int) -> None:
        self.scale = _HEIGHT / total
        self.stages = stages
        self.step = (_WIDTH - _LEFT - _RIGHT - 40) / (stages + 0.35)
        self.bands: list[str] = []
        self.labels: list[str] = []
        self.bottom = 0.0

    def height(self, rows: int) -> float:
        """Height of so many rows."""
        return max(_THIN, rows * self.scale)

    def x(self, place: int) -> float:
        """Where a stage stands."""
        return _LEFT + 40 + (place + 0.35) * self.step

    def sources(self, rows: Counter[str]) -> None:
        """The sources at the left, the largest on top, each with a band into the first stage."""
        shown = rows.most_common(_SOURCES)
        rest = len(rows) - len(shown)
        if rest:
            shown.append((f"{rest} more", rows.total() - sum(count for _, count in shown)))
        y, into = 0.0 + _TOP, float(_TOP)
        for name, count in shown:
            height = self.height(count)
            slot = max(height, _LINE)
            top = y + (slot - height) / 2
            self._label(_LEFT - 12, y + slot / 2 + 4, f"{count:,}", "soft end")
            self.labels.append(
                f'<text class="end" x="{_LEFT - 70}" y="{y + slot / 2 + 4:.1f}">{excerpt(name, 16)}</text>'
            )
            self._box("kept", _LEFT - 6, top, 6, height)
            self._band("", (_LEFT, top), (self.x(0), into), height, count * self.scale)
            y, into = y + slot + 2, into + count * self.scale
        self.bottom = max(self.bottom, y)

    def stage(self, place: int, stage: Stage) -> None:
        """A stage: its bar, the trunk that leaves it, and what falls out, with the reasons below."""
        x, entering = self.x(place), stage.rows_in * self.scale
        self._box("kept", x, _TOP, 8, max(_THIN, entering))
        self._label(x + 4, _TOP - 20, STAGES.get(stage.name, stage.name), "stage")
        self._label(x + 4, _TOP - 6, f"{stage.rows_in:,} in", "soft mid")
        kept = stage.kept * self.scale
        self._band("", (x + 8, _TOP), (self.x(place + 1), _TOP), kept, kept)
        if stage.lost:
            self._losses(x, _TOP + kept, stage)

    def _losses(self, x: float, y: float, stage: Stage) -> None:
        floor = _TOP + _HEIGHT + 26
        self._label(x + 24, floor - 4, f"{stage.lost:,} lost", "")
        for kind, reasons in (("dropped", stage.dropped), ("rejected", stage.rejected)):
            count = reasons.total()
            if not count:
                continue
            height = self.height(count)
            start = min(y, _TOP + stage.rows_in * self.scale - height)
            self._fall(kind, (x + 8, start), height, floor + 4)
            y += count * self.scale
        self._reasons(x, floor, stage)

    def _reasons(self, x: float, y: float, stage: Stage) -> None:
        """Lines of reasons, each with a box in the colour of its kind."""
        named = [(count, "rejected", code) for code, count in stage.rejected.items()]
        named += [(count, "dropped", reason) for reason, count in stage.dropped.items()]
        named.sort(key=lambda one: (-one[0], one[2]))
        shown = len(named) if len(named) == _REASONS + 1 else _REASONS
        for count, kind, reason in named[:shown]:
            y += _LINE
            self._box(kind, x + 2, y - 9, 9, 9)
            title = f"{reason_title(reason)}: {count:,} rows {kind}"
            line = f"{count:,} {reason}"
            room = int((self.step - 24) / 7)
            told = f"<title>{excerpt(title, 200)}</title>{excerpt(line, max(room, 12))}"
            self.labels.append(f'<text x="{x + 16:.1f}" y="{y:.1f}">{told}</text>')
        if len(named) > shown:
            y += _LINE
            rest = sum(count for count, _, _ in named[shown:])
            self._label(x + 16, y, f"{rest:,} for {len(named) - shown} more reasons", "soft")
        self.bottom = max(self.bottom, y + 8)

    def ends(self, rows: Sequence[tuple[str, int]]) -> None:
        """What is left, at the right."""
        x, y, away = self.x(self.stages), float(_TOP), float(_TOP)
        for name, count in rows:
            height = self.height(count)
            slot = max(height, 2 * _LINE)
            top = y + (slot - height) / 2 if height < slot else y
            self._band("", (x, away), (x + 40, top), count * self.scale, height)
            self._box("kept", x + 40, top, 6, height)
            self._label(x + 52, y + slot / 2 - 2, name, "")
            self._label(x + 52, y + slot / 2 + 13, f"{count:,}", "soft")
            y, away = y + slot + 2, away + count * self.scale
        self.bottom = max(self.bottom, y)

    def svg(self, told: str) -> str:
        """The whole picture; `told` says in words what it shows."""
        size = f'viewBox="0 0 {_WIDTH} {max(self.bottom, _TOP + _HEIGHT) + 8:.0f}"'
        return (
            f'<div class="wide"><svg class="flow" role="img" aria-label="{told}" {size}>\n'
            f"{chr(10).join([*self.bands, *self.labels])}\n</svg></div>"
        )

    def _box(self, kind: str, x: float, y: float, width: float, height: float) -> None:
        box = f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"/>'
        self.labels.append(box)

    def _band(self, kind: str, start: tuple[float, float], end: tuple[float, float], left: float, right: float) -> None:
        """A band from one place to another, as high as `left` there and as `right` here."""
        (x, y), (to_x, to_y) = start, end
        half = (x + to_x) / 2
        left, right = max(_THIN, left), max(_THIN, right)
        there = _curve((x, y), (half, y), (half, to_y), (to_x, to_y))
        back = _curve((to_x, to_y + right), (half, to_y + right), (half, y + left), (x, y + left))
        self.bands.append(f'<path class="band {kind}" d="M{there} L{back} Z"/>')

    def _fall(self, kind: str, start: tuple[float, float], height: float, floor: float) -> None:
        """A band that leaves the trunk and falls to the floor."""
        (x, y), right = start, 16.0
        width = max(_THIN, min(height, 12.0))
        outer = _curve((x, y), (x + right, y), (x + right, y + 4), (x + right, min(y + height + 16, floor)))
        inner = _curve((x + right - width, floor), (x + right - width, y + height), (x, y + height), (x, y + height))
        self.bands.append(f'<path class="band {kind}" d="M{outer} L{x + right:.1f},{floor:.1f} L{inner} Z"/>')

    def _label(self, x: float, y: float, content: str, kind: str) -> None:
        self.labels.append(f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{excerpt(content, 60)}</text>')


def _curve(*points: tuple[float, float]) -> str:
    """A point and a Bézier curve from there over two others to a fourth, as an SVG path spells them."""
    first, *rest = (f"{x:.1f},{y:.1f}" for x, y in points)
    return f"{first} C{' '.join(rest)}"
