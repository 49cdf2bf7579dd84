"""Reads the main text of web pages and of the records of web archives. Runs in the workers; needs `didact[web]`.

Resiliparse extracts, of the two libraries that large corpora are made with. On the same 27 pages trafilatura took nine
to eighteen times as long and left out most headings and the lists of publications; resiliparse kept more text of
navigation and lost the second half of two pages. Its parser takes quadratic time on two kinds of hostile page, which
are refused first: those with hundreds of open elements, and those with thousands of attributes in one tag.
"""

from __future__ import annotations

import codecs
import io
import re
from functools import cache
from typing import Any, Literal

from didact.errors import CallError, RowError
from didact.sources.archives import HTML, PAGE_LIMIT, field_of, media_type

DEPTH = 512
"""Open elements of a page at any place; browsers close what is nested deeper."""

_FEW_TAGS = 4000
"""Pages with fewer tags are extracted in less than a second whatever their depth, so it is not measured."""
_CROWDED_TAG = re.compile(
    rb"<[A-Za-z](?>[\t\n\f\r /]*+[^\t\n\f\r />][^\t\n\f\r />=]{0,63}+"
    rb"(?>[\t\n\f\r ]*+=[\t\n\f\r ]*+(?>\"[^\"]*+\"|'[^']*+'|[^\t\n\f\r >]{1,64}+)?+)?+){1000}"
)
"""A tag with a thousand attributes. Words are cut to 64 bytes, so that a hostile page cannot make the search long."""
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_WHITE = re.compile(r"\s+")


@cache
def require_web() -> None:
    """Raises CallError when the libraries for web pages are not installed."""
    try:
        import fastwarc
        import resiliparse
    except ImportError as error:
        raise CallError("web pages and archives need more packages; pip install 'didact[web]'") from error
    del fastwarc, resiliparse


def page_row(page: bytes) -> dict[str, Any]:
    """A page as a row of text, title and language, as far as it has them. Raises RowError WB001 or JS007."""
    return _page(page, None)


def archive_row(record: bytes) -> dict[str, Any]:
    """A record of an archive as a row: the page or text it holds, and where and when it was found.

    Raises RowError WB001, WB003, IO002 or JS007.
    """
    head, payload, stated, charset = _opened(record)
    kind = media_type(field_of(head, rb"WARC-Identified-Payload-Type") or stated)
    if kind in HTML or (not kind and payload.lstrip()[:1] == b"<"):
        row = _page(payload, charset)
    else:
        row = {"text": _plain(payload, charset)}
    return row | _about(head)


def _about(head: bytes) -> dict[str, str]:
    """What a record's header says about its text, in the order of the header's importance."""
    named = {
        "url": field_of(head, rb"WARC-Target-URI").strip(b"<>"),
        "date": field_of(head, rb"WARC-Date"),
        "language": field_of(head, rb"WARC-Identified-Content-Language"),
        "truncated": field_of(head, rb"WARC-Truncated"),
    }
    return {name: value.decode("utf-8", "replace") for name, value in named.items() if value}


def _opened(record: bytes) -> tuple[bytes, bytes, bytes, str | None]:
    """A record's header, its payload without what HTTP wrapped it in, the payload's type and charset as stated."""
    try:
        return _payload(record, "all")
    except OSError as error:
        # Many crawlers store the payload decoded and leave the header that says it is not.
        opened = _payload(record, "none")
        if b"\0" in opened[1] or not opened[1].lstrip()[:1] == b"<":
            raise RowError("WB003", f"the payload cannot be decoded: {str(error)[:200]}") from error
        return opened


def _payload(record: bytes, decode: Literal["all", "none"]) -> tuple[bytes, bytes, bytes, str | None]:
    from fastwarc.warc import ArchiveIterator

    found = next(ArchiveIterator(io.BytesIO(record), auto_decode=decode, fsspec_args=False), None)
    if found is None:
        raise RowError("WB003", "the record's header cannot be read")
    payload = found.reader.read(PAGE_LIMIT + 1)
    _require_short(payload)
    head = record[: record.index(b"\n\r\n" if b"\n\r\n" in record[: 1 << 16] else b"\n\n")]
    stated = found.http_content_type if found.http_headers is not None else found.headers.get("Content-Type")
    return head, payload, (stated or "").encode("utf-8", "replace"), found.http_charset


def _require_short(payload: bytes) -> None:
    if len(payload) > PAGE_LIMIT:
        raise RowError("JS007", f"the page is longer than {PAGE_LIMIT} bytes")


def _plain(payload: bytes, charset: str | None) -> str:
    """A text as it is; in UTF-8 unless it says otherwise."""
    if charset is None:
        try:
            text = payload.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise RowError("IO002", f"byte {error.start} of the text is not UTF-8, and no charset is stated") from error
    else:
        text = _decoded(payload, charset)
    if not text.strip():
        raise RowError("WB001", "the record holds no text")
    return text


def _page(page: bytes, charset: str | None) -> dict[str, Any]:
    """The main text of a page, its title, and the language it states."""
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.html import HTMLTree

    _require_short(page)
    if _CROWDED_TAG.search(page):
        raise RowError("WB001", "a tag of the page has more than 1000 attributes")
    tree = HTMLTree.parse(_decoded(page, charset))
    if page.count(b"<") > _FEW_TAGS:
        _require_shallow(tree)
    text = extract_plain_text(tree, main_content=True, alt_texts=False).strip()
    if not text:
        raise RowError("WB001", "the page has no main text")
    row = {"text": text}
    if title := _WHITE.sub(" ", tree.title or "").strip():
        row["title"] = title
    if language := _language(tree):
        row["language"] = language
    return row


def _decoded(page: bytes, charset: str | None) -> str:
    """A page's text under the charset that is stated outside of it, else by its marks and its own words."""
    from resiliparse.parse.encoding import bytes_to_str, detect_encoding

    known = next((name for mark, name in _MARKS if page.startswith(mark)), None)
    if known is None and charset is not None:
        known = _known(charset)
    return str(bytes_to_str(page, known or detect_encoding(page, from_html_meta=True) or "utf-8"))


def _known(charset: str) -> str | None:
    """A charset by the name that browsers use for it; None for one that nobody knows."""
    from resiliparse.parse.encoding import map_encoding_to_html5

    known = map_encoding_to_html5(charset, fallback_utf8=False)
    return None if known is None else str(known)


def _language(tree: Any) -> str:
    root = tree.document.query_selector("html[lang]")
    return root.getattr("lang", "").strip()[:35] if root is not None else ""


def _require_shallow(tree: Any) -> None:
    """Raises RowError WB001 when elements of a page are nested more than `DEPTH` deep."""
    from resiliparse.parse.html import traverse_dom

    def look(context: Any) -> None:
        if context.depth > DEPTH:
            raise RowError("WB001", f"elements of the page are nested more than {DEPTH} deep")

    for root in (tree.head, tree.body):
        if root is not None:
            traverse_dom(root, look, elements_only=True)
