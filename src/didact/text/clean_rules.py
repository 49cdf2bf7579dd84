"""The cleaning rules: each a function from text to text that returns its argument when there is nothing to do."""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from html.entities import html5
from typing import Any

import re2

_CODE = re2.compile(
    r"(?ms)^[ \t]*```.*?(?:^[ \t]*```[ \t]*$|\z)"  # a fenced block; one never closed reaches to the end
    r"|`[^`\n]+`"
    r"|\$\$.+?\$\$|\$[^$\n]+\$|\\\[.+?\\\]|\\\(.+?\\\)"
)


def outside_code(text: str, rewrite: Callable[[str], str]) -> str:
    """Rewrite the stretches of a text between its code blocks, code spans and formulas; those stay as they are."""
    if "`" not in text and "$" not in text and "\\" not in text:
        return rewrite(text)
    parts, at = [], 0
    for match in _CODE.finditer(text):
        start, end = match.span()
        parts += [rewrite(text[at:start]), text[start:end]]
        at = end
    return "".join([*parts, rewrite(text[at:])])


def without_code(text: str) -> str:
    """A text with a blank for each of its code blocks, code spans and formulas."""
    return _CODE.sub(" ", text) if "`" in text or "$" in text or "\\" in text else text


_ENTITY = re2.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_TAG = re2.compile(r"</?[A-Za-z][^<>\n]{0,200}>")


def entities(text: str) -> str:
    """Decode HTML entities, `&amp;lt;` included, unless the text holds HTML tags: there they mean themselves.

    >>> entities("R&amp;B &lt; 3"), entities("<b>R&amp;B</b>"), entities("a?x=1&copy=2")
    ('R&B < 3', '<b>R&amp;B</b>', 'a?x=1&copy=2')
    """
    if "&" not in text or not _ENTITY.search(text) or _TAG.search(text):
        return text
    return outside_code(text, lambda part: _ENTITY.sub(_character, part))


def _character(match: Any) -> str:
    entity: str = match.group()
    return html.unescape(entity) if entity[1] == "#" else html5.get(entity[1:], entity)


def _characters(ranges: str) -> str:
    """The inside of a RE2 character class from hexadecimal code points and ranges of them."""
    return "".join("-".join(rf"\x{{{code}}}" for code in part.split("-")) for part in ranges.split())


C1 = "80-9F"
MOJIBAKE_ALONE = "ŒœÂÃÎÐØÙ"
"""Letters that ftfy's heuristics take for mojibake beside characters that are common in any text."""
MOJIBAKE_PAIR = (
    "A1-AC AE-B3 B5-B6 B8-17F 192 218-21B 2C6-2DD 370-45F 490-491 2016-2018 201A-2025 2027-2044 20A7 20AC 2116 2122"
    " 2126 2202-2265 2310 2320-2321 2500-25CA F8FF FB01-FB02 FFFD"
)
"""Characters of which the heuristics need two side by side; those that ftfy calls common are left out."""
_MAYBE_MOJIBAKE = re2.compile(f"[{_characters(C1)}{MOJIBAKE_ALONE}]|[{_characters(MOJIBAKE_PAIR)}]{{2}}")


def mojibake(text: str) -> str:
    """Undo UTF-8 read as another encoding, by ftfy; its own test for mojibake is asked only where it can say yes.

    >>> mojibake("crÃ¨me")
    'crème'
    """
    if not maybe_mojibake(text):
        return text
    return _unmade(text) if len(text) <= _LONGEST_KEPT else _unmade.__wrapped__(text)


_LONGEST_KEPT = 10_000
"""Characters of a text whose reading by ftfy is remembered."""


@lru_cache(maxsize=256)
def _unmade(text: str) -> str:
    """What ftfy reads a text as, which takes it a millisecond; the checks ask, and cleaning asks again."""
    import ftfy  # many runs in one process never need it, and it takes as long to load as a thousand rows to check

    return str(ftfy.fix_encoding(text))


def maybe_mojibake(text: str) -> bool:
    """Whether ftfy could take a text, or a part of it, for mojibake; cheaper than asking it."""
    return not text.isascii() and _MAYBE_MOJIBAKE.search(text) is not None


def unicode_form(text: str) -> str:
    """Compose characters: Normalization Form C."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


_LINE_END = re2.compile(r"\r\n|[\r\v\f\x{85}\x{2028}\x{2029}]")
BIDI_CONTROLS = "200E-200F 61C 202A-202E 2066-2069"
ALWAYS_REMOVED = "0-8 E-1F 7F-84 86-9F AD 200B 2060-2064 206A-206F FEFF FFF9-FFFB FFFE-FFFF"
"""Control characters, invisible operators, byte-order marks and noncharacters: they show nothing anywhere."""
JOINERS = "200C-200D"
TAGS = "E0000-E007F"
_JOINING = "600-109F 1780-18AF A800-ABFF FB50-FDFF FE0F FE70-FEFE 10A00-11FFF 2190-2BFF 1F000-1FAFF"
"""Scripts whose letters join, and emoji."""
_NEEDED = rf"[{_characters(_JOINING)}][{_characters(JOINERS)}]|\x{{1F3F4}}[{_characters(TAGS)}]+"
"""Joiners after a letter of a joining script or an emoji, and the tags that make a black flag a region's."""
_CONTROL = re2.compile(f"({_NEEDED})|[{_characters(f'{ALWAYS_REMOVED} {JOINERS} {TAGS} {BIDI_CONTROLS}')}]")
_CONTROL_BUT_BIDI = re2.compile(f"({_NEEDED})|[{_characters(f'{ALWAYS_REMOVED} {JOINERS} {TAGS}')}]")
_SHOWN = bytes({*range(32, 127), *b"\n\t"})
_RIGHT_TO_LEFT = re2.compile(f"[{_characters('590-8FF FB1D-FDFF FE70-FEFC 10800-10FFF 1E800-1EFFF')}]")


def controls(text: str) -> str:
    """Remove characters that show nothing and are not needed; every line end becomes a line feed.

    Bidirectional controls stay in texts with Hebrew, Arabic or another right-to-left script.
    """
    if text.isascii():
        if not text.encode().translate(None, _SHOWN):
            return text
    elif text.replace("\n", "").replace("\t", "").isprintable():
        return text
    pattern = _CONTROL_BUT_BIDI if _RIGHT_TO_LEFT.search(text) else _CONTROL
    return str(pattern.sub(r"\1", _LINE_END.sub("\n", text)))


_CONTROL_CODES = "0-8 E-1F 7F-84 86-9F FFF9-FFFB FFFE-FFFF"
_EATEN = re2.compile(r"\x08(egin|ar|inom|oldsymbol)\{|\f(rac)\{|\x07(lpha|pprox)\b|\v(ec)\{")
_EATEN_LETTERS = {"\x07": "\\a", "\x08": "\\b", "\v": "\\v", "\f": "\\f"}
_RARE_LINE_END = re2.compile(r"[\v\f\x{85}\x{2028}\x{2029}]")
_CONTROL_CODE = re2.compile(f"[{_characters(_CONTROL_CODES)}]")
_WIDTHLESS = f"AD 200B 2060-2064 206A-206F FEFF {JOINERS} {TAGS}"
_INVISIBLE = re2.compile(f"({_NEEDED})|[{_characters(f'{_WIDTHLESS} {BIDI_CONTROLS}')}]")
_INVISIBLE_BUT_BIDI = re2.compile(f"({_NEEDED})|[{_characters(_WIDTHLESS)}]")


def control_characters(text: str) -> str:
    """Remove control codes and noncharacters; rare line ends become line feeds. `\\r` stays.

    The beginning of a LaTeX command that a reader took for an escape (`\\frac`, a form feed and `rac`) is restored.

    >>> control_characters("a\\x00b\\x85c\\r\\n"), control_characters("$\\x0crac{1}{2}$") == "$\\\\frac{1}{2}$"
    ('ab\\nc\\r\\n', True)
    """
    if text.isprintable():
        return text
    text = _EATEN.sub(lambda eaten: _EATEN_LETTERS[eaten[0][0]] + eaten[0][1:], text)
    return _CONTROL_CODE.sub("", _RARE_LINE_END.sub("\n", text))


def invisible_characters(text: str) -> str:
    """Remove characters without width and marks of direction, but joiners that a script or an emoji needs and, in texts
    of a right-to-left script, the marks of direction.

    >>> invisible_characters("wo\\u200brd"), invisible_characters("👩\\u200d🚀") == "👩\\u200d🚀"
    ('word', True)
    """
    if text.isascii() or text.isprintable():
        return text
    pattern = _INVISIBLE_BUT_BIDI if _RIGHT_TO_LEFT.search(text) else _INVISIBLE
    return pattern.sub(r"\1", text)


_LITERAL = re2.compile(r"(?:\\r)?\\n")
_OTHER_LITERAL = re2.compile(r"\\(?:n[a-z\"')\]]|[^nrt]|\z)|[`{}$;=<>]|\b[A-Za-z]:\\|[rt]\\n[a-z]")


def literal_newlines(text: str) -> str:
    r"""Turn two or more literal `\n` into line feeds, where nothing speaks for code, a path or LaTeX.

    A text with a line feed of its own knows how to write one. `\n` before a small letter may be `\nu` or `C:\new`.

    >>> literal_newlines(r"1. Mix.\n2. Bake.\n3. Eat."), literal_newlines(r"C:\notes\new")
    ('1. Mix.\n2. Bake.\n3. Eat.', 'C:\\notes\\new')
    """
    if "\n" in text or text.count("\\n") < 2 or _OTHER_LITERAL.search(text):
        return text
    return _LITERAL.sub("\n", text)


_ESCAPED_END = re2.compile(
    r"""(?:[\p{L}\p{N}.?!:,)。？！：，）]|[.?!]["”])(?:\\n)+(?:[-•*] |["“(]?[A-Z0-9\x{80}-\x{10FFFF}]|["“(]|\s|\z)"""
)
_ENDS = re2.compile(r"(?:\\n)+")


def escaped_line_ends(text: str) -> str:
    r"""Turn literal `\n` into line feeds also beside real ones, where each stands between the end of one line and the
    beginning of the next; elsewhere what `literal_newlines` does.

    >>> escaped_line_ends("Is it?\\n- yes\\n- no\nThink."), escaped_line_ends("Write '\\n' and\n'\\n'.")
    ('Is it?\n- yes\n- no\nThink.', "Write '\\n' and\n'\\n'.")
    """
    if "\\n" not in text or "\n" not in text or _OTHER_LITERAL.search(text):
        return literal_newlines(text)
    runs = _ENDS.findall(text)
    if len(_ESCAPED_END.findall(text)) < len(runs) or sum(map(len, runs)) < 4:
        return text
    return text.replace("\\n", "\n")


_NAMED = (
    "endoftext", "end_of_text", "begin_of_text", "im_start", "im_end", "im_sep", "eot_id", "eom_id", "start_header_id",
    "end_header_id", "end", "user", "assistant", "system", "endofprompt", "pad", "padding",
)  # fmt: skip
LITERAL_MARKERS = (
    *(f"<|{name}|>" for name in _NAMED),
    *("[INST]", "[/INST]", "<<SYS>>", "<</SYS>>"),
    *(f"<{name}>" for name in ("start_of_turn", "end_of_turn", "bos", "eos", "pad", "unk")),
    *(f"<｜{name}｜>" for name in ("end▁of▁sentence", "begin▁of▁sentence", "User", "Assistant")),
)
"""Marks of chat templates in circulation; none of them ends with another."""
TRAILING_MARKERS = (*(f"<|im_start|>{role}" for role in ("system", "user", "assistant")), *LITERAL_MARKERS)
_HEADING = r"###[ \t]*(?:Response|Instruction|Input|Output|Human|Assistant|User|System|回答|指令|输入|输出)[ \t]*[:：]"
_A_HEADING = re2.compile(_HEADING)
_LEADING = re2.compile(
    r"^(?:\s*(?:<\|im_start\|>(?:system|user|assistant)\b|<start_of_turn>(?:user|model)\b|"
    rf"{'|'.join(map(re2.escape, LITERAL_MARKERS))}|{_HEADING}))+ ?\n*"
)
_LEADING_SENTENCE = re2.compile(r"^\s*(?:<s>\s*)+")
_FIRST = "<[#"
COLONS = (":", "：")
_LAST = "".join([">]", *COLONS])
ASCII_SPACE = " \t\n\f\r"


def template_markers(text: str) -> str:
    """Remove chat-template markers from both ends of a text; inside it they are what the text is about.

    `<s>` and `</s>` go only where the other is missing: a pair is HTML.

    >>> template_markers("### Response:\\nYes.<|im_end|></s>")
    'Yes.'
    """
    if text.lstrip()[:1] in _FIRST:
        text = _LEADING.sub("", text)
        text = text if "</s>" in text else _LEADING_SENTENCE.sub("", text)
    if text.rstrip()[-1:] in _LAST or ("<" in text and "<|" in text):  # one character is found sooner than two
        text = text if "<s>" in text else _without_endings(text, _sentence_end)
        text = _without_endings(text, _marker_end)
    return text


def _without_endings(text: str, ending: Callable[[str], int]) -> str:
    """A text without what `ending` finds at its end, over and over, and the white space around that.

    ending: length of what is to go from the end of a text, 0 for nothing.
    """
    kept, trimmed = text, text.rstrip(ASCII_SPACE)
    while size := ending(trimmed):
        kept = trimmed = trimmed[:-size].rstrip(ASCII_SPACE)
    return kept


def _sentence_end(text: str) -> int:
    return 4 if text.endswith("</s>") else 0


def _marker_end(text: str) -> int:
    if text.endswith(TRAILING_MARKERS):
        return next(len(marker) for marker in TRAILING_MARKERS if text.endswith(marker))
    start = text.rfind("###") if text.endswith(COLONS) else -1
    return len(text) - start if start >= 0 and _A_HEADING.fullmatch(text[start:]) else 0


BLANKS = " \t\u00a0\u3000"


def whitespace(text: str) -> str:
    """Remove white space at line ends and blank lines at both ends; three and more line feeds become two.

    >>> whitespace("\\n a  \\n\\n\\n\\nb \\n")
    ' a\\n\\nb'
    """
    blank = len(text) - len(text.lstrip(_OUTER))
    trimmed = text[text.rfind("\n", 0, blank) + 1 :].rstrip(_OUTER)
    if "\n" in trimmed and ("\n\n\n" in trimmed or _has_blank_end(trimmed)):
        return outside_code(trimmed, _inner_whitespace)
    return trimmed


_OUTER = BLANKS + "\n"


def _has_blank_end(text: str) -> bool:
    """Whether a line of a text, but for the last, ends with a blank."""
    return (
        " \n" in text
        or ("\t" in text and "\t\n" in text)
        or (not text.isascii() and ("\u00a0\n" in text or "\u3000\n" in text))
    )


def _inner_whitespace(text: str) -> str:
    if _has_blank_end(text):
        *lines, last = text.split("\n")
        text = "\n".join([*[line.rstrip(BLANKS) for line in lines], last])
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    return text


RULES: dict[str, Callable[[str], str]] = {
    "entities": entities,
    "mojibake": mojibake,
    "unicode": unicode_form,
    "controls": controls,
    "literal_newlines": literal_newlines,
    "template_markers": template_markers,
    "whitespace": whitespace,
}
"""The rules by the names of their settings, in the order they are applied."""
