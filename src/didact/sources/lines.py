"""Cuts files whose rows are physical lines: JSON lines, and plain text read by line. Blank lines are no rows."""

from __future__ import annotations

import numpy as np

from didact.sources.blocks import Cursor, Cut, Numbers, newline_places
from didact.sources.files import ByteStream

_WHITE = np.frombuffer(b" \t\r", np.uint8)


def cut_lines(stream: ByteStream, cursor: Cursor, block_bytes: int, row_limit: int) -> Cut:
    """Blocks of whole lines. A line longer than the limit is passed over unread and costs one row."""
    # Pieces of a line that has begun, joined once however many they become; `ends`: a line may end in the first.
    begun: list[bytes] = []
    held, ends = 0, False
    while True:
        piece = stream.read(block_bytes)
        last = len(piece) < block_bytes
        begun.append(piece)
        held += len(piece)
        if last or ends or b"\n" in piece:
            data = b"".join(begun)
            whole = len(data) if last and not stream.damage else data.rfind(b"\n") + 1
            if whole:
                stretch, data = data[:whole], data[whole:]
                starts, stops, lines = line_spans(stretch, cursor.line)
                yield cursor.block(stretch, starts, stops, lines)
            begun, held, ends = [data] if data else [], len(data), False
        if last:
            break
        if held > row_limit:
            yield cursor.lost_row("JS007", f"the row is longer than {row_limit} bytes")
            rest = past_line(stream, cursor, b"".join(begun), block_bytes)
            begun, held, ends = [rest] if rest else [], len(rest), True
    if stream.damage:
        yield cursor.lost_row("IO004", f"{stream.damage}; what follows is lost")


def past_line(stream: ByteStream, cursor: Cursor, begun: bytes, block_bytes: int) -> bytes:
    """Read on to the end of a line that has begun, and give what follows it."""
    while (end := begun.find(b"\n")) < 0:
        cursor.skip(begun)
        begun = stream.read(block_bytes)
        if not begun:
            return b""
    cursor.skip(begun[: end + 1])
    return begun[end + 1 :]


def line_spans(data: bytes, first_line: int) -> tuple[Numbers, Numbers, Numbers]:
    """Starts, ends and line numbers of the lines that are not blank; ends stand before the line end."""
    breaks = newline_places(data)
    starts = np.concatenate([np.zeros(1, np.int64), breaks + 1])
    ends = np.append(breaks, len(data))
    lines = np.arange(first_line, first_line + len(starts), dtype=np.int64)
    kept = ends > starts
    symbols = np.frombuffer(data, np.uint8)
    suspects = np.flatnonzero(kept)
    suspects = suspects[np.isin(symbols[starts[suspects]], _WHITE)]
    kept[[i for i in suspects.tolist() if not data[starts[i] : ends[i]].strip()]] = False
    return starts[kept], ends[kept], lines[kept]
