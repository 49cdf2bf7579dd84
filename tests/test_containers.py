"""Containers are told by content: names that lie do no harm."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from didact.sources.containers import container_of, decode, is_binary

LONG = '{"a": [' + "1," * 60_000 + "1]}"

CASES = [
    ('{"a": 1}\n{"a": 2}\n', "x.json", "jsonl"),
    ('{"a": 1}\n{"a": 2}\n', "x.txt", "jsonl"),
    ('[{"a": 1}, {"a": 2}]', "x.jsonl", "json"),
    ('[\n {"a": 1}]', "x", "json"),
    ('\n\n  [{"a": 1', "x.json", "json"),
    ('{"a": 1}', "x.jsonl", "object"),
    ('{"a": 1}\n\n', "x.jsonl", "object"),
    ('{\n "a": 1\n}', "x.json", "object"),
    ('{\n "a": 1\n}\n{\n "a": 2\n}', "x.json", "json"),
    (LONG, "x.json", "object"),
    (LONG + "\n" + LONG, "x.json", "jsonl"),
    ('{"a": broken\n{"a": 2}\n', "x.jsonl", "jsonl"),
    ('[]\n{"a": 2}\n', "x.jsonl", "jsonl"),
    ('\n["a", [1]]\n{"a": 2}\n', "x.ndjson", "jsonl"),
    ("[]", "x.jsonl", "jsonl"),
    ("[]", "x.json", "json"),
    ('[]\n{"a": 2}\n', "x.json", "json"),
    ("[\n]\n", "x.jsonl", "json"),
    ('[{"a": 1}]\n[{"a": 2}]\n', "x.jsonl", "json"),
    ('{"a": 1}\nbroken\n', "x", "jsonl"),
    ("[1] A footnote.\n", "x.txt", "text"),
    ("[Illustration]\n", "x", "text"),
    ("{curly} words", "x.md", "text"),
    ("a,b\n1,2\n", "x.csv", "csv"),
    ("a\tb\n1\t2\n", "x.tsv", "tsv"),
    ("a\tb\n1\t2\n", "x.txt", "text"),
    ("", "x.json", "jsonl"),
    ("", "x.txt", "text"),
]


@pytest.mark.parametrize(("content", "name", "container"), CASES, ids=range(len(CASES)))
def test_container_is_told_by_content(tmp_path: Path, content: str, name: str, container: str) -> None:
    """JSON is found under any name, plain or compressed, with or without a byte order mark."""
    path = tmp_path / name
    for raw in (content.encode(), gzip.compress(content.encode()), b"\xef\xbb\xbf" + content.encode()):
        path.write_bytes(raw)
        assert container_of(path) == container


def test_columnar_files_are_told_by_their_magic(tmp_path: Path) -> None:
    """Parquet files, Arrow files and Arrow streams are known by their first bytes."""
    table = pa.table({"a": [1]})
    pq.write_table(table, tmp_path / "p.json")
    with pa.ipc.new_file(tmp_path / "f", table.schema) as writer:
        writer.write_table(table)
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    (tmp_path / "s").write_bytes(sink.getvalue())
    assert [container_of(tmp_path / name) for name in ("p.json", "f", "s")] == ["parquet", "arrow", "arrow"]


@given(st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=5), max_size=3), st.data())
def test_a_cut_value_is_unsure_never_broken(value: dict[str, object], data: st.DataObject) -> None:
    """No beginning of a valid value is called broken, wherever it is cut."""
    import json

    text = json.dumps(value)
    cut = data.draw(st.integers(1, len(text) - 1))
    assert decode(text[:cut], 0)[2] == "unsure"
    assert decode(text + " ", 0) == (value, len(text), "whole")


def test_broken_text_is_told_at_once() -> None:
    """What no continuation can repair is called broken, so reading need not go on for it."""
    assert decode('{"a": oops, "b": "a longer text behind it"}', 0)[2] == "broken"
    assert decode("[" * 100_000, 0)[2] == "broken"


@pytest.mark.parametrize(
    ("name", "start", "container"),
    [
        ("x", b"WARC/1.0\r\n", "warc"),
        ("x", b"<!DOCTYPE html><p>", "html"),
        ("x.txt", b"<!-- x -->\n<html>", "html"),
        ("x", b"\xef\xbb\xbf<?xml version='1.0'?>\n<!DOCTYPE html>", "html"),
        ("x.html", b"<p>no html tag", "html"),
        ("x.html", "<p>".encode("utf-16"), "html"),
        ("x.html", b"Just text", "text"),
        ("x.json", b"<html>Not found</html>", "jsonl"),
        ("x.csv.gz", b"<html>Not found</html>", "csv"),
        ("x", b"<p>a page has html or a doctype", "text"),
    ],
)
def test_web_pages_and_archives_are_told_from_text(tmp_path: Path, name: str, start: bytes, container: str) -> None:
    """Pages and archives are found by content; a page under the name of JSON or CSV is a failed download."""
    (tmp_path / name).write_bytes(start)
    assert container_of(tmp_path / name) == container


def test_binary_data_is_told_from_text(tmp_path: Path) -> None:
    """A NUL byte at the start of a file says that it is no text."""
    (tmp_path / "x").write_bytes(b"a\0b")
    (tmp_path / "y").write_bytes(b"Once")
    assert [is_binary(tmp_path / name) for name in "xy"] == [True, False]
