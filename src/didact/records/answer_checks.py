"""What is wrong with answers: texts that a model would learn to write."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

import re2

from didact.records.base import Text
from didact.records.doubts import ANOTHER, IDENTITY, SHAPE, TAGS
from didact.records.findings import Problem
from didact.records.text_checks import quoted
from didact.text.clean_rules import without_code

_WIDE = "⺀"
"""Characters from here on say as much as three or four letters."""

_MARKS = b"<[&\\{AGIPT:#"
_UNREMARKABLE = bytes({*range(32, 127), *range(128, 256), *b"\t\n\r"} - {*_MARKS})
_MERGED = re2.compile(r"(?m)^[ \t]*(?:(?:#{1,4} ?)?\d{1,3} ?[.)、] ?|#{2,4} ?)(?:Instruction|指令|指示) ?[:：]")

_OTHER_MAKERS = "OpenAI|Open AI|Anthropic|Google|Meta AI|DeepMind|Microsoft|LAION|LMSYS|Mistral AI|Alibaba|DeepSeek"
_MADE = "trained|developed|created|made|built|designed"
_KINDS = r"AI|artificial intelligence|large language model|(?:AI )?language model"
_TRADES = (
    "engineer|researcher|expert|developer|specialist|ethicist|consultant|company|student|lab|startup|product|scientist"
)
_IDENTITY = re2.compile(
    rf"(?i)(?:^|[.!?,;:\"\n(—-]\s*|\b(?:but|and|because|since|however|that) )as an? (?:{_KINDS})\b"
    rf"(?: (?:language|assistant|model|chatbot|system|text|program|bot)[a-z ]{{0,30}})?, (?:I\b|my\b)"
    rf"|\b(?:I am|I'm|I’m)(?: just| only| actually)? an? (?:{_KINDS})\b(?:$|[^-\w])"
    rf"|\b(?:I am|I'm|I’m|my name is) (?:ChatGPT|GPT-?[345]\b|Claude\b(?: ?,|\.)|Bard\b(?: ?,|\.))"
    rf"|\bI (?:was|am|have been|'ve been)(?: \w+)? (?:{_MADE}) by (?:{_OTHER_MAKERS})\b"
    r"|\bmy (?:knowledge|training)(?: data)? (?:cut-?off|was last updated)"
    r"|\bas of my (?:last|latest|most recent|current) (?:knowledge |training )?(?:cut-?off|update|data|training)"
)
_OF_A_TRADE = re2.compile(rf"(?i)^[^a-z]*(?:{_TRADES})\b")
_IDENTITY_ZH = re2.compile(
    r"作为(?:一|一个|一款|一名|一种|一位)?(?:大型|基于)?(?:AI|人工智能|大?语言模型)[^。，,\n]{0,20}[，,]\s?我"
    r"|我(?:只)?是(?:一个|一款|一名|一种|由|个)?[^。，,\n]{0,12}"
    r"(?:(?:AI|人工智能) ?(?:语言)?(?:模型|助手|助理)|语言模型|聊天机器人)"
    r"|我的(?:知识|训练数据)[^。\n]{0,8}(?:截止|截至|仅限)"
)
_SELF_ZH = ("人工智能", "语言模型", "聊天机器人", "我的知识", "我的训练")

_REASONING = re2.compile(
    r"<(/?)(think|thinking|thought|reasoning|reflection)>|<\|(begin|end)_of_(thought|solution)\|>|(◁/?)(think)▷"
)

_LONG = 200
"""Characters below which an answer that ends without a mark may be a name, a line of a list, a heading."""
_SENTENCE_END = re.compile(r"[.!?…][\"')\]”’*_]*\s")
OPEN_WORDS = frozenset({
    "a", "an", "the", "my", "your", "his", "its", "our", "their", "of", "to", "in", "at", "by", "from", "with", "into",
    "onto", "between", "through", "during", "against", "towards", "upon", "as", "than", "and", "or", "but", "nor",
    "because", "although", "whereas", "unless", "which", "who", "whose", "is", "are", "was", "were", "been", "be",
})  # fmt: skip
"""Words that no sentence ends with, or hardly one."""
_OPEN_LETTERS = frozenset(word[-1] for word in OPEN_WORDS)
OPEN_MARKS = ",、，"
_NOT_PROSE = frozenset("{}=<>|#`\\_")

LOOP_REACH = 600
"""Longest unit of a loop that is looked for."""
LOOP_NEEDLE = 24
LOOP_LEAST = 120
LOOP_ROUNDS = 5

_ECHO_LEAST = 20
ECHO_LEAST = 8
"""Characters below which an answer is no echo; Chinese ones from here on."""

Search = tuple[str, Callable[[str], str]]
"""A code, and the search for it: from an answer to what is said of the problem, or an empty text."""


def answer_problems(texts: Sequence[Text], doubts: int) -> list[Problem]:
    """Problems of the answers among a record's texts, as far as there are doubts; a preference's rejected candidates
    may be as bad as they are.
    """
    searches = _searches_worth(texts, doubts)
    found: list[Problem] = []
    asked: list[str] = []
    for field, role, text in texts:
        if role == "assistant":
            if field[0] == "c" and field.startswith("candidates/") and not field.startswith("candidates/0/"):
                continue
            answer = text.strip()
            if doubts & SHAPE and (size := len(answer)) >= ECHO_LEAST and (problem := _shape(answer, size, asked)):
                found.append((problem[0], f"/{field}", problem[1]))
            for code, search in searches:
                if said := search(text):
                    found.append((code, f"/{field}", said))
        elif role == "user" and not (field[0] == "c" and field.startswith("choices/")):
            asked.append(text.strip())
    return found


def _searches_worth(texts: Sequence[Text], doubts: int) -> list[Search]:
    """The searches that a record's texts may answer, as far as there are doubts."""
    if not doubts & (ANOTHER | IDENTITY | TAGS):
        return []
    whole = " ".join([text.text for text in texts])
    found: list[Search] = []
    if doubts & ANOTHER and _has_heading(whole):
        found.append(("CO004", _merged))
    if doubts & IDENTITY and (
        "AI" in whole or "GPT" in whole or ("我" in whole and any(map(whole.__contains__, _SELF_ZH)))
    ):
        found.append(("CO008", _identity))
    if doubts & TAGS:
        found.append(("CO009", _tags))
    return found


def _has_heading(whole: str) -> bool:
    """Whether a heading of an example may stand in a text: a colon follows its word, or the word a number sign, where
    no other mark stands between.
    """
    if "指" in whole:
        return True
    left = whole.encode(errors="surrogatepass").translate(None, _UNREMARKABLE) if "Instruction" in whole else b""
    return b"I:" in left or b"#I" in left


def _shape(answer: str, size: int, asked: Sequence[str]) -> tuple[str, str] | None:
    """Problems that need no phrase: echo, loop, end."""
    if answer in asked:
        if size >= _ECHO_LEAST or answer[0] >= _WIDE:
            return "CO005", "the answer is what was given to it, word for word"
    elif size >= LOOP_LEAST:
        if period := _loop(answer, size):
            return "CO007", f"the answer ends in a loop of {period} characters: '{quoted(answer, size - 25)}'"
        if size >= _LONG and (answer[-1].isalpha() or answer[-1] in OPEN_MARKS) and _cut_off(answer):
            return "CO006", f"the answer ends inside a sentence: '{quoted(answer, size - 25)}'"
    return None


def _loop(answer: str, size: int) -> int:
    """Length of the unit that fills the end of a text five times or more and 120 characters or more; 0 when none does.

    A unit without a letter is a line of a table or a drawing.
    """
    reach = min(size // LOOP_ROUNDS, LOOP_REACH) + LOOP_NEEDLE
    before = answer.rfind(answer[-LOOP_NEEDLE:], max(size - reach, 0), size - 1)
    if before < 0:
        return 0
    period = size - LOOP_NEEDLE - before
    least = max(LOOP_LEAST, LOOP_ROUNDS * period)
    if least > size or answer[-least:-period] != answer[size + period - least :]:
        return 0
    return period if any(character.isalpha() for character in answer[-period:]) else 0


def _cut_off(answer: str) -> bool:
    """Whether the last line is prose of several sentences whose last one stops at a comma or at a word such as `the`.

    An answer that only lacks its last full stop is none, nor are tags, addresses, signatures and items of a list.
    """
    line = answer[answer.rfind("\n") + 1 :]
    if answer[-1] in "、，":
        return "。" in line
    if len(_SENTENCE_END.findall(line)) < 2 or not _NOT_PROSE.isdisjoint(line):
        return False
    return line.rpartition(" ")[2] in OPEN_WORDS or (answer[-1] == "," and answer[-2].isalpha())


def odd_endings(answers: Sequence[str], places: Iterable[int]) -> list[int]:
    """Those places at which an answer of `LOOP_LEAST` characters or more, without outer white space, may end in a loop
    or inside a sentence.
    """
    found: list[int] = []
    for place in places:
        answer = answers[place]
        size = len(answer)
        longest = size // LOOP_ROUNDS if size < LOOP_ROUNDS * LOOP_REACH else LOOP_REACH
        if (
            answer.rfind(answer[-LOOP_NEEDLE:], size - longest - LOOP_NEEDLE, size - 1) >= 0
            or (last := answer[-1]) in OPEN_MARKS
            or (last in _OPEN_LETTERS and answer[answer.rfind(" ") + 1 :] in OPEN_WORDS)
        ):
            found.append(place)
    return found


def _merged(answer: str) -> str:
    found = _MERGED.search(answer)
    if found is None or found.start() == 0:
        return ""
    return f"another example begins at character {found.start()}: '{found[0].strip()}'"


def _identity(answer: str) -> str:
    found = _IDENTITY.search(answer) or (None if answer.isascii() else _IDENTITY_ZH.search(answer))
    if found is None or _OF_A_TRADE.search(answer[found.end() : found.end() + 20]):
        return ""
    return f"'{' '.join(found[0].split())}' at character {found.start()}"


def _tags(answer: str) -> str:
    """The first reasoning tag that has no partner; tags in code are what the answer is about."""
    open_tags: list[str] = []
    for found in _REASONING.finditer(without_code(answer)):
        tag = found[0]
        if "/" not in tag and "end_of" not in tag:
            open_tags.append(tag)
        elif open_tags:
            open_tags.pop()
        else:
            return f"{tag} closes what nothing opened"
    return f"{open_tags[0]} is never closed" if open_tags else ""
