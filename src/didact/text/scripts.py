"""The script a text is written in: what is known about its language where nobody stated it."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

_BLOCKS = (
    ("Latin", 0x41, 0x5B), ("Latin", 0x61, 0x7B), ("Latin", 0xC0, 0x250), ("Greek", 0x370, 0x400),
    ("Cyrillic", 0x400, 0x530), ("Armenian", 0x531, 0x58B), ("Hebrew", 0x591, 0x600), ("Arabic", 0x600, 0x700),
    ("Arabic", 0x750, 0x780), ("Arabic", 0x8A0, 0x900), ("Devanagari", 0x900, 0x980), ("Bengali", 0x980, 0xA00),
    ("Gurmukhi", 0xA00, 0xA80), ("Gujarati", 0xA80, 0xB00), ("Odia", 0xB00, 0xB80), ("Tamil", 0xB80, 0xC00),
    ("Telugu", 0xC00, 0xC80), ("Kannada", 0xC80, 0xD00), ("Malayalam", 0xD00, 0xD80), ("Sinhala", 0xD80, 0xE00),
    ("Thai", 0xE00, 0xE80), ("Lao", 0xE80, 0xF00), ("Tibetan", 0xF00, 0x1000), ("Burmese", 0x1000, 0x10A0),
    ("Georgian", 0x10A0, 0x1100), ("Hangul", 0x1100, 0x1200), ("Ethiopic", 0x1200, 0x13A0), ("Khmer", 0x1780, 0x1800),
    ("Mongolian", 0x1800, 0x18B0), ("Latin", 0x1E00, 0x1F00), ("Greek", 0x1F00, 0x2000), ("Kana", 0x3041, 0x3100),
    ("Hangul", 0x3131, 0x318F), ("Kana", 0x31F0, 0x3200), ("Han", 0x3400, 0x4DC0), ("Han", 0x4E00, 0xA000),
    ("Cyrillic", 0xA640, 0xA6A0), ("Hangul", 0xAC00, 0xD7B0), ("Han", 0xF900, 0xFB00), ("Arabic", 0xFB50, 0xFE00),
    ("Arabic", 0xFE70, 0xFEFF), ("Latin", 0xFF21, 0xFF3B), ("Latin", 0xFF41, 0xFF5B), ("Kana", 0xFF66, 0xFFA0),
    ("Han", 0x20000, 0x323B0),
)  # fmt: skip
"""Blocks of Unicode by script, first and one past the last code point, ascending; marks and signs inside count too."""
NAMES = tuple(dict.fromkeys(name for name, _, _ in _BLOCKS))
_JAPANESE = 0.1
"""Share of kana among kana and Han from which a text is Japanese: prose has about half, and Chinese quotes few."""


@functools.cache
def _edges() -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Code points at which the script changes, and the script from there on; the last one is none."""
    edges, scripts = [0], [len(NAMES)]
    for name, first, stop in _BLOCKS:
        edges += [first, stop]
        scripts += [NAMES.index(name), len(NAMES)]
    return np.array(edges, np.uint32), np.array(scripts)


def script_of(text: str) -> str | None:
    """The script most letters of a text belong to; None for a text without letters of a script known here.

    >>> script_of("ein Satz"), script_of("你好, world"), script_of("漢字かな交じり文"), script_of("1 + 1 = 2")
    ('Latin', 'Latin', 'Kana', None)
    """
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    edges, scripts = _edges()
    found = np.bincount(scripts[np.searchsorted(edges, points, side="right") - 1], minlength=len(NAMES) + 1)[:-1]
    if not found.any():
        return None
    kana, han = (int(found[NAMES.index(name)]) for name in ("Kana", "Han"))
    best = NAMES[int(found.argmax())]
    return "Kana" if best == "Han" and kana >= _JAPANESE * (kana + han) else best
