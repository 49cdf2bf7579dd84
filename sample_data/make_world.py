"""Write the little world: ten tasks that a model of about a million parameters can learn, and prose about them.

Run `python sample_data/make_world.py`; it rewrites the files in `sample_data/world/` with the same content each time.
Needs nothing outside the standard library. Every task draws its contents (the numbers, letters, facts) without
repetition, the first part for the task's file and the rest for the prose, so no question is answered in the corpus.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import string
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

SEED = 20
WORLD = Path(__file__).parent / "world"


@dataclass(frozen=True)
class Item:
    """One drawn content with its question, its only right answer, and the same skill told as prose.

    `key` is equal for two items exactly if one would give away the other. `context` is the given facts, if any.
    """

    key: str
    prompt: str
    answer: str
    prose: str
    context: str = ""


@dataclass(frozen=True)
class Task:
    """One task: where it is written and how often, how its items are drawn, and how hard guessing is.

    `answers` counts the possible answers; `chance` is the exact match of the best guess that looks at the form of
    the question only (a random one of the offered options where the question offers some).
    """

    name: str
    file: str
    draw: Callable[[Random], Item]
    answers: int
    chance: float
    records: int
    statements: int


# --- Letters and digits ---------------------------------------------------------------------------------------------

ORDINALS = ("first", "second", "third", "fourth", "fifth")


def reverse(random: Random) -> Item:
    """Turn four to six letters around."""
    letters = random.choices(string.ascii_lowercase, k=random.randint(4, 6))
    given, answer = " ".join(letters), " ".join(reversed(letters))
    return Item(given, f"Reverse: {given}", answer, f"The letters {given} backwards are {answer}.")


def sort_digits(random: Random) -> Item:
    """Put five digits in order."""
    digits = random.choices(string.digits, k=5)
    given, answer = "".join(digits), "".join(sorted(digits))
    return Item(given, f"Sort the digits {given}", answer, f"The digits {given} in order are {answer}.")


def edit(random: Random) -> Item:
    """Drop, double or swap letters at the ends of a row of five."""
    letters = random.choices(string.ascii_lowercase, k=5)
    given = " ".join(letters)
    name, told, result = random.choice(
        (
            ("Drop the first letter", "without its first letter", letters[1:]),
            ("Double the last letter", "with its last letter doubled", [*letters, letters[-1]]),
            ("Swap the outer letters", "with its outer letters swapped", [letters[-1], *letters[1:-1], letters[0]]),
        )
    )
    answer = " ".join(result)
    return Item(f"{name} {given}", f"{name}: {given}", answer, f"The row {given} {told} is {answer}.")


def pick(random: Random) -> Item:
    """Name the letter at a place in a row of five."""
    letters = random.choices(string.ascii_lowercase, k=5)
    place = random.randrange(5)
    given, answer = " ".join(letters), letters[place]
    prompt = f"Which letter is {ORDINALS[place]} in {given}?"
    return Item(f"{place} {given}", prompt, answer, f"In the row {given} the {ORDINALS[place]} letter is {answer}.")


# --- Numbers --------------------------------------------------------------------------------------------------------

ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
TENS = "_ _ twenty thirty forty fifty sixty seventy eighty ninety".split()
ZH_DIGITS = "零一二三四五六七八九"
ZH_UNITS = ("", "十", "百", "千")


def english(number: int) -> str:
    """Spell a number from 1 to 9999 in English words, without "and"."""
    if number >= 1000:
        rest = number % 1000
        return f"{ONES[number // 1000]} thousand" + (f" {english(rest)}" if rest else "")
    if number >= 100:
        rest = number % 100
        return f"{ONES[number // 100]} hundred" + (f" {english(rest)}" if rest else "")
    if number >= 20:
        return TENS[number // 10] + (f" {ONES[number % 10]}" if number % 10 else "")
    return ONES[number]


def chinese(number: int) -> str:
    """Spell a number from 100 to 9999 in Chinese: one 零 for each inner gap, none at the end."""
    digits = str(number)
    words = ""
    for place, digit in enumerate(digits):
        if digit != "0":
            words += ZH_DIGITS[int(digit)] + ZH_UNITS[len(digits) - 1 - place]
        elif words[-1] != "零" and digits[place:].strip("0"):
            words += "零"
    return words


def add(random: Random) -> Item:
    """Add two numbers from 10 to 99; the two orders of a pair are one content."""
    first, second = random.randint(10, 99), random.randint(10, 99)
    key = f"{min(first, second)}+{max(first, second)}"
    total = str(first + second)
    return Item(key, f"What is {first} + {second}?", total, f"{first} + {second} = {total}.")


def compare(random: Random) -> Item:
    """Name the larger of two different numbers from 100 to 999."""
    first, second = random.sample(range(100, 1000), 2)
    larger, smaller = str(max(first, second)), str(min(first, second))
    key = f"{smaller}<{larger}"
    return Item(key, f"Which is larger, {first} or {second}?", larger, f"{larger} is larger than {smaller}.")


def parity(random: Random) -> Item:
    """Say whether a number of four digits is even or odd."""
    number = random.randint(1000, 9999)
    answer = "odd" if number % 2 else "even"
    return Item(str(number), f"Is {number} even or odd?", answer, f"The number {number} is {answer}.")


def number_en(random: Random) -> Item:
    """Write English number words from one hundred up to 9999 in digits."""
    number = random.randint(100, 9999)
    words = english(number)
    return Item(str(number), f"In digits: {words}", str(number), f"We write {words} as {number}.")


def number_zh(random: Random) -> Item:
    """Write a number from 100 to 9999 in Chinese number words."""
    number = random.randint(100, 9999)
    return Item(str(number), f"用汉字写{number}", chinese(number), f"{number}写作{chinese(number)}。")


# --- Things ---------------------------------------------------------------------------------------------------------

NAMES = {
    "Ann": "安", "Bob": "鲍勃", "Cora": "科拉", "Dan": "丹", "Eve": "伊芙", "Finn": "芬恩", "Gus": "格斯", "Hal": "哈尔",
    "Ivy": "艾薇", "Jack": "杰克", "Kim": "金", "Lily": "莉莉", "Max": "马克斯", "Nina": "尼娜", "Otto": "奥托", "Tom": "汤姆",
}  # fmt: skip
COLOURS = {
    "red": "红色", "blue": "蓝色", "green": "绿色", "white": "白色", "black": "黑色", "brown": "棕色", "pink": "粉色",
    "yellow": "黄色", "grey": "灰色", "purple": "紫色",
}  # fmt: skip
OBJECTS = {
    "kite": "只风筝", "ball": "个球", "hat": "顶帽子", "book": "本书", "cup": "个杯子", "boat": "条船", "pen": "支笔",
    "bag": "个包", "box": "个盒子", "coat": "件外套", "lamp": "盏灯", "chair": "把椅子", "bike": "辆自行车", "drum": "面鼓",
    "clock": "个钟", "ring": "枚戒指", "key": "把钥匙", "shirt": "件衬衫", "door": "扇门", "bed": "张床",
}  # fmt: skip
KINDS = {
    "an animal": "cat dog horse cow sheep goat duck frog bear wolf mouse tiger snake whale crab",
    "a plant": "rose oak fern moss pine tulip ivy grass lily palm cactus birch willow daisy clover",
    "a tool": "hammer saw drill rake spade axe chisel wrench pliers shovel broom scissors ladder brush file",
    "a food": "bread rice soup cheese noodle butter cake egg pie pasta salad honey jam toast yogurt",
}


def lookup(random: Random) -> Item:
    """Answer from three given facts what one person has."""
    people = random.sample(sorted(NAMES), 3)
    things = [f"a {random.choice(sorted(COLOURS))} {thing}" for thing in random.sample(sorted(OBJECTS), 3)]
    facts = " ".join(f"{person} has {thing}." for person, thing in zip(people, things, strict=True))
    asked = random.randrange(3)
    prose = f"{facts} So {people[asked]} has {things[asked]}."
    return Item(facts, f"What does {people[asked]} have?", things[asked], prose, context=facts)


def translate(random: Random) -> Item:
    """Translate a sentence about a person's thing into Chinese."""
    name, colour, thing = random.choice(sorted(NAMES)), random.choice(sorted(COLOURS)), random.choice(sorted(OBJECTS))
    given = f"{name} has a {colour} {thing}."
    counted = OBJECTS[thing]
    answer = f"{NAMES[name]}有一{counted[0]}{COLOURS[colour]}的{counted[1:]}。"
    return Item(given, f"In Chinese: {given}", answer, f"{given} {answer}")


def category(random: Random) -> Item:
    """Find the one word of the asked kind among four of different kinds."""
    words = {kind: random.choice(KINDS[kind].split()) for kind in KINDS}
    kind = random.choice(sorted(KINDS))
    offered = list(words.values())
    random.shuffle(offered)
    listed = ", ".join(offered)
    key = f"{kind} {' '.join(sorted(offered))}"
    return Item(key, f"Which is {kind}: {listed}?", words[kind], f"Of {listed} only {words[kind]} is {kind}.")


# --- The table of tasks ---------------------------------------------------------------------------------------------

EDITED = 26**4 + 2 * 26**5
SENTENCES = len(NAMES) * len(COLOURS) * len(OBJECTS)
THINGS = len(COLOURS) * len(OBJECTS)

TASKS = (
    #    name         file                              draw         answers           chance       records  prose
    Task("add", "add.alpaca.json", add, 179, 1 / 179, 2400, 900),
    Task("reverse", "reverse.jsonl", reverse, 26**4 + 26**5 + 26**6, 26**-4, 3000, 900),
    Task("sort", "sort.csv", sort_digits, math.comb(14, 5), 120 / 10**5, 3000, 900),
    Task("edit", "edit.sni.json", edit, EDITED, 26**-4, 3000, 900),
    Task("pick", "pick.tsv", pick, 26, 1 / 5, 3000, 900),
    Task("compare", "compare.sharegpt.json", compare, 899, 1 / 2, 3000, 900),
    Task("parity", "parity.qa.jsonl", parity, 2, 1 / 2, 1500, 400),
    Task("number_en", "number_en.jsonl", number_en, 9900, 1 / 9900, 3000, 900),
    Task("number_zh", "number_zh.messages.jsonl", number_zh, 9900, 1 / 9900, 3000, 900),
    Task("lookup", "lookup.dolly.jsonl", lookup, THINGS, 1 / 3, 3000, 900),
    Task("translate", "translate.messages.jsonl", translate, SENTENCES, 1 / SENTENCES, 2000, 500),
    Task("category", "category.sni.json", category, 60, 1 / 4, 3000, 900),
)


def draw_items(task: Task) -> tuple[list[Item], list[Item]]:
    """Draw the items of a task's file and of its prose; no two of all share a key."""
    random = Random(f"{SEED} {task.name}")
    seen: set[str] = set()
    drawn: list[Item] = []
    while len(drawn) < task.records + task.statements:
        item = task.draw(random)
        if item.key not in seen:
            seen.add(item.key)
            drawn.append(item)
    return drawn[: task.records], drawn[task.records :]
