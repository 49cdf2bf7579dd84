"""A kernel that writes clean texts, and what was changed, where `clean_scan` knows what stays of a text."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from didact.curate.clean_scan import INNER, Scan
from didact.text.clean_rules import BLANKS
from didact.text.compiled import inlined, kernel, part
from didact.text.slots import copied
from didact.text.utf8 import code_point_before, place_before
from didact.text.views import View, read_only


class Written(NamedTuple):
    """Clean texts, and each text before and after, cut around the first change."""

    texts: pa.StringArray
    before: pa.StringArray
    after: pa.StringArray


@part
def _put(data, start, end, inner, blanks, out, at):  # type: ignore[no-untyped-def]
    """Copy data[start:end], if `inner` without blanks at line ends and third line feeds; where the next bytes go."""
    line, feeds = start, 0
    for i in range(start, end + 1):
        if i < end and not (inner and data[i] == 10):
            continue
        last = i
        while i < end and line < last:
            code, width = code_point_before(data, line, last)
            blank = False
            for k in range(len(blanks)):
                blank = blank or code == blanks[k]
            if not blank:
                break
            last -= width
        feeds = feeds + 1 if line == last else 1
        at = copied(data, line, last, out, at)
        if i < end and feeds <= 2:
            out[at] = 10
            at += 1
        line = i + 1
    return at


@part
def _same(data, start, end, out, first, last):  # type: ignore[no-untyped-def]
    """With how many bytes of whole characters both texts begin."""
    same, least = 0, min(end - start, last - first)
    while same < least and data[start + same] == out[first + same]:
        same += 1
    while start + same < end and data[start + same] & 0xC0 == 0x80:
        same -= 1
    return same


@inlined
def _ahead(data, i, end, characters):  # type: ignore[no-untyped-def]
    """Where so many characters from i on end, or all up to `end`."""
    while i < end and (characters or data[i] & 0xC0 == 0x80):
        characters -= data[i] & 0xC0 != 0x80
        i += 1
    return i


@kernel
def _write(data, text_offsets, scan, places, blanks, reach, out, offsets, before, after):  # type: ignore[no-untyped-def]
    for k in range(len(places)):
        s, first = places[k], np.int64(offsets[k])
        start, end = np.int64(text_offsets[s]), np.int64(text_offsets[s + 1])
        inner = scan.told[s] & INNER > 0
        last = _put(data, np.int64(scan.begins[s]), np.int64(scan.stops[s]), inner, blanks, out, first)
        offsets[k + 1] = last
        same = _same(data, start, end, out, first, last)
        back = place_before(data, start, start + same, reach) - start
        before[k, 0], before[k, 1] = start + back, _ahead(data, start + same, end, reach)
        after[k, 0], after[k, 1] = first + back, _ahead(out, first + same, last, reach)


def write(texts: pa.StringArray, scan: Scan, places: npt.NDArray[np.int64], reach: int) -> Written:
    """What is left of the texts at `places`, of which `scan` knows it; `reach` characters on either side of the first
    change are told.
    """
    view, count = View.of_texts(texts), len(places)
    blanks = read_only(np.array([ord(blank) for blank in BLANKS]))
    out = np.empty(int((scan.stops[places] - scan.begins[places]).sum(dtype=np.int64)), np.uint8)
    offsets = np.zeros(count + 1, np.int32)
    before, after = np.empty((count, 2), np.int32), np.empty((count, 2), np.int32)
    _write(view.data, view.text_offsets, scan, places, blanks, reach, out, offsets, before, after)
    written = pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(out))
    return Written(written, _slices(view.data, before), _slices(out, after))


def _slices(data: npt.NDArray[np.uint8], bounds: npt.NDArray[np.int32]) -> pa.StringArray:
    """The texts between bounds that grow from each to the next, (n, 2), n > 0."""
    # What stands between two slices is a text as well for a moment; every other one is taken.
    with_between = pa.StringArray.from_buffers(bounds.size - 1, pa.py_buffer(bounds), pa.py_buffer(data))
    return with_between.take(pa.array(np.arange(0, bounds.size, 2)))
