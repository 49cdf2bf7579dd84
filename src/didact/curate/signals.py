"""Signals: numbers measured on records, by name. Code measures, the recipe's filters decide.

Most names are a view and a quantity, such as `response.words`: views are prompt, response and whole (see
`didact.text.views`). Shares are float32 ratios of integers, 0 where there is nothing to share; the rest is int64. A
user's own signal is a plain function of a record's texts under a name (`signal`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from didact.errors import CallError, DataError, UnknownName
from didact.plugins import Plugin, may_replace, registering
from didact.text.views import Segments, ViewName

if TYPE_CHECKING:
    from didact.curate.signal_kernels import Count

Values = npt.NDArray[np.int64] | npt.NDArray[np.float32]


class SignalText(NamedTuple):
    """One text of a record, as a user's signal sees it."""

    field: str
    role: str
    text: str


Function = Callable[[Sequence[SignalText]], float]


@dataclass(frozen=True, slots=True)
class Signal:
    """What a signal is called, in which unit it counts and what it tells."""

    name: str
    unit: str
    description: str
    function: Function | None = None
    """A user's own measure; built-in signals are measured by kernels."""
    plugin: Plugin | None = None
    """The file that the measure stands in, when a recipe named it."""


_COUNTED = {
    "bytes": ("bytes", "length in UTF-8"),
    "chars": ("characters", "length in code points"),
    "words": ("words", "runs of letters, marks and digits, and each character of a script written without spaces"),
    "lines": ("lines", "lines with a visible character"),
    "longest_run": ("characters", "longest run of one visible character"),
    "stop_words": ("words", "how many of the, be, to, of, and, that, have, with occur (0 to 8)"),
}
_SHARED = {
    "alpha_share": ("LETTERS", "CHARS", "letters among the characters"),
    "digit_share": ("DIGITS", "CHARS", "digits and other numbers among the characters"),
    "cjk_share": ("UNSPACED", "CHARS", "Han, kana, Thai, Lao, Khmer and Burmese among the characters"),
    "whitespace_share": ("SPACES", "CHARS", "white space among the characters"),
    "upper_share": ("UPPER", "LETTERS", "upper-case among the letters"),
    "symbol_share": ("SYMBOLS", "CHARS", "punctuation and symbols among the characters"),
    "distinct_word_share": ("DISTINCT_WORDS", "WORDS", "distinct among the words"),
    "letter_word_share": ("LETTER_WORDS", "WORDS", "words with a letter among the words"),
    "mean_word_length": ("WORD_CHARS", "WORDS", "characters of a word, on average"),
    "duplicate_line_share": ("REPEATED_LINES", "LINES", "lines that repeat an earlier one among the lines"),
    "duplicate_line_char_share": (
        "REPEATED_LINE_CHARS",
        "LINE_CHARS",
        "characters in repeated lines among those in lines",
    ),
    "short_line_share": ("SHORT_LINES", "LINES", "lines of at most 30 characters among the lines"),
    "ended_line_share": (
        "ENDED_LINES",
        "LINES",
        "lines that end with an end mark, quote or closing bracket among the lines",
    ),
    "ellipsis_line_share": ("ELLIPSIS_LINES", "LINES", "lines that end in an ellipsis among the lines"),
    "bullet_line_share": ("BULLET_LINES", "LINES", "lines that begin as a list item among the lines"),
    "lines_per_word": ("LINES", "WORDS", "lines for each word"),
}

REFUSALS = (
    "as an ai language model",
    "as an ai model",
    "as an ai assistant",
    "as an ai,",
    "as an ai i ",
    "as a language model",
    "as a large language model",
    "i'm just an ai",
    "i am just an ai",
    "i'm only an ai",
    "i'm an ai and",
    "i am an ai and",
    "作为一个人工智能",
    "作为人工智能",
    "作为一个ai",
    "作为ai",
    "作为一个语言模型",
    "作为语言模型",
    "作为一个大型语言模型",
)
"""Phrases that mark a refusal anywhere in the first 200 characters of an answer; lower-case, straight apostrophes."""
REFUSED_SERVICES = (
    r"access|answer|assist|browse|complete|comply|create|describe|display|draw|fulfill?|generate|help|identify|listen|open|"
    r"perform|play|process|produce|provide|recommend|render|respond|search|see|show|translate|view|visit"
)
REFUSED_SERVICES_ZH = (
    "生成|创建|创作|提供|回答|访问|播放|演奏|用键盘|绘制|画|显示|展示|查看|浏览|打开|执行|完成|协助|帮助|处理|设计|直接"
)
"""What an assistant says it cannot do. Only with one of these is `sorry, I cannot` at the start of an answer a refusal:
`I am not able to come` is the reworded sentence, the excuse or the letter that was asked for.
"""
_SORRY = r"(?:(?:i'm|i am) (?:very |so )?sorry,? |sorry,? |unfortunately,? )?(?:but )?(?:as an? [a-z ]{2,30}, )?"
_UNABLE = r"(?:i can't|i can ?not|i'm unable to|i am unable to|i'm not able to|i am not able to)"
_OPENING = rf"^\s*{_SORRY}{_UNABLE} (?:\w+ly )?(?:{REFUSED_SERVICES})\b"
_OPENING_ZH = rf"^\s*(?:很?抱歉|对不起)?[,，]?我(?:无法|不能|没法|没办法)[^。.,，]{{0,6}}?(?:{REFUSED_SERVICES_ZH})"
_REFUSAL_REACH = 200
_REFUSAL = "|".join([*map(re.escape, REFUSALS), _OPENING, _OPENING_ZH])

PLACEHOLDERS = frozenset({
    "noinput", "no input", "nooutput", "no output", "n/a", "undefined", "todo", "tbd", "placeholder", "lorem ipsum",
    "无输入", "无输出", "暂无", "不适用",
})  # fmt: skip
"""Answers that stand for no answer, lower-case, without white space, brackets, dots and dashes at their ends."""
MARKED_PLACEHOLDERS = frozenset(("", "none", "na", "null", "nil", "nan", "无", "空"))
"""Answers that stand for no answer only in brackets or as nothing but dots and dashes: `None` may be the right answer,
`Na` is sodium, and a row of dots and dashes may be Morse code."""
_MARK = r"^\s*(?:[<\[({（【《].*[>\])}）】》]|[-.…—–_*]{1,3})\s*$"
_PLACEHOLDER_BYTES = 3 * max(len(word.encode()) for word in PLACEHOLDERS | MARKED_PLACEHOLDERS)
"""A longer text is no placeholder, trimmed and in whatever case: of the characters whose lower case is ASCII, the
longest has three bytes (U+212A, the sign of kelvin)."""
_PLACEHOLDER_TRIM = " \t\r\n<>[](){}（）【】《》.。…-—–_*'\"`"

_SPECIAL = {
    "response.echo": (
        "share",
        "shingles of 3 words of the response that occur in the prompt among the response's; 1 for a copy of the prompt "
        "or of a part of it, as an extracted answer is",
    ),
    "response.unclosed_fence": ("0 or 1", "whether a code block opened with ``` is not closed"),
    "response.unended": (
        "0 or 1",
        "whether the last visible character is a letter, a digit or a mark that announces more; short answers, code "
        "and list items end so too",
    ),
    "response.refusal": (
        "0 or 1",
        f"whether the first {_REFUSAL_REACH} characters hold a phrase of refusal ({'; '.join(REFUSALS)}) or the answer "
        "begins by saying that it cannot do a service (`sorry, I can't generate ...`)",
    ),
    "response.placeholder": (
        "0 or 1",
        "whether every text of the response is empty or stands for no answer: "
        + "; ".join(sorted(PLACEHOLDERS - {""})),
    ),
}

_VIEWS: tuple[ViewName, ...] = ("prompt", "response", "whole")


def _built_in() -> dict[str, Signal]:
    found = {}
    for view in _VIEWS:
        for name, (unit, description) in _COUNTED.items():
            found[f"{view}.{name}"] = Signal(f"{view}.{name}", unit, f"{view}: {description}")
        for name, (part, whole, description) in _SHARED.items():
            unit = f"{part.lower()} / {whole.lower()}".replace("_", " ")
            found[f"{view}.{name}"] = Signal(f"{view}.{name}", unit, f"{view}: {description}")
    return found | {name: Signal(name, unit, description) for name, (unit, description) in _SPECIAL.items()}


SIGNALS: dict[str, Signal] = _built_in()
"""Every signal by name."""


def signal(name: str, unit: str, description: str) -> Callable[[Function], Function]:
    """Register a function of a record's texts as a signal. Raises CallError when the name is taken.

    >>> @signal("example.questions", "characters", "question marks the user wrote")
    ... def questions(texts: Sequence[SignalText]) -> float:
    ...     return sum(text.text.count("?") for text in texts if text.role == "user")
    >>> SIGNALS.pop("example.questions").unit
    'characters'
    """

    def register(function: Function) -> Function:
        if name in SIGNALS and not may_replace(SIGNALS[name].plugin):
            raise CallError(f"signal '{name}' is registered already; give yours another name")
        SIGNALS[name] = Signal(name, unit, description, function, registering(name))
        return function

    return register


def lookup(name: str, where: str = "") -> Signal:
    """The signal of a name. Raises UnknownName."""
    if name not in SIGNALS:
        raise UnknownName("signal", name, SIGNALS, where)
    return SIGNALS[name]


def measure(segments: Segments, names: Iterable[str]) -> dict[str, Values]:
    """The named signals of every record, one value each; every view is walked once, whatever the number of names.

    Raises UnknownName for a name that is not registered, DataError when a user's signal returns no finite number.
    """
    wanted = [lookup(name) for name in dict.fromkeys(names)]
    counts: dict[str, npt.NDArray[np.int64]] = {}
    return {signal.name: _value(segments, signal, counts) for signal in wanted}


def _value(segments: Segments, signal: Signal, counts: dict[str, npt.NDArray[np.int64]]) -> Values:
    if signal.function is not None:
        return _by_function(segments, signal)
    view, _, quantity = signal.name.partition(".")
    measured = _SPECIAL_MEASURES.get(signal.name)
    if measured is not None:
        return measured(segments)
    from didact.curate import signal_kernels

    if view not in counts:
        counts[view] = signal_kernels.measure(segments.view(cast("ViewName", view)))
    return _quantity(counts[view], quantity, signal_kernels.Count)


def _quantity(counts: npt.NDArray[np.int64], quantity: str, columns: type[Count]) -> Values:
    from didact.curate.signal_kernels import unended

    if quantity == "unended":
        return unended(counts[:, columns.LAST])
    if quantity == "unclosed_fence":
        return counts[:, columns.FENCES] % 2
    if quantity in _COUNTED:
        return counts[:, columns[quantity.upper()]]
    part, whole, _ = _SHARED[quantity]
    return share(counts[:, columns[part]], counts[:, columns[whole]])


def share(part: npt.NDArray[np.int64], whole: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Part / whole as float32, 0 where whole is 0."""
    return np.where(whole > 0, part / np.maximum(whole, 1), 0.0).astype(np.float32)


def _by_function(segments: Segments, signal: Signal) -> npt.NDArray[np.float32]:
    names, roles = segments.field_names, segments.role_names
    rows = zip(segments.fields.tolist(), segments.roles.tolist(), segments.texts.to_pylist(), strict=True)
    texts = [SignalText(names[field], roles[role], text) for field, role, text in rows]
    function = cast("Function", signal.function)
    values = np.array(
        [function(texts[start:end]) for start, end in pairwise(segments.record_offsets.tolist())], dtype=np.float32
    )
    if not np.isfinite(values).all():
        record = int(np.flatnonzero(~np.isfinite(values))[0])
        raise DataError(
            f"signal '{signal.name}' gave {values[record]} for record {record} of the chunk; a signal is a finite"
            " number"
        )
    return values


def _echo(segments: Segments) -> npt.NDArray[np.float32]:
    from didact.curate.minhash import overlaps
    from didact.text.tokens import shingles

    hashes, offsets = shingles(segments.view("response"), 3)
    prompt_hashes, prompt_offsets = shingles(segments.view("prompt"), 3)
    rows = np.arange(len(segments), dtype=np.int64)
    shared = overlaps(hashes, offsets, prompt_hashes, prompt_offsets, np.stack([rows, rows], axis=1))
    return share(shared[:, 0], np.diff(offsets))


def _refusal(segments: Segments) -> npt.NDArray[np.int64]:
    records, texts = _response_texts(segments)
    openings = pc.utf8_slice_codeunits(texts, 0, _REFUSAL_REACH)
    straight = pc.utf8_lower(pc.replace_substring(openings, "’", "'"))
    refused = pc.match_substring_regex(straight, _REFUSAL).to_numpy(zero_copy_only=False)
    return (np.bincount(records[refused], minlength=len(segments)) > 0).astype(np.int64)


def _placeholder(segments: Segments) -> npt.NDArray[np.int64]:
    records, texts = _response_texts(segments)
    bare = pc.utf8_trim(texts, _PLACEHOLDER_TRIM)
    short = np.flatnonzero(pc.less_equal(pc.binary_length(bare), _PLACEHOLDER_BYTES).to_numpy(zero_copy_only=False))
    empty = np.zeros(len(texts), np.bool_)
    empty[short] = _are_placeholders(texts.take(pa.array(short)), pc.utf8_lower(bare.take(pa.array(short))))
    there, real = (np.bincount(chosen, minlength=len(segments)) for chosen in (records, records[~empty]))
    return ((there > 0) & (real == 0)).astype(np.int64)


def _are_placeholders(texts: pa.StringArray, bare: pa.StringArray) -> npt.NDArray[np.bool_]:
    """Which texts stand for no answer. bare: the same in lower case, without what is trimmed."""
    named, marked = (
        pc.is_in(bare, value_set=pa.array(sorted(words), pa.string())) for words in (PLACEHOLDERS, MARKED_PLACEHOLDERS)
    )
    nothing = pc.equal(pc.binary_length(pc.utf8_trim_whitespace(texts)), 0)
    marked = pc.and_(marked, pc.or_(nothing, pc.match_substring_regex(texts, _MARK)))
    found: npt.NDArray[np.bool_] = pc.or_(named, marked).to_numpy(zero_copy_only=False)
    return found


def _response_texts(segments: Segments) -> tuple[npt.NDArray[np.int64], Any]:
    """The texts of the response view, and the record each belongs to."""
    chosen = np.flatnonzero(segments.view("response").mask)
    owners = np.repeat(np.arange(len(segments)), np.diff(segments.record_offsets))
    return owners[chosen], segments.texts.take(pa.array(chosen))


_SPECIAL_MEASURES: dict[str, Callable[[Segments], Values]] = {
    "response.echo": _echo,
    "response.refusal": _refusal,
    "response.placeholder": _placeholder,
}
