"""What is wrong with texts whoever speaks them: characters that do not belong, marks of other programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from unicodedata import is_normalized

import re2

from didact.records.base import Text
from didact.records.findings import Problem
from didact.records.fixes import TEXT_FIXES
from didact.text.clean_rules import maybe_mojibake, without_code

_REACH = 30
"""Characters of a text that a message shows."""

_SIGNS = b"<[&\\{"
_PHRASE_LETTERS = b"AGIPT:#"
_CONTROL_CODES = bytes({*range(32), 127} - set(b"\t\n\r"))
_UNREMARKABLE = bytes(set(range(256)) - set(_SIGNS + _PHRASE_LETTERS + _CONTROL_CODES))

_CONTROL_TOKEN = re2.compile(
    r"<\|[A-Za-z][A-Za-z0-9_]{1,40}\|>|<｜[^<>｜\n]{2,40}｜>|\[/?INST\]|<</?SYS>>"
    r"|<(?:start_of_turn|end_of_turn|bos|eos|pad)>|</?tool_call>"
)
_UNPAIRED_SENTENCE = re2.compile(r"(?:^\s*<s>|</s>\s*$)")
_UNFILLED = re2.compile(r"(?:^|[^${\\])(\{\{ ?[A-Za-z][A-Za-z_]{1,40} ?\}\})(?:[^}]|$)")


def marks_in(whole: str) -> bytes:
    """What of some text may be a mark of dirt, in its order: one cheap pass that spares most texts every other check.

    Kept are control codes, `<[&\\{`, and letters that tell rare phrases apart: see `answer_checks`.
    """
    return whole.encode(errors="surrogatepass").translate(None, _UNREMARKABLE)


def text_problems(texts: Sequence[Text], whole: str, marks: bytes) -> list[Problem]:
    """Problems of single texts. `whole`: the texts with a blank between them; `marks`: what `marks_in` says of it."""
    dirt = marks.translate(None, _PHRASE_LETTERS)
    if not dirt and whole.isascii():
        return []
    return list(_problems(texts, whole, dirt))


def _problems(texts: Sequence[Text], whole: str, dirt: bytes) -> Iterator[Problem]:
    if b"<" in dirt or (b"[" in dirt and "INST]" in whole):
        yield from _control_tokens(texts)
    if b"&" in dirt:
        yield from _mended(texts, "CO012", "entities", "HTML entities")
    if b"\\" in dirt and "\\n" in whole:
        yield from _mended(texts, "CO011", "line_ends", "a literal \\n")
    if b"{{" in dirt:
        yield from _unfilled(texts)
    if not whole.isascii():
        yield from _unicode(texts, whole)
    elif dirt.translate(None, _SIGNS):
        yield from _mended(texts, "UN001", "control_characters", "a control character")


def _unicode(texts: Sequence[Text], whole: str) -> Iterator[Problem]:
    if "\ufffd" in whole:
        for text in texts:
            if (at := text.text.find("\ufffd")) >= 0:
                yield "UN007", f"/{text.field}", f"a replacement character at character {at}"
    if maybe_mojibake(whole):
        yield from _mended(texts, "UN002", "mojibake", "mojibake")
    if not _shows_all(whole):
        unread = [text._replace(text=TEXT_FIXES["mojibake"](text.text)) for text in texts]
        yield from _mended(unread, "UN001", "control_characters", "a control character")
        yield from _mended(texts, "UN004", "invisible_characters", "an invisible character")
    if not is_normalized("NFC", whole):
        yield from _mended(texts, "UN005", "compose", "decomposed letters")


def _shows_all(whole: str) -> bool:
    """Whether all characters are seen; what is not told apart here is only looked at more closely."""
    return whole.isprintable() or (
        whole.replace("\n", "").replace("\t", "").replace("\r", "").replace("\u3000", "").isprintable()
    )


def _mended(texts: Sequence[Text], code: str, fix: str, what: str) -> Iterator[Problem]:
    """A problem of every text that a fix changes, at the first character that it changes."""
    mend = TEXT_FIXES[fix]
    for text in texts:
        mended = mend(text.text)
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


def _control_tokens(texts: Sequence[Text]) -> Iterator[Problem]:
    for text in texts:
        found = _CONTROL_TOKEN.search(text.text)
        if found is None and "s>" in text.text and ("<s>" in text.text) != ("</s>" in text.text):
            found = _UNPAIRED_SENTENCE.search(text.text)
        if found is not None:
            yield "UN006", f"/{text.field}", f"the control token '{found[0].strip()}' at character {found.start()}"


def _unfilled(texts: Sequence[Text]) -> Iterator[Problem]:
    for text in texts:
        if found := _UNFILLED.search(without_code(text.text)):
            yield "CO010", f"/{text.field}", f"the placeholder '{found[1]}' was not filled in"
