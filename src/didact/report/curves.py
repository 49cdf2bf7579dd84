"""Curves as inline SVG: a line for each series, named at its end, so that colour is never the only sign."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from didact.report.page import excerpt

Curve = Sequence[tuple[float, float]]
"""Points, left to right; those that are not finite are left out."""

CURVE_STYLE = """
.curve { width: 100%; height: auto; font-size: 12px; max-width: 44rem; } .curve text { fill: var(--soft); }
.curve .grid { stroke: var(--line); stroke-width: 1; } .curve path { fill: none; stroke-width: 1.8; }
.curve .one { stroke: #0072b2; } .curve .two { stroke: #e69f00; stroke-dasharray: 6 3; }
.curve text.one, .curve text.two { fill: var(--ink); stroke: none; } .curve .end { text-anchor: end; }
.several { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: .5rem 1rem; }
@media (prefers-color-scheme: dark) { .curve .one { stroke: #56b4e9; } }
"""
"""Blue and orange, one of them dashed: apart in print and under every common colour blindness."""

_KINDS = ("one", "two")
_MOST = 600
"""Points drawn of a curve, evenly chosen; the last always."""


def curves(named: Mapping[str, Curve], told: str, width: int = 700, height: int = 260) -> str:
    """A chart of one series or two over steps; empty when none has a finite point. told: what it shows, in words."""
    known = {name: _thinned([(x, y) for x, y in curve if math.isfinite(y)]) for name, curve in named.items()}
    known = {name: curve for name, curve in known.items() if curve}
    if not known:
        return ""
    points = [point for curve in known.values() for point in curve]
    frame = _Frame(points, width, height, labels=max(map(len, known)) if len(known) > 1 else 0)
    parts = frame.grid()
    ends: list[float] = []
    for kind, (name, curve) in zip(_KINDS, known.items(), strict=False):
        parts.append(f'<path class="{kind}" d="M{" L".join(f"{x:.1f},{y:.1f}" for x, y in map(frame.at, curve))}"/>')
        if len(known) > 1:
            x, y = frame.at(curve[-1])
            while any(abs(y - other) < 13 for other in ends):
                y += 13
            ends.append(y)
            parts.append(f'<text class="{kind}" x="{x + 6:.1f}" y="{y + 4:.1f}">{excerpt(name, 24)}</text>')
    label = excerpt(told, 200)
    return f'<svg class="curve" role="img" aria-label="{label}" viewBox="0 0 {width} {height}">{"".join(parts)}</svg>'


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    step = max(1, -(-len(points) // _MOST))
    return [*points[:-1:step], points[-1]] if points else []


class _Frame:
    """The axes of a chart: where a point is drawn, and the lines behind it."""

    def __init__(self, points: Sequence[tuple[float, float]], width: int, height: int, labels: int) -> None:
        self.left, self.right, self.top, self.bottom = 48.0, width - 14.0 - 7.0 * labels, 10.0, height - 24.0
        self.low_x, self.high_x = min(x for x, _ in points), max(x for x, _ in points)
        low, high = min(y for _, y in points), max(y for _, y in points)
        self.ticks = _ticks(low, high)
        self.low, self.high = min(low, self.ticks[0]), max(high, self.ticks[-1])

    def at(self, point: tuple[float, float]) -> tuple[float, float]:
        """Where a point is drawn."""
        x = (point[0] - self.low_x) / ((self.high_x - self.low_x) or 1)
        y = (point[1] - self.low) / ((self.high - self.low) or 1)
        return self.left + x * (self.right - self.left), self.bottom - y * (self.bottom - self.top)

    def grid(self) -> list[str]:
        """Lines at round values, with the values, and the first and last step."""
        parts = []
        for tick in self.ticks:
            _, y = self.at((self.low_x, tick))
            parts.append(f'<line class="grid" x1="{self.left}" x2="{self.right:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(f'<text class="end" x="{self.left - 6}" y="{y + 4:.1f}">{tick:g}</text>')
        low, high = f"step {self.low_x:,.0f}", f"{self.high_x:,.0f}"
        parts.append(f'<text x="{self.left}" y="{self.bottom + 18:.1f}">{low}</text>')
        parts.append(f'<text class="end" x="{self.right:.1f}" y="{self.bottom + 18:.1f}">{high}</text>')
        return parts


def _ticks(low: float, high: float) -> list[float]:
    """Round values from at or below the lowest to at or above the highest, three to six of them.

    >>> _ticks(1.9, 4.2)
    [1.0, 2.0, 3.0, 4.0, 5.0]
    """
    span = (high - low) or max(abs(high), 1.0)
    rough = span / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * part for part in (1, 2, 2.5, 5, 10) if power * part >= rough)
    first = math.floor(low / step)
    last = max(first + 1, math.ceil(high / step))
    return [round(place * step, 12) for place in range(first, last + 1)]
