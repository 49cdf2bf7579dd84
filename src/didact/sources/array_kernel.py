"""Where the elements of a JSON array are, as long as they are objects without a fault, found by a kernel.

An object that is nested deeper than 60 levels, or that may be none (RFC 8259), is left to the scanner of the standard
library. The tests compare the two.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from didact.sources.json_parts import COMMA, OPEN, nested_end, past_space
from didact.text.compiled import kernel


@kernel
def _elements(data, i, after_value, comma, spans):  # type: ignore[no-untyped-def]
    """See `elements`; how many were found."""
    count, last = 0, len(data)
    while count < len(spans):
        at = past_space(data, i, last)
        if at < last and data[at] == COMMA and after_value and comma < 0:
            comma = at
            at = past_space(data, at + 1, last)
        if at >= last or data[at] != OPEN or (after_value and comma < 0):
            break
        end = nested_end(data, at, last)
        if end < 0:
            break
        spans[count, 0], spans[count, 1] = at, end
        count, i, after_value, comma = count + 1, end, True, -1
    return count


def elements(data: npt.NDArray[np.uint8], place: int, after_value: bool, comma: int) -> npt.NDArray[np.int64]:
    """Where the objects without a fault begin and end that follow each other in an array from a place on, (n, 2).

    after_value: whether an element stands before the place; comma: where one does behind it, or -1.
    """
    # An object and its comma take three bytes.
    spans = np.empty(((len(data) - place) // 3 + 1, 2), np.int64)
    return spans[: _elements(data, place, after_value, comma, spans)]
