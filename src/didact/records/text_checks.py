"""What is wrong with texts whoever speaks them: characters that do not belong, marks of other programs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from unicodedata import is_normalized

import re2

from didact.records.base import Text
from didact.records.doubts import (
    DECOMPOSED,
    ENTITIES,
    LINE_ENDS,
    LOST,
    MOJIBAKE,
    PLACEHOLDERS,
    SENTENCE,
    TOKENS,
    UNSHOWN,
)
from didact.records.findings import Problem
from didact.records.fixes import TEXT_FIXES
from didact.text.clean_rules import without_code

_REACH = 30
"""Characters of a text that a message shows."""

_CONTROL_TOKEN = re.compile(
    r"<(?:\|[A-Za-z][A-Za-z0-9_]{1,40}\||｜[^<>｜\n]{2,40}｜|</?SYS>|start_of_turn|end_of_turn|bos|eos|pad|/?tool_call)>"
    r"|\[/?INST\]"
)
"""As long as each token begins with one of few characters and holds no second one, the standard library's search is as
safe as RE2's, and on a short answer it takes a tenth of the time.
"""
_OUTSIDE = " \t\n\f\r"
_UNFILLED = re2.compile(r"(?:^|[^${\\])(\{\{ ?[A-Za-z][A-Za-z_]{1,40} ?\}\})(?:[^}]|$)")


def text_problems(texts: Sequence[Text], doubts: int) -> Iterator[Problem]:
    """Problems of single texts, as far as there are doubts."""
    if doubts & (TOKENS | SENTENCE):
        yield from _control_tokens(texts, doubts)
    if doubts & ENTITIES:
        yield from _mended(texts, "CO012", "entities", "HTML entities")
    if doubts & LINE_ENDS:
        yield from _mended(texts, "CO011", "line_ends", "a literal \\n")
    if doubts & PLACEHOLDERS:
        yield from _unfilled(texts)
    if doubts & LOST:
        for text in texts:
            if (at := text.text.find("\ufffd")) >= 0:
                yield "UN007", f"/{text.field}", f"a replacement character at character {at}"
    if doubts & (MOJIBAKE | UNSHOWN):
        yield from _misread(texts, doubts)
    if doubts & DECOMPOSED and not all(is_normalized("NFC", text.text) for text in texts):
        yield from _mended(texts, "UN005", "compose", "decomposed letters")


def _misread(texts: Sequence[Text], doubts: int) -> Iterator[Problem]:
    """Mojibake; and control characters that are none of it, and invisible ones, where not all characters are seen."""
    mend = TEXT_FIXES["mojibake"]
    read = [text._replace(text=mend(text.text)) for text in texts] if doubts & MOJIBAKE else texts
    for text, mended in zip(texts, read, strict=True):
        yield from _changed(text, mended.text, "UN002", "mojibake")
    if not all(_shows_all(text.text) for text in texts):
        yield from _mended(read, "UN001", "control_characters", "a control character")
        yield from _mended(texts, "UN004", "invisible_characters", "an invisible character")


def _shows_all(text: str) -> bool:
    """Whether all characters are seen; what is not told apart here is only looked at more closely."""
    return text.isprintable() or (
        text.replace("\n", "").replace("\t", "").replace("\r", "").replace("\u3000", "").isprintable()
    )


def _mended(texts: Sequence[Text], code: str, fix: str, what: str) -> Iterator[Problem]:
    """A problem of every text that a fix changes, at the first character that it changes."""
    mend = TEXT_FIXES[fix]
    for text in texts:
        yield from _changed(text, mend(text.text), code, what)


def _changed(text: Text, mended: str, code: str, what: str) -> Iterator[Problem]:
    if mended is not text.text and mended != text.text:
        yield code, f"/{text.field}", _first_change(text.text, mended, what)


def _first_change(before: str, after: str, what: str) -> str:
    pairs = enumerate(zip(before, after, strict=False))
    at = next((i for i, (old, new) in pairs if old != new), min(len(before), len(after)))
    character = before[at : at + 1]
    name = "" if not character or "!" <= character <= "~" else f"U+{ord(character):04X}, "
    return f"{what} ({name}character {at}): '{quoted(before, at)}'"


def quoted(text: str, at: int) -> str:
    """A text around a place, fit for one line: what shows nothing is spelt as an escape."""
    shown = text[max(at - _REACH // 2, 0) : at + _REACH]
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in shown)


def _control_tokens(texts: Sequence[Text], doubts: int) -> Iterator[Problem]:
    for field, _, text in texts:
        found = _CONTROL_TOKEN.search(text) if doubts & TOKENS and ("<" in text or "[" in text) else None
        token, at = (found[0], found.start()) if found else _unpaired_sentence(text)
        if token:
            yield "UN006", f"/{field}", f"the control token '{token}' at character {at}"


def _unpaired_sentence(text: str) -> tuple[str, int]:
    """`<s>` at the beginning of a text or `</s>` at its end, and where, when the other is missing."""
    if "s>" not in text or (opened := "<s>" in text) == ("</s>" in text):
        return "", 0
    if opened:
        return "<s>" * text.lstrip(_OUTSIDE).startswith("<s>"), 0
    kept = text.rstrip(_OUTSIDE)
    return "</s>" * kept.endswith("</s>"), len(kept) - 4


def _unfilled(texts: Sequence[Text]) -> Iterator[Problem]:
    for text in texts:
        if found := _UNFILLED.search(without_code(text.text)):
            yield "CO010", f"/{text.field}", f"the placeholder '{found[1]}' was not filled in"
