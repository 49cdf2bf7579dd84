"""Cleaning: each rule changes what it says and nothing else; a clean text stays; the fast path misses nothing."""

from __future__ import annotations

import re
import unicodedata

import ftfy.badness
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from strategies import PROSE, TEXT

from didact.curate.clean import Cleaner, CleanReport, clean_text, clean_texts
from didact.curate.clean_scan import ASK, scan
from didact.curate.pii import PersonalData
from didact.recipe.cleaning import CleanSettings, PiiSettings
from didact.text.clean_rules import LITERAL_MARKERS, RULES, TRAILING_MARKERS, outside_code

ALL = CleanSettings(
    pii=PiiSettings(**dict.fromkeys(PiiSettings.model_fields, "mask")),
    pii_salt="salt",
)
SCRAPS = st.lists(
    st.sampled_from(
        [
            "a",
            "B",
            " ",
            "\n",
            "\n\n\n",
            "\t",
            "\r\n",
            "\\n",
            "\\r\\n",
            "&amp;",
            "&lt;",
            "&#39;",
            "&",
            "amp;",
            "#",
            "96;",
            "`",
            "```",
            "$",
            "$$",
            "<b>",
            "</s>",
            "<s>",
            "<|im_end|>",
            "<|im_start|>",
            "assistant",
            "### Response:",
            "[INST]",
            "Ã©",
            "â€™",
            "é",
            "e\u0301",
            "…",
            "”",
            "\u200b",
            "\u200d",
            "\u200c",
            "👩",
            "ن",
            "\ufeff",
            "\u2028",
            "\u202e",
            "א",
            "中",
            "\u3000",
            "\u00a0",
            ".",
            ":",
            "ann@mail.org",
            "+1 212 555 0198",
            "8.8.8.8",
            "4111 1111 1111 1111",
            "GB82 WEST 1234 5698 7654 32",
            "13812345678",
            "11010519491231002X",
            "hf_" + "a" * 34,
            "-",
            "1",
            "가",
            "ᄀ",
            "ᅡ",
        ]
    ),
    max_size=14,
).map("".join)
"""Texts that touch every rule at once."""


def suspects(texts: pa.StringArray, settings: CleanSettings) -> npt.NDArray[np.bool_]:
    """Which texts the kernel names."""
    return scan(texts, settings).told > 0


def by_rule(name: str, text: str) -> str:
    """A text after one rule alone."""
    return RULES[name](text)


@given(SCRAPS | TEXT)
@example("&amp;#96;x  \n\n\n\n&amp;#96;")
@example("<|im_end|>\u200b</s> ")
def test_cleaning_a_clean_text_changes_nothing(text: str) -> None:
    """Cleaning twice is cleaning once, whatever the text and with every rule on."""
    once = clean_text(text, ALL)
    assert clean_text(once, ALL) == once


PLAIN = st.lists(
    st.sampled_from(
        [*"a: \t\n\r\f\0\7`$<>#&", "\\n", "\\r\\n", "### Response:", "[INST]", "</s>", "<s>", "<|pad|>", "#7;", "amp;"]
    ),
    max_size=14,
).map("".join)
"""ASCII texts, most of them without an entity."""


@given(SCRAPS | TEXT | PLAIN, st.sampled_from([ALL, CleanSettings()]))
@example("\\nA\\nB \n", CleanSettings())
def test_no_rule_is_left_out_that_would_change_the_text(text: str, settings: CleanSettings) -> None:
    """Every rule on and again until a whole round changes nothing gives the same text, by the same rules."""
    expected, told, personal = text, dict[str, None](), dict[str, int]()
    for _ in range(32):
        before = expected
        for name, rule in RULES.items():
            expected, unruled = rule(expected), expected
            if expected != unruled:
                told.setdefault(name)
        expected = PersonalData(settings).replace(expected, personal)
        if expected == before:
            break
    cleaner = Cleaner(settings)
    assert cleaner.clean(text) == expected
    assert cleaner.counts == dict.fromkeys(told, 1) | personal
    assert [change.rules for change in cleaner.changes] == [(*told, *personal)] * (text != expected)


BLANK = "[ \t\u00a0\u3000]"
LINES = st.text(" \t\n\u00a0\u3000`$\\[]ab", max_size=30)


@given(LINES | SCRAPS)
def test_white_space_is_removed_as_patterns_remove_it(text: str) -> None:
    """Blank lines at both ends, blanks at line ends and third line feeds outside code go, nothing else."""
    inner = re.sub(rf"(?:{BLANK}|\n)*\Z", "", re.sub(rf"\A(?:{BLANK}|\n)*\n", "", text))
    expected = outside_code(inner, lambda part: re.sub(r"\n{3,}", "\n\n", re.sub(rf"{BLANK}+\n", "\n", part)))
    assert by_rule("whitespace", text) == expected


@given(st.text(st.characters(max_codepoint=127)))
def test_control_codes_go_as_a_pattern_removes_them(text: str) -> None:
    """Of an ASCII text line ends become line feeds, and control codes but the tab go."""
    lines = re.sub(r"\r\n|[\r\v\f]", "\n", text)
    assert by_rule("controls", text) == re.sub(r"[\0-\x08\x0e-\x1f\x7f]", "", lines)


@given(st.text("abc", max_size=200), st.text("abc", max_size=200), st.sampled_from(["&lt;", " \n", ""]))
def test_a_change_is_cut_around_the_first_difference(kept: str, rest: str, changed: str) -> None:
    """Wherever a text begins to differ, up to its very end, forty characters on either side are told."""
    cleaner = Cleaner(CleanSettings())
    before = kept + changed + rest + " "
    after = cleaner.clean(before)
    (change,) = cleaner.changes
    parts = next((i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), len(after))
    assert change.before == before[max(parts - 40, 0) : parts + 40]
    assert change.after == after[max(parts - 40, 0) : parts + 40]


@given(st.lists(SCRAPS | TEXT | PROSE, min_size=1, max_size=8), st.sampled_from([ALL, CleanSettings()]))
def test_texts_the_kernel_passes_over_are_clean(texts: list[str], settings: CleanSettings) -> None:
    """No text that the kernel does not name is one that a rule would change."""
    named = suspects(pa.array(texts, pa.string()), settings)
    assert [
        text for text, suspect in zip(texts, named, strict=True) if not suspect and clean_text(text, settings) != text
    ] == []


@given(st.sampled_from(list(RULES)), st.lists(SCRAPS | TEXT | PROSE, min_size=1, max_size=8))
def test_the_kernel_knows_which_rules_are_on(name: str, texts: list[str]) -> None:
    """With one rule alone switched on, the kernel still names every text that it changes."""
    settings = CleanSettings(**{rule: rule == name for rule in RULES})
    named = suspects(pa.array(texts, pa.string()), settings)
    assert [
        text for text, suspect in zip(texts, named, strict=True) if not suspect and by_rule(name, text) != text
    ] == []


_ODD = "".join(
    chr(code)
    for code in (
        *range(0xA0, 0x180),
        *range(0x370, 0x460),
        *range(0x2010, 0x2045),
        0x192,
        0x2C6,
        0x20AC,
        0x2122,
        0x2248,
        0x221A,
        0xFFFD,
    )
)


_ENDINGS = re.compile(
    rf"(?:[ \t\n\f\r]*(?:<\|im_start\|>(?:system|user|assistant)|{'|'.join(map(re.escape, LITERAL_MARKERS))}"
    r"|###[ \t]*(?:Response|Input|输入)[ \t]*[:：]))+[ \t\n\f\r]*\Z"
)
_ENDS = st.sampled_from([*LITERAL_MARKERS, "<|im_start|>user", "###  Response :", "### 输入：", "### Why:", *" \n\va>"])


@given(st.lists(_ENDS, max_size=6).map("".join))
def test_markers_go_from_the_end_as_one_pattern_says(ending: str) -> None:
    """What is taken from the end piece by piece is the longest run of markers and white space there."""
    text = f"Ask. {ending}"
    assert RULES["template_markers"](text) == _ENDINGS.sub("", text)


@given(st.text(_ODD + "aZ .", max_size=8))
def test_mojibake_is_looked_for_wherever_ftfy_may_see_it(text: str) -> None:
    """Texts that ftfy's heuristics call bad are always handed to ftfy, so nothing is decided but by ftfy."""
    assert by_rule("mojibake", text) == ftfy.fix_encoding(text)
    if ftfy.badness.is_bad(text):
        assert suspects(pa.array([text]), CleanSettings(whitespace=False, template_markers=False))[0]


def test_every_code_point_that_composition_may_touch_is_named() -> None:
    """Each character that is not its own NFC, or that NFC joins to the one before, makes its text a suspect."""
    settings = CleanSettings(**{rule: rule == "unicode" for rule in RULES})
    every = [chr(code) for code in range(0x30000) if not 0xD800 <= code < 0xE000]
    joined = [parts for c in every if len(parts := unicodedata.normalize("NFD", c)) > 1]
    texts = [c for c in (*every, *joined) if not unicodedata.is_normalized("NFC", c)]
    assert len(texts) > 10_000
    assert suspects(pa.array(texts, pa.string()), settings).all()


def test_ordinary_texts_are_passed_over() -> None:
    """Plain English, Chinese, French and code do not leave the fast path."""
    texts = [
        "A line.\nAnother, with 100 % of it.",
        "“你好”，他说：“再见……”——完。",
        "Déjà vu à l'école, n'est-ce pas?",
        "def f(x):\n    return x",
    ]
    assert not suspects(pa.array(texts), CleanSettings()).any()


CASES = [
    ("entities", "R&amp;B &lt;3 &#39;x&#39; &amp;lt;", "R&B <3 'x' &lt;"),
    ("entities", "`&lt;` is `<`, and $a &lt; b$", "`&lt;` is `<`, and $a &lt; b$"),
    ("entities", "```html\n&lt;p&gt;\n```\n&lt;", "```html\n&lt;p&gt;\n```\n<"),
    ("entities", "<p>R&amp;B</p>", "<p>R&amp;B</p>"),
    ("entities", "?a=1&copy=2 &unknown; &notit;", "?a=1&copy=2 &unknown; &notit;"),
    ("mojibake", "crÃ¨me brÃ»lÃ©e, itâ€™s", "crème brûlée, it’s"),
    ("unicode", "cafe\u0301 ½ ｆｕｌｌ", "café ½ ｆｕｌｌ"),
    ("controls", "a\u200bb\ufeffc\x00d\u00ade", "abcde"),
    ("controls", "a\r\nb\rc\u2028d\x0ce", "a\nb\nc\nd\ne"),
    (
        "controls",
        "👩\u200d👧 می\u200cخواهم क्\u200dष 🏴\U000e0067\U000e007f",
        "👩\u200d👧 می\u200cخواهم क्\u200dष 🏴\U000e0067\U000e007f",
    ),
    ("controls", "a\u200db x\U000e0041\U000e0042 abc\u202edef", "ab x abcdef"),
    ("controls", "שלום\u200f!", "שלום\u200f!"),
    ("literal_newlines", r"1. Mix.\n2. Bake.\n\n3. Eat.", "1. Mix.\n2. Bake.\n\n3. Eat."),
    ("literal_newlines", r"第一步。\n第二步。\n", "第一步。\n第二步。\n"),
    ("literal_newlines", r"only one\n2", r"only one\n2"),
    ("literal_newlines", r"\nabla x \n Y", r"\nabla x \n Y"),
    ("literal_newlines", r'print("A\nB\n")', r'print("A\nB\n")'),
    ("literal_newlines", r"C:\New\Nice", r"C:\New\Nice"),
    ("literal_newlines", "real\nA\\nB\\nC", "real\nA\\nB\\nC"),
    ("template_markers", "Yes.<|im_end|>\n<|endoftext|>", "Yes."),
    ("template_markers", "### Response:\n    x = 1</s>", "    x = 1"),
    ("template_markers", "Sort it.\n\n### Response:", "Sort it."),
    ("template_markers", "[INST] Hi [/INST]", "Hi"),
    ("template_markers", "Hello<|im_end|>\n<|im_start|>assistant", "Hello"),
    ("template_markers", "What does <|im_end|> mean?", "What does <|im_end|> mean?"),
    ("template_markers", "<s>struck</s>", "<s>struck</s>"),
    ("whitespace", "a\n\n\nb", "a\n\nb"),
    ("whitespace", "\n \n  a  \n\n\n\nb\t\n c \n", "  a\n\nb\n c"),
    ("whitespace", "```py\nx = 1  \n\n\n\ny\n```  \n", "```py\nx = 1  \n\n\n\ny\n```"),
    ("whitespace", "　　段落。　\n第二段", "　　段落。\n第二段"),
]


@pytest.mark.parametrize(("rule", "before", "after"), CASES)
def test_what_each_rule_does(rule: str, before: str, after: str) -> None:
    """A rule alone turns this text into that one, and code, formulas, tags and paths stay as they are."""
    assert by_rule(rule, before) == after


@pytest.mark.parametrize(("rule", "before"), [(rule, before) for rule, before, after in CASES if before != after])
def test_the_kernel_names_each_case(rule: str, before: str) -> None:
    """Each text above that a rule changes is named with that rule alone switched on."""
    settings = CleanSettings(**{name: name == rule for name in RULES})
    assert suspects(pa.array([before]), settings).all()


def test_rules_that_are_off_change_nothing() -> None:
    """With every rule off a text is returned as it is."""
    off = CleanSettings(**dict.fromkeys(RULES, False))
    text = "\n&amp; Ã© e\u0301 \u200b\\nA\\nB<|im_end|> "
    assert clean_text(text, off) == text


def test_nothing_is_copied_when_nothing_changes() -> None:
    """An array of clean texts comes back as the very same array."""
    texts = pa.array(["a", "", "中文。"] * 200)
    cleaned, report, changed = clean_texts(texts, CleanSettings())
    assert cleaned is texts
    assert not changed.any()
    assert report == CleanReport(texts=600)


@given(st.lists(SCRAPS | TEXT, max_size=8), st.integers(0, 3))
def test_arrays_are_cleaned_text_by_text(texts: list[str], start: int) -> None:
    """An array, sliced or not, short or long enough for the kernel, gives what each text gives alone."""
    padded = ["plain"] * 300 + texts
    array = pa.array(padded, pa.string()).slice(start)
    cleaned, report, changed = clean_texts(array, ALL)
    assert cleaned.to_pylist() == [clean_text(text, ALL) for text in padded[start:]]
    assert (
        report.changed == changed.sum() == sum(a != b for a, b in zip(padded[start:], cleaned.to_pylist(), strict=True))
    )


_ENDED = st.lists(
    st.sampled_from(
        [
            *TRAILING_MARKERS,
            *["<s>", "</s>", "### Response:", "###", ":", "：", "[INST", "<", "#"],
            *[" ", "\n", "\t", "\r", "\v", "\f", "\u00a0", "\u3000", "\u2003", "\n\n\n", " \n", "\u3000\n", "\u200b"],
            *["a", "é", "中", "👩", "x" * 39, "é" * 40, "中" * 41, "👩" * 39, "```", "`a`", "$", "\\", "\\n", "1"],
            *["&lt;", "Ã©", "ann@mail.org"],
        ]
    ),
    max_size=10,
).map("".join)
"""Texts with markers and white space at their ends and inside."""
_SETTINGS = st.builds(
    CleanSettings,
    pii=st.sampled_from([ALL.pii, PiiSettings(), PiiSettings(email="drop", key="mask")]),
    pii_salt=st.just("salt"),
    **{name: st.sampled_from([True, True, False]) for name in RULES},
)


def check_against_rules(texts: list[str], settings: CleanSettings) -> None:
    """Cleaning an array gives what the rules give of each text, and reports the same."""
    # Of each rule the first five texts go through the rules for the examples.
    given = ["plain"] * 300 + ["a "] * 5 + ["a<|pad|>"] * 5 + texts
    cleaner = Cleaner(settings)
    expected = [cleaner.clean(text) for text in given]
    cleaned, report, changed = clean_texts(pa.array(given, pa.string()), settings)
    assert cleaned.to_pylist() == expected
    assert changed.tolist() == [before != after for before, after in zip(given, expected, strict=True)]
    assert (report.counts, report.examples, report.changed) == (cleaner.counts, cleaner.examples, changed.sum())
    assert report.changes.to_pylist() == [
        {"rules": list(change.rules), "before": change.before, "after": change.after} for change in cleaner.changes
    ]
    cleaned.validate(full=True)
    report.changes.validate(full=True)


@given(st.lists(_ENDED | SCRAPS | TEXT | PROSE | LINES, max_size=20), _SETTINGS)
@example(["a</s> \n</s><|im_end|>", "a<|im_end|>\u00a0", "\u00a0\n<s>a", "###Input:\u3000"], CleanSettings())
@example(["a\n\n \n b", "é\n\n\n\u00a0\u3000\n\t中", "  \n\n  a \n\n\n"], CleanSettings())
@example(["A\\nB\\nC\n", "a" * 50 + "\n\n\u3000\n、" + "b" * 50, "a \n</s>"], CleanSettings())
@example(["a[INST]\u3000\n\f"], CleanSettings(controls=False))
def test_what_the_kernels_write_is_what_the_rules_give(texts: list[str], settings: CleanSettings) -> None:
    """Whichever rules are on, texts, counts, examples and changes are those of the rules applied text by text."""
    check_against_rules(texts, settings)


@pytest.mark.parametrize("blank", ["", " ", "\n", " \n", "\u00a0", "\u3000\n", "\r\f"])
def test_every_pair_of_markers_goes_as_the_rules_say(blank: str) -> None:
    """Two of any markers, next to each other or not, alone or after a text, whatever white space is around them."""
    markers = (*TRAILING_MARKERS, "<s>", "</s>", "### Output:", "###")
    pairs = [f"{one}{blank}{other}" for one in markers for other in markers]
    texts = [f"{lead}{pair}{end}" for pair in pairs for lead in ("", blank, "中 ") for end in ("", blank)]
    check_against_rules(texts, CleanSettings(controls=False))


def test_the_kernels_know_ends_and_line_ends() -> None:
    """Markers and white space at the ends and at line ends are not left to the rules, code and pairs of tags are."""
    known = ["a \n", "\n\n a", "a</s>\n", "a: b<|endoftext|>", "a  \n\n\n\nb", "For $1.\n", "[1, 2] ", "# a ", " "]
    unknown = ["`a` \nb", "<s>a</s>", "<s>a", "### Response: a", "a\n### Response:", "a</s><|im_end|>", "a &amp; b "]
    scanned = scan(pa.array([*known, "\n \n"]), CleanSettings())
    assert (scanned.told > ASK).all()
    assert (scanned.begins <= scanned.stops).all()
    assert (scan(pa.array(unknown), CleanSettings()).told == ASK).all()


def test_the_report_counts_texts_by_rule_and_adds_up() -> None:
    """Each rule counts the texts it changed, keeps five examples, and chunks add up in order."""
    chunks = [clean_texts(pa.array([f"{i} &amp; {c} " for i in range(4)]), CleanSettings())[1] for c in "ab"]
    total = CleanReport.of(chunks)
    assert total.counts == {"entities": 8, "whitespace": 8}
    assert (total.texts, total.changed) == (8, 8)
    assert [example.before for example in total.examples["entities"]] == [
        "0 &amp; a ",
        "1 &amp; a ",
        "2 &amp; a ",
        "3 &amp; a ",
        "0 &amp; b ",
    ]
    assert chunks[0].counts["entities"] == 4


def test_examples_are_cut_around_the_change_and_hide_personal_data() -> None:
    """An example shows the change with little around it, and no value that the settings replace."""
    text = "x" * 200 + " ann@mail.org &amp; " + "y" * 200
    _, report, _ = clean_texts(pa.array([text]), CleanSettings(pii=PiiSettings(email="mask")))
    (shown,) = report.examples["entities"]
    assert "&amp;" in shown.before
    assert "[EMAIL]" in shown.before
    assert "ann@mail.org" not in shown.before + shown.after
    assert len(shown.before) <= 80


def test_long_texts_take_time_in_proportion() -> None:
    """A megabyte of what each pattern might stumble over is cleaned; none of them backtracks."""
    for scrap in ("<|", "&am", "`a", "$ ", "\\n ", "a@", "1 ", "\n ", " \n", ":a", "### "):
        text = scrap * 20_000
        assert len(clean_text(text, ALL)) <= len(text)
