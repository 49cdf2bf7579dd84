"""Web pages and archives: the records that hold text are rows, wherever blocks are cut and whatever is broken."""

from __future__ import annotations

import gzip
import io
import pickle
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from web_archives import in_members, page, record, response

import didact
from didact.errors import CallError, RowError
from didact.records import PlainText
from didact.records.findings import Finding
from didact.repair.files import repair
from didact.sources import web
from didact.sources.blocks import Block, SourceFile
from didact.sources.cutting import read_blocks
from didact.sources.rows import Row, rows

pytest.importorskip("resiliparse", reason="needs didact[web]")


def read_file(
    path: Path, block_bytes: int = 1 << 20, row_limit: int = 1 << 20
) -> tuple[list[Row], list[Finding], list[Block]]:
    """Rows, findings and blocks of a web archive."""
    found: list[Row | Finding] = []
    blocks: list[Block] = []
    for one in read_blocks(SourceFile("s", path, path.name, "warc", "text"), block_bytes, row_limit):
        if isinstance(one, Block):
            # A pool of workers sends blocks this way; the bytes are our own.
            blocks.append(pickle.loads(pickle.dumps(one)))  # noqa: S301
            found += rows(blocks[-1], row_limit)
        else:
            found.append(one)
    return [one for one in found if isinstance(one, Row)], [one for one in found if isinstance(one, Finding)], blocks


def records_of(path: Path) -> tuple[list[PlainText], list[str]]:
    """The plain texts of a file, and the codes of its findings."""
    findings: list[Finding] = []
    records = [one for one in didact.read(path, findings=findings) if isinstance(one, PlainText)]
    return records, [finding.code for finding in findings]


def in_words(number: int) -> str:
    """A paragraph that is told from others."""
    return f"Paragraph number {number} says something of its own, at some length, so that it counts as text."


NOT_ROWS = [
    record("warcinfo", b"software: x\r\n", "application/warc-fields"),
    record("request", b"GET / HTTP/1.1\r\nHost: a.b\r\n\r\n", "application/http; msgtype=request"),
    record("metadata", b"fetchTimeMs: 5\r\n", "application/warc-fields"),
    record("resource", b"wget log", "text/plain", "metadata://gnu.org/wget.log"),
    record("revisit", b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n"),
]
TEXTLESS = [
    response(b"\x89PNG\r\n\r\nWARC/1.0\r\n" + bytes(9000), "image/png"),
    response(page("Not found"), status="404 Not Found"),
    record("response", b"dns", "text/dns"),
    record("conversion", b"{}", "application/json"),
]


@pytest.mark.parametrize("compressed", [False, True])
def test_an_archive_gives_pages_and_texts_with_their_addresses(tmp_path: Path, compressed: bool) -> None:
    """Responses, resources and extracted texts are rows; title and text stand in the record, the rest in its origin."""
    wet = record(
        "conversion",
        "Grüße\nund mehr".encode(),
        "text/plain",
        "https://c.d/",
        "WARC-Identified-Content-Language: deu\r\n",
    )
    archive = [
        *NOT_ROWS,
        response(page(in_words(1)), "text/html; charset=UTF-8", uri="<https://a.b/1>"),
        *TEXTLESS,
        wet,
        record("resource", page(in_words(2)), "text/html"),
        response(b"Just text.", "text/plain"),
    ]
    path = tmp_path / ("x.warc.gz" if compressed else "x.warc")
    path.write_bytes(in_members(archive) if compressed else b"".join(archive))
    records, codes = records_of(path)
    assert [one.text for one in records] == [
        f"A day\n\n{in_words(1)}",
        "Grüße\nund mehr",
        f"A day\n\n{in_words(2)}",
        "Just text.",
    ]
    assert [one.title for one in records] == ["A day", None, "A day", None]
    first, second = records[0].origin, records[1].origin
    assert first is not None
    assert first.extra == {"url": "https://a.b/1", "date": "2024-05-18T01:58:10Z", "language": "en"}
    assert second is not None
    assert (second.extra["url"], second.extra["language"]) == ("https://c.d/", "deu")
    assert codes == ["WB002"]


def test_records_without_text_are_counted_by_reason(tmp_path: Path) -> None:
    """Pictures, errors and other files are no rows; one finding tells how many there are of each."""
    (tmp_path / "x.warc").write_bytes(b"".join([*TEXTLESS, *TEXTLESS[:1], response(page(in_words(1)))]))
    found, findings, _ = read_file(tmp_path / "x.warc")
    assert len(found) == 1
    (told,) = findings
    assert told.message == (
        "records without text: 2 image/png, 1 HTTP status 404, 1 application/json, 1 not HTTP (text/dns)"
    )


@given(
    kinds=st.lists(st.integers(0, 4), max_size=12),
    block_bytes=st.sampled_from([1, 500, 3000, 1 << 20]),
    compressed=st.booleans(),
    newline=st.sampled_from([b"\r\n\r\n", b"\n\n", b"\r\n\r\n\r\n"]),
)
def test_blocks_hold_what_a_warc_library_finds(
    tmp_path_factory: pytest.TempPathFactory, kinds: list[int], block_bytes: int, compressed: bool, newline: bytes
) -> None:
    """However blocks are cut, their rows are the records with text that fastwarc finds in the stream."""
    from fastwarc.warc import ArchiveIterator, WarcRecordType

    made = [
        response(page(in_words(i)), uri=f"https://a.b/{i}") if kind == 0 else [*NOT_ROWS, *TEXTLESS][kind + 2]
        for i, kind in enumerate(kinds)
    ]
    made = [one[:-4] + newline for one in made]
    path = tmp_path_factory.mktemp("warc") / "x.warc"
    path.write_bytes(in_members(made) if compressed else b"".join(made))
    expected = [
        one.headers["WARC-Target-URI"]
        for one in ArchiveIterator(io.BytesIO(b"".join(made)), fsspec_args=False, quirks_mode=True)
        if one.record_type == WarcRecordType.response and one.http_content_type == "text/html"
        if one.http_headers.status_code == 200
    ]
    found, _, blocks = read_file(path, block_bytes)
    assert [row.value["url"] for row in found] == expected
    assert [row.index for row in found] == list(range(len(expected)))
    whole = b"".join(made)
    for block in blocks:
        assert whole[block.offset : block.offset + len(block.data)] == block.data
        assert [whole[: block.offset + start].count(b"\n") + 1 for start in block.starts] == block.lines.tolist()


@given(cut=st.integers(0, 200), which=st.integers(0, 4))
def test_a_record_that_breaks_off_costs_itself_only(
    tmp_path_factory: pytest.TempPathFactory, cut: int, which: int
) -> None:
    """A record cut short anywhere is one rejected row with a finding; all others are read."""
    made = [response(page(in_words(i)), uri=f"https://a.b/{i}") for i in range(5)]
    keep = len(made[which]) - 5 - cut
    made[which] = made[which][:keep]
    path = tmp_path_factory.mktemp("warc") / "x.warc"
    path.write_bytes(b"".join(made))
    found, findings, _ = read_file(path)
    assert [row.value["url"] for row in found] == [f"https://a.b/{i}" for i in range(5) if i != which]
    (told,) = findings
    assert (told.code, told.offset, told.index) == ("WB003", sum(map(len, made[:which])), which)


@pytest.mark.parametrize("length", [0, 10, 100_000, 10**19])
def test_a_wrong_length_costs_the_record(tmp_path: Path, length: int) -> None:
    """A header that states another length than the record has is told, and the next record is read."""
    body = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + page(in_words(1))
    made = [record("response", body, length=length), response(page(in_words(2)), uri="https://a.b/2")]
    (tmp_path / "x.warc").write_bytes(b"".join(made))
    found, findings, _ = read_file(tmp_path / "x.warc")
    assert [row.value["url"] for row in found] == ["https://a.b/2"]
    assert [finding.code for finding in findings] == ["WB003"]


def test_bytes_between_records_are_told_once(tmp_path: Path) -> None:
    """Megabytes that are no record cost one finding and little memory; what follows is read."""
    made = [
        response(page(in_words(1)), uri="https://a.b/1"),
        b"x" * (3 << 20),
        response(page(in_words(2)), uri="https://a.b/2"),
    ]
    (tmp_path / "x.warc").write_bytes(b"".join(made))
    found, findings, _ = read_file(tmp_path / "x.warc")
    assert [row.value["url"] for row in found] == ["https://a.b/1", "https://a.b/2"]
    assert [finding.code for finding in findings] == ["WB003"]


def test_a_record_over_the_limit_is_passed_over(tmp_path: Path) -> None:
    """A page longer than a row may be is one rejected row; a film of that length is none at all."""
    film = response(bytes(3 << 20), "video/mp4")
    long = response(b"<p>" + b"x" * (2 << 20))
    (tmp_path / "x.warc").write_bytes(film + long + response(page(in_words(1))) + film)
    found, findings, blocks = read_file(tmp_path / "x.warc")
    assert [row.index for row in found] == [1]
    assert [(one.code, one.index, one.offset) for one in findings if one.code == "JS007"] == [("JS007", 0, len(film))]
    assert sum(len(block.data) for block in blocks) < 1000


@pytest.mark.parametrize("damage", ["middle", "tail", "cut"])
def test_a_damaged_member_costs_its_records_only(tmp_path: Path, damage: str) -> None:
    """In an archive compressed record by record, what follows a damaged record is read."""
    members = [gzip.compress(response(page(in_words(i)), uri=f"https://a.b/{i}"), mtime=0) for i in range(4)]
    broken = bytearray(members[1])
    if damage == "middle":
        broken[40:60] = bytes(20)
    elif damage == "tail":
        broken[-8:] = bytes(8)
    else:
        del broken[len(broken) // 2 :]
    (tmp_path / "x.warc.gz").write_bytes(members[0] + bytes(broken) + members[2] + members[3])
    found, findings, _ = read_file(tmp_path / "x.warc.gz")
    urls = [row.value["url"] for row in found]
    assert [url for url in urls if url != "https://a.b/1"] == ["https://a.b/0", "https://a.b/2", "https://a.b/3"]
    assert "IO004" in [finding.code for finding in findings]
    indices = [row.index for row in found] + [finding.index for finding in findings]
    assert sorted(indices) == list(range(len(indices)))


HTTP = {
    "gzip": (gzip.compress(page(in_words(1))), "Content-Encoding: gzip\r\n"),
    "chunked": (
        b"%x\r\n%s\r\n0\r\n\r\n" % (len(page(in_words(1))), page(in_words(1))),
        "Transfer-Encoding: chunked\r\n",
    ),
    "said but not done": (page(in_words(1)), "Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"),
}


@pytest.mark.parametrize("how", HTTP)
def test_what_http_wraps_is_unwrapped(how: str) -> None:
    """Compressed and chunked answers are decoded, also where the crawler did it and left the header."""
    payload, headers = HTTP[how]
    assert web.archive_row(response(payload, extra=headers))["text"] == f"A day\n\n{in_words(1)}"


def test_a_bomb_is_read_to_the_limit_only() -> None:
    """An answer of 20 kB that unpacks to 20 MB is refused after the longest page's size."""
    bomb = gzip.compress(b"<p>" + b"a" * (20 << 20))
    with pytest.raises(RowError, match=r"^JS007"):
        web.archive_row(response(bomb, extra="Content-Encoding: gzip\r\n"))


def test_what_cannot_be_decoded_is_refused() -> None:
    """A payload that is not what its header says is a finding, never garbage."""
    with pytest.raises(RowError, match=r"^WB003"):
        web.archive_row(response(b"\x00\x01\x02garbage", extra="Content-Encoding: gzip\r\n"))
    with pytest.raises(RowError, match=r"^IO002"):
        web.archive_row(record("conversion", b"caf\xe9", "text/plain"))


SPOKEN = "Ärger mit dem Zeichensatz und seinen Folgen für alle, die lesen wollen, was auf der Seite steht."


@pytest.mark.parametrize(
    ("stated", "meta", "encoding"),
    [
        ("text/html; charset=ISO-8859-1", "", "latin-1"),
        ("text/html; charset=gibberish", "<meta charset=windows-1252>", "cp1252"),
        ("text/html", "<meta charset=windows-1252>", "cp1252"),
        ("text/html", "", "utf-8"),
        ("text/html; charset=utf-8", "<meta charset=latin1>", "utf-8"),
        ("text/html", "<meta charset=latin1>", "utf-8-sig"),
        ("", "<!doctype html>", "utf-16"),
        ("", "<!doctype html>", "utf-8"),
    ],
)
def test_the_charset_is_honoured(stated: str, meta: str, encoding: str) -> None:
    """A mark at the start counts most, then what HTTP says, then the page's own word."""
    text = f"{meta}<main><p>{SPOKEN}</p></main>"
    if stated:
        assert web.archive_row(response(text.encode(encoding), stated))["text"] == SPOKEN
    else:
        assert web.page_row(text.encode(encoding))["text"] == SPOKEN


def test_pages_and_folders_of_pages_are_rows(tmp_path: Path) -> None:
    """One page is one row, whatever marks and comments it begins with; a page without text is rejected."""
    starts: Sequence[bytes] = [b"", b"\xef\xbb\xbf<!DOCTYPE html>", b"<?xml version='1.0'?><!-- x --><!-- y -->\n"]
    for number, start in enumerate(starts):
        (tmp_path / f"{number}.html").write_bytes(start + page(in_words(number)))
    (tmp_path / "3.htm").write_bytes(gzip.compress(b"<html><script>go()</script></html>"))
    records, codes = records_of(tmp_path)
    assert [one.text for one in records] == [f"A day\n\n{in_words(number)}" for number in range(3)]
    assert codes == ["WB001"]


def test_comments_before_a_page_cost_no_time(tmp_path: Path) -> None:
    """A file of comments is told from a page in linear time."""
    (tmp_path / "x.txt").write_bytes(b"<!-- -->" * 8000 + b"text")
    begun = time.process_time()
    records_of(tmp_path / "x.txt")
    assert time.process_time() - begun < 5


@pytest.mark.parametrize(
    "hostile",
    [
        b"<html><body>" + b"<div>" * 200_000 + b"x",
        b"<html><p " + b"".join(b"a%d=1 " % i for i in range(100_000)) + b">x</p>",
        b"<html><p " + b"".join(b'a%d=">" ' % i for i in range(100_000)) + b">x</p>",
    ],
)
def test_hostile_pages_cost_a_row_and_little_time(hostile: bytes) -> None:
    """Pages on which the parser takes minutes are refused."""
    begun = time.process_time()
    with pytest.raises(RowError, match=r"^WB001"):
        web.page_row(hostile)
    assert time.process_time() - begun < 10


def test_pages_are_never_repaired(tmp_path: Path) -> None:
    """A page's text is not its bytes, so `--fix` refuses pages and archives instead of writing something else."""
    (tmp_path / "x.html").write_bytes(page("x"))
    with pytest.raises(CallError, match="html files are not repaired"):
        repair(tmp_path / "x.html", tmp_path / "y.html")
    assert not (tmp_path / "y.html").exists()


def test_without_the_extra_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the libraries are missing, the call is refused before anything is read."""
    (tmp_path / "x.html").write_bytes(page("x"))
    monkeypatch.setitem(__import__("sys").modules, "resiliparse", None)
    web.require_web.cache_clear()
    with pytest.raises(CallError, match=r"pip install 'didact\[web\]'"):
        list(didact.read(tmp_path / "x.html"))
    monkeypatch.undo()
    web.require_web.cache_clear()
