"""Text from outside, made fit to be shown: one line, nothing that moves a cursor, reverses a line or hides."""

from __future__ import annotations


def visible(text: str) -> str:
    """The text with all that is not printable escaped: controls, line ends, bidi marks, halves of surrogate pairs.

    >>> visible("a\\x1b[2Jb")
    'a\\\\x1b[2Jb'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shortened(text: str, most: int, around: int = 0) -> str:
    """At most `most` visible characters of a text, from shortly before the place `around`; … stands for the rest."""
    lead = most // 4
    before = visible(text[max(0, around - lead - 1) : around])
    rest = visible(text[around : around + most])
    shown = (before if len(before) <= lead else f"…{before[-lead:]}") + rest
    return shown if len(shown) <= most and around + most >= len(text) else f"{shown[: most - 1]}…"


def told_bytes(count: float) -> str:
    """A number of bytes as people say it.

    >>> told_bytes(1_234_567), told_bytes(999), told_bytes(20_500_000_000)
    ('1.2 MB', '999 bytes', '20.5 GB')
    """
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count:,.0f} bytes"


def spelt_path(path: str) -> str:
    r"""A path as valid Unicode: bytes of its name that are no UTF-8 are spelt as \xNN."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
