"""Checks of well-shaped rows: for each code a row that has it, at which place, and a near miss that does not."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import RECORDS, TEXT

from didact.errors import RowError
from didact.formats.registry import get
from didact.records import Chat, Record, Task
from didact.records.checks import check
from didact.records.codes import CODES
from didact.records.findings import Problem
from didact.records.fixes import TEXT_FIXES
from didact.records.screening import doubts_of
from didact.render.template import TEMPLATES
from didact.text.clean_rules import control_characters, controls, invisible_characters
from didact.validate import validate

Row = dict[str, Any]


def problems(format_name: str, row: Row) -> set[tuple[str, str]]:
    """Codes and pointers of a row: what its adapter notes, what the checks find, or the error it is refused with.

    Screening the record beforehand spares no check that finds something.
    """
    try:
        reading = get(format_name).read(row, None)
    except RowError as error:
        return {(error.code, error.pointer)}
    found: list[Problem] = [*reading.notes, *check(reading.record)]
    texts = reading.record.texts()
    assert found[len(reading.notes) :] == check(reading.record, texts, *doubts_of([texts]))
    assert all(message and "\n" not in message for _, _, message in found)
    return {(code, pointer) for code, pointer, _ in found}


def alpaca(output: str, input: str = "", instruction: str = "Say something about it.") -> tuple[str, Row]:
    """A row of instruction, input, output."""
    return "alpaca", {"instruction": instruction, "input": input, "output": output}


def chat(*messages: str | Row, **more: Any) -> tuple[str, Row]:
    """A conversation that alternates from the user on; a dict is a message by itself."""
    spoken = [
        said if isinstance(said, dict) else {"role": "assistant" if i % 2 else "user", "content": said}
        for i, said in enumerate(messages)
    ]
    return "openai", {"messages": spoken, **more}


def qa(**row: Any) -> tuple[str, Row]:
    """A row of question and answer."""
    return "qa", row


SENTENCES = (
    "Tea is made from the leaves of one plant. " * 3 + "It grows in the hills of Assam, in Fujian and in Kenya. "
)
LOOP = "and the cat sat on the mat " * 8
USER = {"role": "user", "content": "Anyone?"}
LATE, DARK = ([USER | {"content": asked}, {"role": "assistant", "content": "No."}] for asked in ("Late?", "Dark?"))
SYSTEM = {"role": "system", "content": "Be brief."}

BAD: list[tuple[str, tuple[str, Row], str]] = [
    ("CO001", alpaca("Yes.", "", ""), "/definition"),
    ("CO001", chat(" ", "Hello."), "/messages/0/0"),
    ("CO002", alpaca(" \n"), "/outputs/0"),
    ("CO002", chat("Hi", {"role": "assistant", "content": None}), "/messages/1"),
    ("CO003", alpaca("Yes.", "<noinput>"), "/input"),
    ("CO004", alpaca("Oak.\n\n16. Instruction: Name a fruit.\n16. Input:\n<noinput>"), "/outputs/0"),
    ("CO004", alpaca("Oak.\n### Instruction:\nName a fruit."), "/outputs/0"),
    ("CO004", alpaca("橡树。\n11. 指令：写一首诗。"), "/outputs/0"),
    ("CO005", alpaca("The meeting is moved to Friday.", "The meeting is moved to Friday."), "/outputs/0"),
    ("CO005", alpaca("她每天开车上班。\n", "她每天开车上班。", "把句子改成过去时。"), "/outputs/0"),
    ("CO005", chat("Where is my library card?", "Where is my library card?"), "/messages/1/0"),
    (
        "CO006",
        alpaca(SENTENCES + "Those who drink it say that the water matters more than the"),
        "/outputs/0",
    ),
    ("CO006", alpaca(SENTENCES + "People who like it strong leave it for five minutes,"), "/outputs/0"),
    ("CO007", alpaca("Once " + LOOP), "/outputs/0"),
    ("CO007", alpaca("Once " + LOOP + "and the ca"), "/outputs/0"),
    ("CO007", alpaca("哈哈，" * 60), "/outputs/0"),
    ("CO008", alpaca("As an AI language model, I do not sleep."), "/outputs/0"),
    ("CO008", alpaca("I'm sorry, but as an AI, I cannot book flights."), "/outputs/0"),
    ("CO008", chat("Who are you?", "I was trained by OpenAI, an AI company."), "/messages/1/0"),
    ("CO008", alpaca("作为一个人工智能语言模型，我没有感受。"), "/outputs/0"),
    ("CO009", chat("6 * 7?", "<think>Six sevens. It is 42."), "/messages/1/0"),
    ("CO009", chat("6 * 7?", "Six sevens.</think>It is 42."), "/messages/1/0"),
    ("CO009", chat("6 * 7?", "<|begin_of_thought|>Six sevens. It is 42."), "/messages/1/0"),
    ("CO010", alpaca("I am {{name}}, made by {{ author }}."), "/outputs/0"),
    ("CO010", alpaca("我是 {{name}}。"), "/outputs/0"),
    ("CO011", alpaca(r"1. Oak\n2. Elm\n"), "/outputs/0"),
    ("CO011", alpaca("Good.", "Is it true?\\nOptions:\\n- yes\\n- no\nThink first."), "/input"),
    ("CO012", alpaca("Rhythm &amp; blues."), "/outputs/0"),
    ("UN001", alpaca("Ding.\x07"), "/outputs/0"),
    ("UN001", alpaca("a\u2028b"), "/outputs/0"),
    ("UN001", alpaca("Solve $x = \x0crac{1}{2}$."), "/outputs/0"),
    ("UN002", alpaca("CrÃ¨me brÃ»lÃ©e."), "/outputs/0"),
    ("UN002", alpaca("clear \x96 you see"), "/outputs/0"),
    ("UN004", alpaca("Hel\u200blo."), "/outputs/0"),
    ("UN004", alpaca("Hello \U000e0068\U000e0069."), "/outputs/0"),
    ("UN004", alpaca("user\u202egnp.exe"), "/outputs/0"),
    ("UN005", alpaca("In a cafe\u0301."), "/outputs/0"),
    ("UN006", alpaca("Hello.<|im_end|>"), "/outputs/0"),
    ("UN006", chat("Be rude.<|eot_id|>", "No."), "/messages/0/0"),
    ("UN006", alpaca("[INST] Hi [/INST] Hello."), "/outputs/0"),
    ("UN006", alpaca("Hello.</s>"), "/outputs/0"),
    ("UN006", alpaca("你好<｜end▁of▁sentence｜>"), "/outputs/0"),
    ("UN007", alpaca("Cr\ufffdme"), "/outputs/0"),
    ("SC003", ("alpaca", {"instruction": "6 * 7?", "output": 42}), "/output"),
    ("SC005", ("alpaca", {"instruction": "Hi", "input": None, "output": "Hello."}), "/input"),
    ("SC005", ("alpaca", {"instruction": "Hi", "output": None}), "/output"),
    ("SC005", chat("Hi", {"role": "assistant", "content": None}), "/messages/1/content"),
    ("JS005", ("openai", {"messages": orjson.dumps(chat("Hi", "Hello.")[1]["messages"]).decode()}), "/messages"),
    ("RO001", chat({"role": "narrator", "content": "Night."}), "/messages/0/role"),
    (
        "RO002",
        chat("Hi", {"role": "user", "content": "Anyone?"}, {"role": "assistant", "content": "Yes."}),
        "/messages/1",
    ),
    ("RO003", chat({"role": "assistant", "content": "How can I help?"}), "/messages/0"),
    ("RO004", chat("Hi", "Hello.", "Bye"), "/messages/2"),
    ("RO005", chat("Hi"), "/messages"),
    ("RO006", chat("Hi", SYSTEM, {"role": "assistant", "content": "Hello."}), "/messages/1"),
    ("RO007", chat(SYSTEM, SYSTEM, "Hi", "Hello."), "/messages/1"),
    ("RO008", chat("Hi", {"role": "assistant", "content": "Hello.", "weight": 0}), "/messages"),
    ("QA001", qa(question="Which?", choices=["red", "two"], answer=-1), "/answer"),
    ("QA001", qa(question="Which?", choices=["red", "two"], answer=""), "/answer"),
    ("QA001", qa(question="Which?", answer=None), "/answer"),
    ("QA002", qa(question="Which?", choices=["red", "two"], answer="E"), "/answers/0/text"),
    (
        "QA003",
        qa(question="Who?", context="Ada waits.", answers={"text": ["Ada", "Ada"], "answer_start": [0, 4]}),
        "/answers/1/start",
    ),
    ("QA004", qa(question="Which?", choices=["red", "two", "red "], answer=1), "/choices/2/text"),
    ("TK002", alpaca("1 2", "2 1", " "), "/definition"),
    ("PR001", ("preference", {"prompt": "Late?", "chosen": "No.", "rejected": "No."}), "/candidates"),
    (
        "PR002",
        (
            "preference",
            {"chosen": chat("Late?", "No.")[1]["messages"], "rejected": chat("Dark?", "Yes.")[1]["messages"]},
        ),
        "/rejected/0",
    ),
    (
        "MM001",
        chat({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "cat.png"}}]}, "A cat."),
        "/messages/0/parts/0",
    ),
    (
        "MM001",
        (
            "preference",
            {
                "prompt": [{"role": "user", "content": [{"type": "image", "image": "cat.png"}, "What?"]}],
                "chosen": "A cat.",
                "rejected": "A dog.",
            },
        ),
        "/prompt/0/parts/0",
    ),
]
"""Code, a row that has it, and where."""

NEAR: list[tuple[str, tuple[str, Row]]] = [
    ("CO001", alpaca("Yes.", "2 1", "")),
    ("CO002", chat("Rain?", {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "rain"}}]})),
    ("CO003", alpaca("Yes.", "none of the above")),
    ("CO004", alpaca("Write it so:\n# Output: 30\nprint(30)")),
    ("CO004", alpaca("### Instruction: begins an Alpaca prompt.")),
    ("CO004", alpaca("The first line of such a prompt reads 1. Instruction: and no more.")),
    ("CO005", alpaca("The quick brown fox.", "The  quick  brown  fox.", "Remove the double blanks.")),
    ("CO005", alpaca("Paris in May", "Paris in May")),
    ("CO005", ("qa", {"question": "Which?", "choices": ["the one in the north of it", "b"], "answer": 0})),
    ("CO006", alpaca(SENTENCES + "#Tea #Assam #GoodMorning")),
    ("CO006", alpaca(SENTENCES + "It is best in the morning")),
    ("CO006", alpaca(SENTENCES + "See https://example.org/tea-and-the")),
    ("CO006", alpaca("\n".join(f"{i}. A leaf of the" for i in range(30)))),
    ("CO006", alpaca("```\n" + SENTENCES + "for the")),
    ("CO007", alpaca("|  |  |  |\n" * 30)),
    ("CO007", alpaca("Ha ha ha ha ha ha!")),
    ("CO007", alpaca("\n".join(f"Row {i} of the table holds {i * i}." for i in range(40)))),
    ("CO008", alpaca("You are as dull as an AI-generated insult.")),
    ("CO008", alpaca("As an AI engineer, I train models.")),
    ("CO008", alpaca("I am an AI researcher, and GPT-3 is a language model developed by OpenAI.")),
    ("CO008", alpaca("作为人工智能专业的学生，她学习了很多。")),
    ("CO009", chat("6 * 7?", "<think>Six sevens.</think>It is 42.")),
    ("CO009", alpaca("Reasoning stands between `<think>` and the answer.")),
    ("CO009", chat("What closes <think>?", "A slash.")),
    ("CO010", alpaca("Write `{{name}}` in the template.")),
    ("CO010", alpaca("on: ${{ secrets }} and {{ 1 + 1 }} and \\frac{{a}}{{b}}")),
    ("CO011", alpaca(r"C:\notes\new")),
    ("CO011", alpaca("Write '\\n' and\n'\\n' for line ends.")),
    ("CO011", alpaca(r"The gradient \nabla f and \nu are used.")),
    ("CO012", alpaca("<p>R&amp;B</p>")),
    ("CO012", alpaca("AT&T; a?x=1&copy=2")),
    ("UN001", alpaca("Tab\tand\r\nlines.")),
    ("UN001", alpaca("当然。\r\n\u3000好的。")),
    ("UN002", alpaca("Ça va? Être à l’heure… “déjà vu” – 20 €")),
    ("UN002", alpaca("Größe: 5 µm ± 1 °C")),
    ("UN004", alpaca("👩\u200d🚀 and می\u200cخواهم")),
    ("UN004", alpaca("\u200fשלום\u200e abc")),
    ("UN005", alpaca("In a café, 한국어, 日本語。")),
    ("UN006", alpaca("if a <b> c | d | <e>: print('<s>x</s>')")),
    ("UN006", alpaca("a[INSTANCE] <|> b")),
    ("SC005", ("openai", {"messages": chat("Hi", "Hello.")[1]["messages"], "system": None, "tools": None})),
    ("JS005", chat("Hi", "[1, 2]", tools='[{"name": "weather"}]')),
    ("RO002", chat("Hi", "Hello.", "Bye", "Bye.")),
    ("RO004", chat(SYSTEM, {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."})),
    ("RO007", chat(SYSTEM, {"role": "system", "content": "Be kind."}, "Hi", "Hello.")),
    ("RO008", chat("Hi", {"role": "assistant", "content": "Hm.", "weight": 0}, "And?", "Yes.")),
    ("QA001", qa(question="Who?", context="It rains.", answers={"text": [], "answer_start": []})),
    ("QA003", qa(question="Who?", context="Ada waits.", answers={"text": ["Ada"], "answer_start": [0]})),
    ("QA004", qa(question="Which?", A="red", B="two", C=None, D=None, answer="A")),
    ("TK002", ("prompt_completion", {"prompt": "Sort: 2 1", "completion": "1 2"})),
    ("PR001", ("preference", {"prompt": "Late?", "chosen": "No.", "rejected": "no."})),
    (
        "PR002",
        (
            "preference",
            {"chosen": "\n\nHuman: Late?\n\nAssistant: No.", "rejected": "\n\nHuman: Late?\n\nAssistant: Yes."},
        ),
    ),
    ("MM001", chat("See cat.png", "A cat.")),
]
"""Code, and a row that looks like it but is right."""


@pytest.mark.parametrize(("code", "given", "pointer"), BAD)
def test_each_problem_is_found_where_it_is(code: str, given: tuple[str, Row], pointer: str) -> None:
    """A row with the problem is reported with its code and the place in the row or record."""
    assert (code, pointer) in problems(*given)


@pytest.mark.parametrize(("code", "given"), NEAR)
def test_what_only_looks_like_it_is_left_alone(code: str, given: tuple[str, Row]) -> None:
    """A right row is not reported: a finding that is wrong costs trust in all others."""
    assert code not in {found for found, _ in problems(*given)}


def test_every_code_of_a_check_has_a_case_and_a_near_miss() -> None:
    """No check is without a row that has it and, but for shapes, one that nearly has it."""
    checked = {code for code in CODES if code[:2] in ("CO", "QA", "PR", "MM", "UN")} - {"UN003"} | {"TK002", "RO007"}
    assert checked - {code for code, _, _ in BAD} == set()
    assert checked - {code for code, _ in NEAR} == {"UN007", "QA002"}


NOT_ROWS = {"IO001", "IO002", "IO003", "IO004", "JS003", "JS004", "JS006", "JS007", "SC006", "SC007", "DU001"}
NOT_ROWS |= {"WB001", "WB002", "WB003", "DU002", "LK001", "PV001", "RE001", "RE003", "RE007"}
NOT_ROWS |= {"RE002", "RE004", "RE006", "MX001", "MX002"}
"""Codes whose example tells of bytes or of a setting, or that compare rows."""


@pytest.mark.parametrize("code", sorted(CODES.keys() - NOT_ROWS))
def test_the_example_in_the_catalogue_has_the_code(code: str, tmp_path: Path) -> None:
    """What `didact codes` shows as an example is one: saved in a file and validated, it has the code."""
    example = CODES[code].example
    ending = {"CS001": "csv", "TK001": "json", "JS008": "json"}.get(code, "jsonl")
    path = tmp_path / f"example.{ending}"
    others = '{"instruction": "Say hello.", "output": "Hello."}\n' * 2 if code in ("JS001", "JS002") else ""
    path.write_text(f"{others}{example}\n", encoding="utf-8")
    report = validate(path, "openai" if code == "SC001" else "auto")
    assert report.findings[code] == 1, report.findings
    assert report.clean() == (CODES[code].severity == "warning")


def test_the_catalogue_is_whole() -> None:
    """Every entry says what to do in whole sentences, names commands there are, and fixes that exist."""
    from didact.cli import cli
    from didact.repair.fixes import FIXES

    for code, entry in CODES.items():
        assert entry.about.endswith(".") and entry.example and set(entry.commands) <= set(cli.commands), code
        assert entry.level == "row" or entry.severity == "warning", code
    assert {code for code, entry in CODES.items() if entry.fix} == FIXES.keys()


@given(TEXT)
def test_a_fixed_text_needs_no_fix(text: str) -> None:
    """Every text fix does all it can at once."""
    for name, fix in TEXT_FIXES.items():
        if name != "entities":  # `&amp;lt;` is decoded layer by layer, each with a look at what it became
            assert fix(fix(text)) == fix(text), name


WILD = st.text(
    st.sampled_from(
        "abAI \n\r\t\0\7\f\x85\u2028\xad\u200b\u200c\u200d\u200e\u202e\ufeff\U000e0041של👩é\u0301Ã¨\\n<|>&;{}"
    ),
    max_size=24,
)


@given(WILD)
def test_a_text_is_reported_exactly_when_its_fix_changes_it(text: str) -> None:
    """The cheap tests in front of a check miss nothing that its fix would change, and report nothing else."""
    found = {code for code, _ in problems(*alpaca(text))}
    for code, name in (
        ("UN004", "invisible_characters"),
        ("UN005", "compose"),
        ("CO012", "entities"),
        ("CO011", "line_ends"),
    ):
        assert (code in found) == (TEXT_FIXES[name](text) != text)
    unread = TEXT_FIXES["mojibake"](text)
    assert ("UN002" in found) == (unread != text)
    assert ("UN001" in found) == (control_characters(unread) != unread)


@given(WILD)
def test_cleaning_leaves_nothing_that_a_fix_would_remove(text: str) -> None:
    """The cleaning rule of a build goes at least as far as the two fixes of a file."""
    clean = controls(text)
    assert control_characters(clean) == clean
    assert invisible_characters(clean) == clean


@given(RECORDS)
def test_any_record_is_checked_and_located(record: Record) -> None:
    """No record brings a check down; every problem has a known code and a pointer whose first step the record has."""
    for code, pointer, message in check(record):
        assert code in CODES and message
        assert pointer.split("/")[1] in type(record).model_fields


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_reserved_token_of_a_template_is_a_control_token(name: str) -> None:
    """A text that spells a mark of any built-in template is reported."""
    for token in TEMPLATES[name].reserved:
        assert ("UN006", "/outputs/0") in problems(*alpaca(f"Say {token} now."))


def test_an_answer_may_be_one_of_the_choices() -> None:
    """A task that offers its outputs is not said to repeat its prompt."""
    outputs = ["the one in the north of it", "the other one"]
    record = Task(definition="Which?", choices=outputs, outputs=outputs[:1])
    assert check(record) == []
    assert [code for code, _, _ in check(record.model_copy(update={"input": outputs[0]}))] == ["CO005"]


def test_a_turn_of_media_alone_is_not_trained() -> None:
    """An assistant's turn that is only a picture carries no weight; words beside it are trained as ever."""
    picture = {"type": "image_url", "image_url": {"url": "cat.png"}}
    row = chat("Draw a cat.", {"role": "assistant", "content": [picture]}, "And?", "Done.")[1]
    record = get("openai").read(row, None).record
    assert isinstance(record, Chat)
    assert [turn.get("weight") for turn in record.dialogue()] == [None, 0.0, None, None]


@pytest.mark.parametrize(
    "text",
    ["a" * 200_000, "ab" * 100_000, "<think>" * 30_000, "&amp;" * 40_000, "{{a" * 60_000, "\\n" * 100_000,
     "[INST" * 40_000, "é\x07" * 50_000, "As an AI " * 20_000, "### Instruction" * 20_000, "作为" * 100_000],
)  # fmt: skip
def test_long_texts_take_time_in_proportion(text: str) -> None:
    """No text of 200,000 characters keeps the checks busy for more than a moment."""
    started = time.process_time()
    problems(*alpaca(text, text[::-1]))
    assert time.process_time() - started < 3
