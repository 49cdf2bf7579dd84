"""A kernel that tells which texts a cleaning rule may change, so that the others are never turned into Python strings.

Nearly all that is changed loses only white space or a template marker at an end, or white space at line ends. Of such
texts the kernel tells what stays, and `clean_write` copies that. Of the others it may name one that no rule changes,
never the other way round; the tests compare both with the rules themselves.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from didact.recipe.cleaning import CleanSettings
from didact.text.characters import codes_in
from didact.text.clean_rules import (
    ALWAYS_REMOVED,
    ASCII_SPACE,
    BIDI_CONTROLS,
    BLANKS,
    C1,
    COLONS,
    JOINERS,
    MOJIBAKE_ALONE,
    MOJIBAKE_PAIR,
    TAGS,
    TRAILING_MARKERS,
)
from didact.text.compiled import inlined, kernel, part
from didact.text.eight import Index, byte_of, eight_bytes
from didact.text.utf8 import code_point, code_point_before
from didact.text.views import View, all_read_only

ASK = np.uint8(1)
"""Told of a text: the rules have to say what becomes of it."""
MARKERS = np.uint8(2)
"""`template_markers` changes it, or is on."""
SPACES = np.uint8(4)
"""`whitespace` changes it, or is on."""
INNER = np.uint8(8)
"""`whitespace` changes it not only at its ends."""
_LITERALS = np.uint8(16)
"""`literal_newlines` is on."""
KNOWN = {"template_markers": MARKERS, "whitespace": SPACES}
"""The rules of whose changes the rules themselves need not be asked, in the order they are applied."""

_ALONE = np.uint8(1)
"""One such character is enough."""
_PAIR = np.uint8(2)
"""Two such characters side by side are enough."""
_BLANK = np.uint8(4)
"""White space that is removed at line ends."""
_DIGIT = np.uint8(8)
_CODE = np.uint8(16)
"""Code or a formula begins with it."""
_LOUD = np.uint8(32)
"""A byte that eight are not passed over for."""

_LEADING = ("<s>", "###")
"""What is removed only from the beginning of a text, or begins a heading that is."""
_SENTENCE_END = "</s>"

_FIRST = np.uint8(1)
"""A marker may begin with this byte"""
_SECOND = np.uint8(2)
"""and go on with this one."""
_LAST = np.uint8(4)
"""A marker may end with it,"""
_COLON = np.uint8(8)
"""or a heading."""
_SPACE = np.uint8(16)
"""White space that goes with a marker."""

_FEWEST_DIGITS = 4
"""Of all personal data with digits, an IPv4 address needs the fewest."""
_SHORTEST_KEY = 14
"""Characters without white space that every access key has at least."""


class _Marks(NamedTuple):
    """`</s>` and the markers of chat templates: mark m is data[bounds[m]:bounds[m + 1]].  edges: bits of each byte."""

    data: npt.NDArray[np.uint8]
    bounds: npt.NDArray[np.int64]
    edges: npt.NDArray[np.uint8]


class Scan(NamedTuple):
    """What is known of each text.

    told: 0 where no rule changes it, else `ASK` or bits of `MARKERS`, `SPACES` and `INNER`.  begins, stops: the bytes
    that stay, but for white space inside; of no use where the rules have to be asked.
    """

    told: npt.NDArray[np.uint8]
    begins: npt.NDArray[np.int32]
    stops: npt.NDArray[np.int32]


@cache
def _not_composed() -> npt.NDArray[np.int64]:
    """Code points that a text in Normalization Form C may lack or need to move: composable, reordered or replaced."""
    characters = [*map(chr, (*range(0x300, 0x20000), *range(0x2F800, 0x2FA20)))]
    found = set(range(0x1160, 0x1200)).union(map(ord, filter(unicodedata.combining, characters)))
    # What decomposes into nothing but itself is in every form.
    for character in filter(unicodedata.decomposition, characters):
        if not unicodedata.is_normalized("NFC", character):
            found.add(ord(character))
        parts = unicodedata.decomposition(character).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            found.add(int(parts[1], 16))
    return np.array(sorted(found))


def _watched(settings: CleanSettings) -> npt.NDArray[np.uint8]:
    watch = np.zeros(0x110000, dtype=np.uint8)
    personal = settings.pii.active()
    alone = "".join(
        [
            "&" * settings.entities,
            MOJIBAKE_ALONE * settings.mojibake,
            "@" * ("email" in personal),
            ":" * ("ip" in personal),
        ]
    )
    if settings.mojibake:
        watch[codes_in(MOJIBAKE_PAIR)] |= _PAIR
        watch[codes_in(C1)] |= _ALONE
    if settings.unicode:
        watch[_not_composed()] |= _ALONE
    if settings.controls:
        watch[codes_in(f"B-D 85 2028-2029 {ALWAYS_REMOVED} {BIDI_CONTROLS} {JOINERS} {TAGS}")] |= _ALONE
    for characters, bit in (
        (alone, _ALONE),
        (BLANKS, _BLANK),
        ("`$\\", _CODE),
        ("0123456789", _DIGIT),
        ("\n", _LOUD),
    ):
        watch[[ord(character) for character in characters]] |= bit
    loud = _ALONE | _PAIR | _CODE | _DIGIT * bool(set(personal) - {"email", "key"})
    watch[:0x80][watch[:0x80] & loud > 0] |= _LOUD
    watch[0x80:0x100] |= _LOUD
    # Keys are found by the length of runs, which are counted character by character.
    watch[:0x80] |= _LOUD * ("key" in personal)
    return watch


@cache
def _marks() -> _Marks:
    marks = [mark.encode() for mark in (_SENTENCE_END, *TRAILING_MARKERS)]
    leading = [*marks[1:], *(mark.encode() for mark in _LEADING)]
    edges = np.zeros(256, np.uint8)
    for found, bit in (
        ({mark[0] for mark in leading}, _FIRST),
        ({mark[1] for mark in leading}, _SECOND),
        ({mark[-1] for mark in marks}, _LAST),
        ({colon.encode()[-1] for colon in COLONS}, _COLON),
        (ASCII_SPACE.encode(), _SPACE),
    ):
        edges[list(found)] |= bit
    bounds = np.cumsum([0, *map(len, marks)]).astype(np.int64)
    return all_read_only(_Marks(np.frombuffer(b"".join(marks), np.uint8), bounds, edges))


@part
def _mark_at_end(data, start, end, marks):  # type: ignore[no-untyped-def]
    """The mark that data[start:end] ends with, -1 for none."""
    for mark in range(len(marks.bounds) - 1):
        size, last = marks.bounds[mark + 1] - marks.bounds[mark], marks.bounds[mark + 1]
        same = 0
        while same < min(size, end - start) and data[end - 1 - same] == marks.data[last - 1 - same]:
            same += 1
        if same == size:
            return mark
    return -1


@part
def _without_markers(data, start, end, marks):  # type: ignore[no-untyped-def]
    """Where a text ends without the markers at its end and the white space around those.

    -1 where the rule must say: what may be a heading is there, or `</s>` with `<s>` somewhere or before other markers.
    """
    trimmed, mark = end, -1
    while True:
        while trimmed > start and marks.edges[data[trimmed - 1]] & _SPACE:
            trimmed -= 1
        end = trimmed if mark >= 0 else end
        edge = marks.edges[data[trimmed - 1]] if trimmed > start else _SPACE
        if edge & _COLON:
            while trimmed > start and data[trimmed - 1] != 10:
                trimmed -= 1
                if data[trimmed] == 35:
                    return -1
        if not edge & _LAST:
            return end
        before, mark = mark, _mark_at_end(data, start, trimmed, marks)
        if mark < 0:
            return end
        if mark == 0 and before > 0:
            return -1
        if mark == 0 and before < 0:
            for i in range(start, trimmed - 2):
                if data[i] == 60 and data[i + 1] == 115 and data[i + 2] == 62:
                    return -1
        trimmed -= marks.bounds[mark + 1] - marks.bounds[mark]


@part
def _without_blanks(data, start, end, watch):  # type: ignore[no-untyped-def]
    """Where a text ends without the blanks and line feeds at its end."""
    while start < end:
        code, width = code_point_before(data, start, end)
        if code != 10 and not watch[code] & _BLANK:
            break
        end -= width
    return end


@part
def _beginning(data, start, end, watch, marks):  # type: ignore[no-untyped-def]
    """Where a text begins without blank lines, and whether what comes first may be a marker."""
    begin, blank = start, True
    while start < end:
        code, width = code_point(data, start)
        if code > 32 and not watch[code] & _BLANK:
            second = marks.edges[data[start + 1]] if start + 1 < end else 0
            return begin, marks.edges[data[start]] & _FIRST and second & _SECOND
        start += width
        blank = blank and (code == 10 or watch[code] & _BLANK > 0)
        begin = start if blank and code == 10 else begin
    return begin, False


@part
def _ends(data, start, end, watch, rules, marks):  # type: ignore[no-untyped-def]
    """What the rules for both ends leave of a text: its bounds, and what is told of it."""
    begin, stop, told = start, end, np.uint8(0)
    lines, may_lead = _beginning(data, start, end, watch, marks)
    if rules & MARKERS:
        stop = -1 if may_lead else _without_markers(data, start, end, marks)
        told |= MARKERS * (stop < end)
    if rules & SPACES and stop >= 0:
        shown = _without_blanks(data, start, stop, watch)
        begin = min(lines, shown)
        told |= SPACES * (begin > start or shown < stop)
        # Markers that only now are at the end take the rules a second round.
        stop = -1 if rules & MARKERS and _without_markers(data, begin, shown, marks) != shown else shown
    return begin, stop, told if stop >= 0 else ASK


@inlined
def _are_quiet(eight, watch):  # type: ignore[no-untyped-def]
    """Whether eight bytes hold nothing to look at, neither for themselves nor for the next character."""
    found = np.uint8(0)
    for k in range(8):
        found |= watch[byte_of(eight, k)]
    return found & _LOUD == 0


@part
def _told(data, start, end, watch, rules, digits_enough, run_enough, marks):  # type: ignore[no-untyped-def]
    """What stays of a text, and what is told of it, as `Scan` has them."""
    begin, stop, told = _ends(data, start, end, watch, rules, marks)
    if told == ASK:
        return begin, stop, told
    code: Index = 0
    i, before, kinds, feeds, kept_feeds, literals, digits, run = start, np.uint8(0), np.uint8(0), 0, 0, 0, 0, 0
    while i < end:
        if i + 8 <= end and code != 92:
            eight = eight_bytes(data, i)
            if _are_quiet(eight, watch):
                i += 8
                code = np.int32(byte_of(eight, 7))
                before, feeds = watch[code], 0
                continue
        escaped = code == 92
        code, width = code_point(data, i)
        kind = watch[code]
        if kind & _ALONE or kind & before & _PAIR:
            return begin, stop, ASK
        feeds = feeds + 1 if code == 10 else 0
        if code == 10 and begin <= i < stop:
            kept_feeds += 1
            if rules & SPACES and (feeds == 3 or before & _BLANK):
                told |= INNER
        i += width
        before = kind
        kinds |= kind
        literals += escaped and code == 110
        digits += (kind & _DIGIT) > 0
        run = run + 1 if code > 32 else 0
        if digits >= digits_enough or run >= run_enough:
            return begin, stop, ASK
    if rules & _LITERALS and kept_feeds == 0 and literals >= 2:
        return begin, stop, ASK
    if told & INNER:
        # Before a form feed or a carriage return at the end, inner white space may hide a marker from the first round.
        told = ASK if kinds & _CODE or marks.edges[data[stop - 1]] & _SPACE else told | SPACES
    return begin, stop, told


@kernel
def _scan(data, text_offsets, watch, rules, digits_enough, run_enough, marks, told, begins, stops):  # type: ignore[no-untyped-def]
    for s in range(len(told)):
        start, end = np.int64(text_offsets[s]), np.int64(text_offsets[s + 1])
        begins[s], stops[s], told[s] = _told(data, start, end, watch, rules, digits_enough, run_enough, marks)


def scan(texts: pa.StringArray, settings: CleanSettings) -> Scan:
    """For each text, whether a rule that is on may change it, and what is known of that."""
    view = View.of_texts(texts)
    personal = settings.pii.active()
    rules = MARKERS * settings.template_markers | SPACES * settings.whitespace | _LITERALS * settings.literal_newlines
    never = 2**31
    digits = _FEWEST_DIGITS if set(personal) - {"email", "key"} else never
    run = _SHORTEST_KEY if "key" in personal else never
    count = len(texts)
    made = Scan(np.empty(count, np.uint8), np.empty(count, np.int32), np.empty(count, np.int32))
    _scan(view.data, view.text_offsets, _watched(settings), rules, digits, run, _marks(), *made)
    return made
