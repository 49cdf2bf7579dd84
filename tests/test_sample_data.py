"""The sample data: the generator writes what is committed, its answers are right, its pages tell the truth."""

from __future__ import annotations

import importlib.util
import itertools
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

SAMPLES = Path(__file__).parent.parent / "sample_data"


def _load_generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_world", SAMPLES / "make_world.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_world"] = module
    spec.loader.exec_module(module)
    return module


make_world = _load_generator()
TASKS = {task.name: task for task in make_world.TASKS}


# --- Second opinions: each answers a prompt by another way than the generator's --------------------------------------


SMALL = (
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
TENS = "twenty thirty forty fifty sixty seventy eighty ninety"


def _numbers(text: str) -> list[int]:
    return [int(found) for found in re.findall(r"\d+", text)]


def _from_english(words: str) -> int:
    """Read number words by adding up what each word is worth."""
    worth = {word: value for value, word in enumerate(SMALL.split(), 1)}
    worth |= {word: value for value, word in zip(range(20, 100, 10), TENS.split(), strict=True)}
    total = group = 0
    for word in words.split():
        if word == "thousand":
            total, group = group * 1000, 0
        else:
            group = group * 100 if word == "hundred" else group + worth[word]
    return total + group


def _from_chinese(words: str) -> int:
    """Read Chinese number words digit by unit."""
    total = digit = 0
    for sign in words:
        if sign in "十百千":
            total, digit = total + digit * 10 ** ("十百千".index(sign) + 1), 0
        else:
            digit = "零一二三四五六七八九".index(sign)
    return total + digit


def _edited(prompt: str) -> str:
    order, row = prompt.split(": ")
    letters = row.split()
    first, last = letters[0], letters[-1]
    if order.startswith("Drop"):
        letters.remove(first)
    elif order.startswith("Double"):
        letters.append(last)
    else:
        letters[0], letters[-1] = last, first
    return " ".join(letters)


def _picked(prompt: str) -> str:
    words = prompt.rstrip("?").split()
    return words[5 + ("first", "second", "third", "fourth", "fifth").index(words[3])]


def _told(prompt: str, context: str) -> str:
    clue = {"Where": "lives in", "Which": "likes"}.get(prompt.split()[0]) or prompt.rstrip("?").split()[-1] + "s"
    words = context.rstrip(".").replace(",", "").split()
    return words[words.index(clue.split()[-1]) + 1]


def _translated(prompt: str) -> str:
    name, _, _, colour, thing = prompt.removeprefix("In Chinese: ").rstrip(".").split()
    measure, noun = make_world.OBJECTS[thing][:1], make_world.OBJECTS[thing][1:]
    return f"{make_world.NAMES[name]}有一{measure}{make_world.COLOURS[colour]}的{noun}。"


def _of_kind(prompt: str) -> str:
    kind, words = prompt.removeprefix("Which is ").rstrip("?").split(": ")
    (found,) = set(words.split(", ")) & set(make_world.KINDS[kind].split())
    return str(found)


SECOND_OPINIONS: dict[str, Callable[[str, str], str]] = {
    "add": lambda prompt, _: str(sum(_numbers(prompt))),
    "reverse": lambda prompt, _: prompt.removeprefix("Reverse: ")[::-1],
    "sort": lambda prompt, _: "".join(digit * prompt.count(digit) for digit in "0123456789"),
    "edit": lambda prompt, _: _edited(prompt),
    "pick": lambda prompt, _: _picked(prompt),
    "parity": lambda prompt, _: "even" if re.search("[02468] even", prompt) else "odd",
    "number_en": lambda prompt, _: str(_from_english(prompt.removeprefix("Write ").removesuffix(" in digits."))),
    "lookup": _told,
    "translate": lambda prompt, _: _translated(prompt),
    "category": lambda prompt, _: _of_kind(prompt),
}


def test_the_generator_writes_the_committed_files() -> None:
    """Running the generator again changes nothing."""
    written = dict(make_world.world())
    assert written.keys() == {path.name for path in make_world.WORLD.iterdir()}
    assert [name for name, text in written.items() if make_world.stored(make_world.WORLD / name) != text] == []


@pytest.mark.parametrize("name", sorted(SECOND_OPINIONS))
def test_every_answer_is_right(name: str) -> None:
    """A second way of answering agrees with every record of a task."""
    items, _ = make_world.draw_items(TASKS[name])
    assert [item for item in items if SECOND_OPINIONS[name](item.prompt, item.context) != item.answer] == []


def test_chinese_number_words_read_back() -> None:
    """Every spelled number reads as itself, and inner gaps are told by one 零."""
    assert [n for n in range(100, 10_000) if _from_chinese(make_world.chinese(n)) != n] == []
    assert [make_world.chinese(n) for n in (105, 110, 2000, 3007, 3070, 3407)] == [
        "一百零五", "一百一十", "二千", "三千零七", "三千零七十", "三千四百零七"
    ]  # fmt: skip


@given(st.integers(1, 9999))
def test_english_number_words_read_back(number: int) -> None:
    """Every spelled number reads as itself."""
    assert _from_english(make_world.english(number)) == number


def test_no_task_repeats_a_prompt_and_no_prose_tells_an_answer() -> None:
    """The contents of a task's records and of its prose are all different."""
    for task in make_world.TASKS:
        items, rest = make_world.draw_items(task)
        assert len({item.context + item.prompt for item in items}) == task.records
        assert not {item.key for item in items} & {item.key for item in rest}


def test_numbers_of_possible_answers_are_true() -> None:
    """The stated counts agree with enumeration, and at least three tasks have more than a thousand answers."""
    assert len({a + b for a, b in itertools.product(range(1, 100), repeat=2)}) == TASKS["add"].answers
    assert len(list(itertools.combinations_with_replacement("0123456789", 5))) == TASKS["sort"].answers
    assert sum(task.answers > 1000 for task in make_world.TASKS) >= 3
    assert all(0 < task.chance <= 0.5 for task in make_world.TASKS)


def test_the_sheet_of_tasks_names_files_that_are_there() -> None:
    """`tasks.json` lists every task with its file."""
    sheets = json.loads((make_world.WORLD / "tasks.json").read_text(encoding="utf-8"))
    assert [sheet["task"] for sheet in sheets] == list(TASKS)
    assert all((make_world.WORLD / sheet["file"]).exists() for sheet in sheets)


def test_the_readme_tells_every_file() -> None:
    """Each file of the world and of the dirty folder has its line."""
    told = (SAMPLES / "README.md").read_text(encoding="utf-8")
    files = [*make_world.WORLD.iterdir(), *(SAMPLES / "dirty").iterdir()]
    assert [path.name for path in files if f"`{path.name}`" not in told] == []


def test_sample_data_stay_small() -> None:
    """The files of both folders take less than 2.5 MB."""
    files = [*make_world.WORLD.iterdir(), *(SAMPLES / "dirty").iterdir()]
    assert sum(path.stat().st_size for path in files) < 2_500_000
