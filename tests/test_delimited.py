"""CSV and TSV files are cut where the standard library ends their rows."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from cut_rows import codes, cut_rows, values
from hypothesis import given
from hypothesis import strategies as st

from didact.errors import CallError
from didact.recipe.sources import Source
from didact.records.findings import Finding
from didact.sources.blocks import ROW_LIMIT
from didact.sources.delimited import column_names, uses_quotes
from didact.sources.plan import plan_source
from didact.sources.rows import Row
from didact.validate.check import validate

CELL = st.text(st.sampled_from(['"', ",", "\n", "a", "é", "\t", "'", " ", "\u2028"]), max_size=6)


@given(
    rows=st.lists(st.tuples(CELL, CELL, CELL.filter(bool)), max_size=8),
    ending=st.sampled_from(["\n", "\r\n"]),
    window=st.integers(1, 80),
)
def test_csv_rows_are_those_that_were_written(rows: list[tuple[str, str, str]], ending: str, window: int) -> None:
    """Cells with quotes, commas and line ends come back as they were written, at the line where their row begins."""
    sheet = io.StringIO()
    csv.writer(sheet, lineterminator=ending).writerows([("a", "b", "c"), *rows])
    content = sheet.getvalue().encode()
    found = [row for row in cut_rows(content, "csv", window) if isinstance(row, Row)]
    assert [tuple(row.value.values()) for row in found] == rows
    for row in found:
        assert row.line == content[: row.offset].count(b"\n") + 1
        assert next(csv.reader(io.StringIO(content[row.offset :].decode(), newline=""))) == list(row.value.values())


def test_wrong_number_of_cells_costs_one_row() -> None:
    """A row with a cell too many or too few is rejected at its line, and blank lines are no rows."""
    found = cut_rows(b"a,b\n1,2\n\n3\n4,5,6\n7,8\n", "csv")
    assert values(found) == [{"a": "1", "b": "2"}, {"a": "7", "b": "8"}]
    assert [(finding.code, finding.line, finding.index) for finding in found if isinstance(finding, Finding)] == [
        ("CS001", 4, 1),
        ("CS001", 5, 2),
    ]


@pytest.mark.parametrize("window", [4, 1 << 20])
def test_quote_that_is_never_closed_costs_its_line(window: int) -> None:
    """A stray opening quote does not swallow the rest of the file."""
    found = cut_rows(b'a,b\n1,2\n3,"4\n' + b"5,6\n" * 50, "csv", window)
    assert values(found) == [{"a": "1", "b": "2"}, *[{"a": "5", "b": "6"}] * 50]
    assert [(finding.code, finding.line) for finding in found if isinstance(finding, Finding)] == [("CS001", 3)]


def test_row_beyond_the_limit_costs_its_line() -> None:
    """A row that does not end within the limit is given up at its first line, and reading goes on at the next."""
    found = cut_rows(b'a,b\n1,2\n3,"4\n' + b"5,6\n" * 50_000, "csv", 64, row_limit=300)
    assert codes(found) == ["JS007"]
    assert values(found) == [{"a": "1", "b": "2"}, *[{"a": "5", "b": "6"}] * 50_000]


def test_bad_bytes_cost_their_row_only() -> None:
    """A row that is not UTF-8 is rejected; its neighbours are read."""
    found = cut_rows(b"a,b\n1,\xff\n2,\xc3\xa9\n", "csv")
    assert codes(found) == ["IO002"]
    assert values(found) == [{"a": "2", "b": "é"}]


def test_tsv_takes_quotations_as_they_are() -> None:
    """A tab-separated cell that begins with a quotation keeps its quotes; a file of quoted cells is unquoted."""
    plain = cut_rows(b'a\tb\n"Stop," he said\tyes\n"\tno\n', "tsv")
    quoted = cut_rows(b'"a"\t"b"\n"two\nlines"\t"say ""hi"""\n"1"\t"2"\n', "tsv")
    assert values(plain) == [{"a": '"Stop," he said', "b": "yes"}, {"a": '"', "b": "no"}]
    assert not uses_quotes(b'a\tb\n"Stop," he said\tyes\n', b"\t")
    assert uses_quotes(b'"a"\t"b"\n"1"\t2\n', b"\t")
    assert values(quoted) == [{"a": "two\nlines", "b": 'say "hi"'}, {"a": "1", "b": "2"}]


def test_name_given_twice_loses_no_cell() -> None:
    """Columns of one name are told apart by a number."""
    assert column_names(b"a,b,a,,a\r\n", ",", True, 1 << 20) == ["a", "b", "a#2", "", "a#3"]
    assert values(cut_rows(b"a,a\n1,2\n", "csv")) == [{"a": "1", "a#2": "2"}]


@pytest.mark.parametrize("head", ['prompt,"completion', f"prompt,{'x' * (ROW_LIMIT + 1)}"])
@pytest.mark.parametrize("format", ["auto", "prompt_completion"])
def test_names_that_cannot_be_read_are_told(head: str, format: str, tmp_path: Path) -> None:
    """A header that leaves a quote open, or has too long a name, is a bad call that says so; the rows below it are
    counted where other files are checked beside it.
    """
    (tmp_path / "bad.csv").write_text(f"{head}\nIs it?,Yes.\nIs it not?,No.\n")
    (tmp_path / "good.csv").write_text("prompt,completion\nIs it?,Yes.\n")
    with pytest.raises(CallError, match=r"'bad.csv': the row with the names of the columns: .*'names: "):
        plan_source("s", Source(path="bad.csv", format=format), tmp_path)
    if format == "auto":
        report = validate([tmp_path / "bad.csv", tmp_path / "good.csv"], workers=1)
        assert [(file.path, file.records, file.rejected) for file in report.files] == [
            ("bad.csv", 2, 2),
            ("good.csv", 1, 0),
        ]


def test_header_alone_is_an_empty_file() -> None:
    """A file with column names and no row holds no row."""
    assert codes(cut_rows(b"a,b\n", "csv")) == ["IO001"]


def test_a_quote_open_for_longer_than_a_row_costs_its_line_only() -> None:
    """Where a cell grows beyond the limit its first line is a row that is rejected, and the next lines are rows."""
    content = b"n,m\n1,2\n" + b'3,"4\n' + b"".join(b"%d,%d\n" % (i, i) for i in range(5, 2000))
    for window in (64, 700, 1 << 20):
        found = cut_rows(content, "csv", window, row_limit=300)
        (bad,) = [one for one in found if isinstance(one, Finding)]
        assert bad.code in ("CS001", "JS007") and bad.line == 3
        assert [row["n"] for row in values(found)] == ["1", *map(str, range(5, 2000))]
