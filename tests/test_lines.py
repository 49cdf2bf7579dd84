"""JSON lines and lines of text: one line, one row, whatever is in it."""

from __future__ import annotations

import gzip

import orjson
import pytest
from cut_rows import codes, cut, cut_rows, values
from hypothesis import given
from hypothesis import strategies as st

from didact.records.findings import Finding
from didact.sources.blocks import Block
from didact.sources.lines import line_spans
from didact.sources.rows import Row

LINE = st.sampled_from(["", " ", "\t \r", '{"a": 1}', '{"a": "é"}', '  {"b": [1]} ', '"\u2028"', "{broken"])


@given(
    lines=st.lists(LINE, max_size=12),
    ending=st.sampled_from(["\n", "\r\n"]),
    last=st.booleans(),
    window=st.integers(1, 60),
)
def test_lines_are_those_that_split_gives(lines: list[str], ending: str, last: bool, window: int) -> None:
    """Rows are the non-blank lines in order, with their physical line and byte offset, for any window and line ends."""
    content = (ending.join(lines) + (ending if last else "")).encode()
    expected = [(number, line) for number, line in enumerate(content.split(b"\n"), 1) if line.strip()]
    found = [
        row for row in cut_rows(content, "jsonl", window) if not (isinstance(row, Finding) and row.code == "IO001")
    ]
    assert [row.line for row in found] == [number for number, _ in expected]
    assert [row.index for row in found] == list(range(len(expected)))
    for row, (_, line) in zip(found, expected, strict=True):
        assert content[row.offset :].startswith(line)
        if isinstance(row, Row):
            assert row.value == orjson.loads(line)
        else:
            assert (row.code, line.strip()) == ("JS001", b"{broken")


def test_spans_leave_the_line_end_out() -> None:
    """A span holds the line without its newline; blank lines have none."""
    starts, ends, lines = line_spans(b"ab\n\n \ncd", 5)
    assert (starts.tolist(), ends.tolist(), lines.tolist()) == ([0, 6], [2, 8], [5, 8])


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b'{"a": "\xff\xfe"}', "IO002"),
        (b'{"a": NaN}', "JS004"),
        (b'{"a": -Infinity}', "JS004"),
        (b'{"a": 1,}', "JS001"),
        (b'{"a": "\\ud83d"}', "UN003"),
        (b'{"a": "\x01"}', "JS001"),
        (b"[" * 5000 + b"]" * 5000, "JS001"),
        (b"{" + b'"a": 1, ' * 200 + b'"b": 2}', "JS007"),
    ],
)
def test_bad_line_costs_one_row(raw: bytes, code: str) -> None:
    """Bad bytes, words that are no JSON, half surrogates, deep nesting, an oversize row: each costs one row."""
    found = cut_rows(b'{"n": 1}\n' + raw + b'\n{"n": 2}\n', "jsonl", row_limit=1000 if code == "JS007" else 32 << 20)
    assert values(found) == [{"n": 1}, {"n": 2}]
    (bad,) = [finding for finding in found if isinstance(finding, Finding)]
    assert (bad.code, bad.index, bad.line, bad.offset) == (code, 1, 2, 9)


@pytest.mark.parametrize("window", [16, 64, 4096])
def test_oversize_line_is_passed_over_unread(window: int) -> None:
    """A line far above the limit is never held: it costs one row, and what follows keeps its line and offset."""
    content = b'{"n": 1}\n' + b"x" * 50_000 + b'\n{"n": 2}'
    found = cut_rows(content, "jsonl", window, row_limit=500)
    assert values(found) == [{"n": 1}, {"n": 2}]
    assert codes(found) == ["JS007"]
    assert [(row.index, row.line, row.offset) for row in found] == [(0, 1, 0), (1, 2, 9), (2, 3, 50_010)]
    blocks = [block for block in cut(content, "jsonl", window, 500) if isinstance(block, Block)]
    assert max(len(block.data) for block in blocks) <= 2 * max(window, 500)


def test_truncated_gzip_loses_only_its_end() -> None:
    """Every whole line before the damage is read; what follows is one lost row that says where it began."""
    lines = [orjson.dumps({"n": i, "text": f"{i * 7919 % 10007}" * 5}) for i in range(3000)]
    content = b"\n".join(lines)
    packed = gzip.compress(content)
    found = cut_rows(packed[: len(packed) // 2], "jsonl", 1000)
    read = values(found)
    assert 100 < len(read) < 3000
    assert read == [orjson.loads(line) for line in lines[: len(read)]]
    lost = found[-1]
    assert isinstance(lost, Finding)
    assert (lost.code, lost.index, lost.line) == ("IO004", len(read), len(read) + 1)
    assert codes(found) == ["IO004"]


def test_byte_order_mark_is_told_and_skipped() -> None:
    """A UTF-8 mark is a warning; offsets still count from the file's first byte."""
    found = cut_rows(b'\xef\xbb\xbf{"n": 1}', "jsonl")
    assert codes(found) == ["IO003"]
    assert [(row.value, row.offset) for row in found if isinstance(row, Row)] == [({"n": 1}, 3)]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_other_encodings_are_named(encoding: str) -> None:
    """A UTF-16 or UTF-32 file is one finding that says what it is, not thousands."""
    found = cut_rows('{"n": 1}\n{"n": 2}'.encode(encoding), "jsonl")
    (finding,) = found
    assert isinstance(finding, Finding)
    assert finding.code == "IO002"
    assert encoding.upper() in finding.message


@pytest.mark.parametrize("content", [b"", b"\n\n \n", b"\xef\xbb\xbf"])
def test_file_without_a_row_is_a_finding(content: bytes) -> None:
    """An empty file is told as such and is no error."""
    assert codes(cut_rows(content, "jsonl"))[-1:] == ["IO001"]
