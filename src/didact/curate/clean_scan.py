"""A kernel that tells which texts a cleaning rule may change, so that the others are never turned into Python strings.

It may name a text that no rule changes, never the other way round; the tests compare it with the rules themselves.
"""

from __future__ import annotations

import unicodedata
from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from didact.recipe.cleaning import CleanSettings
from didact.text.characters import codes_in
from didact.text.clean_rules import (
    ALWAYS_REMOVED,
    BIDI_CONTROLS,
    BLANKS,
    C1,
    JOINERS,
    MOJIBAKE_ALONE,
    MOJIBAKE_PAIR,
    TAGS,
)
from didact.text.compiled import inlined, kernel, part
from didact.text.eight import Index, byte_of, eight_bytes
from didact.text.utf8 import code_point
from didact.text.views import View

_ALONE = np.uint8(1)
"""One such character is enough."""
_PAIR = np.uint8(2)
"""Two such characters side by side are enough."""
_BLANK = np.uint8(4)
"""White space that is removed at line ends."""
_FIRST = np.uint8(8)
"""A template marker may begin with it."""
_LAST = np.uint8(16)
"""A template marker may end with it."""
_DIGIT = np.uint8(32)
_LOUD = np.uint8(64)
"""A byte that eight are not passed over for."""

_SPACES = 1
_MARKERS = 2
_LITERALS = 4

_FEWEST_DIGITS = 4
"""Of all personal data with digits, an IPv4 address needs the fewest."""
_SHORTEST_KEY = 14
"""Characters without white space that every access key has at least."""


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
        ("<[#", _FIRST),
        (">]:：", _LAST),
        ("0123456789", _DIGIT),
    ):
        watch[[ord(character) for character in characters]] |= bit
    loud = _ALONE | _PAIR | _DIGIT * bool(set(personal) - {"email", "key"})
    watch[:0x80][watch[:0x80] & loud > 0] |= _LOUD
    watch[[ord(character) for character in "\n\\<"]] |= _LOUD
    watch[0x80:0x100] |= _LOUD
    # Keys are found by the length of runs, which are counted character by character.
    watch[:0x80] |= _LOUD * ("key" in personal)
    return watch


@inlined
def _is_edge(data, start, end, watch, rules):  # type: ignore[no-untyped-def]
    """Whether a text that is not empty begins or ends with white space or with what may be a template marker."""
    back = end - 1
    while back > start and data[back] & 0xC0 == 0x80:
        back -= 1
    first, last = watch[code_point(data, start)[0]], watch[code_point(data, back)[0]]
    if rules & _MARKERS and (first & _FIRST or last & _LAST):
        return True
    return data[start] <= 32 or data[end - 1] <= 32 or first & _BLANK > 0 or last & _BLANK > 0


@inlined
def _are_quiet(eight, watch):  # type: ignore[no-untyped-def]
    """Whether eight bytes hold nothing to look at, neither for themselves nor for the next character."""
    found = np.uint8(0)
    for k in range(8):
        found |= watch[byte_of(eight, k)]
    return found & _LOUD == 0


@part
def _is_suspect(data, start, end, watch, rules, digits_enough, run_enough):  # type: ignore[no-untyped-def]
    """Whether a rule may change the text data[start:end]."""
    if start == end:
        return False
    if rules & (_SPACES | _MARKERS) and _is_edge(data, start, end, watch, rules):
        return True
    code: Index = 0
    i, before, feeds, all_feeds, literals, digits, run = start, np.uint8(0), 0, 0, 0, 0, 0
    while i < end:
        if i + 8 <= end and code != 92 and code != 60:
            eight = eight_bytes(data, i)
            if _are_quiet(eight, watch):
                i += 8
                code = np.int32(byte_of(eight, 7))
                before, feeds = watch[code], 0
                continue
        escaped, opened = code == 92, code == 60
        code, width = code_point(data, i)
        i += width
        kind = watch[code]
        if kind & _ALONE or kind & before & _PAIR or (opened and code == 124 and rules & _MARKERS):
            return True
        feeds = feeds + 1 if code == 10 else 0
        all_feeds += code == 10
        if rules & _SPACES and (feeds == 3 or (code == 10 and before & _BLANK)):
            return True
        before = kind
        literals += escaped and code == 110
        digits += (kind & _DIGIT) > 0
        run = run + 1 if code > 32 else 0
        if digits >= digits_enough or run >= run_enough:
            return True
    return rules & _LITERALS > 0 and all_feeds == 0 and literals >= 2


@kernel
def _suspects(data, text_offsets, watch, rules, digits_enough, run_enough, out):  # type: ignore[no-untyped-def]
    for s in range(len(out)):
        out[s] = _is_suspect(data, text_offsets[s], text_offsets[s + 1], watch, rules, digits_enough, run_enough)


def suspects(texts: pa.StringArray, settings: CleanSettings) -> npt.NDArray[np.bool_]:
    """For each text, whether a rule that is on may change it."""
    view = View.of_texts(texts)
    personal = settings.pii.active()
    rules = _SPACES * settings.whitespace | _MARKERS * settings.template_markers | _LITERALS * settings.literal_newlines
    never = 2**31
    digits = _FEWEST_DIGITS if set(personal) - {"email", "key"} else never
    run = _SHORTEST_KEY if "key" in personal else never
    out = np.empty(len(texts), np.bool_)
    _suspects(view.data, view.text_offsets, _watched(settings), rules, digits, run, out)
    return out
