"""Write the little world: eleven tasks that a model of about a million parameters can learn, and prose about them.

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
    """One task: how its items are drawn, how many go to its file and to the prose, and how hard guessing is.

    `answers` counts the possible answers. `chance` is the exact match of guessing among the answers that the question
    itself offers (five letters to pick from, four words to choose from), or among all answers where it offers none.
    """

    name: str
    format: str
    draw: Callable[[Random], Item]
    answers: int
    chance: float
    records: int
    statements: int
    packed: bool = False


# --- Letters and digits ---------------------------------------------------------------------------------------------

LETTERS = "bcdfghjklmnpqrstvwxz"
"""No vowels and no y, so that no row of letters is a word."""
ORDINALS = ("first", "second", "third", "fourth", "fifth")


def reverse(random: Random) -> Item:
    """Turn four to six letters around."""
    letters = random.choices(LETTERS, k=random.randint(4, 6))
    given, answer = " ".join(letters), " ".join(reversed(letters))
    return Item(given, f"Reverse: {given}", answer, f"The letters {given} backwards are {answer}.")


def sort_digits(random: Random) -> Item:
    """Put five digits in order."""
    digits = random.choices("0123456789", k=5)
    given, answer = "".join(digits), "".join(sorted(digits))
    return Item(given, f"Sort the digits {given}", answer, f"The digits {given} in order are {answer}.")


def edit(random: Random) -> Item:
    """Drop, double or swap letters at the ends of a row of five."""
    letters = random.choices(LETTERS, k=5)
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
    letters = random.choices(LETTERS, k=5)
    place = random.randrange(5)
    given, answer = " ".join(letters), letters[place]
    prompt = f"Which letter is {ORDINALS[place]} in {given}?"
    return Item(f"{place} {given}", prompt, answer, f"In the row {given} the {ORDINALS[place]} letter is {answer}.")


# --- Numbers --------------------------------------------------------------------------------------------------------

UNITS = ("", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TEENS = (
    "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
ZH_DIGITS = "零一二三四五六七八九"
ZH_UNITS = ("", "十", "百", "千")


def english(number: int) -> str:
    """Spell a number from 1 to 9999 in English words, without "and"."""
    for size, name in ((1000, "thousand"), (100, "hundred")):
        if number >= size:
            rest = number % size
            return f"{UNITS[number // size]} {name}" + (f" {english(rest)}" if rest else "")
    if number >= 20:
        return f"{TENS[number // 10]} {UNITS[number % 10]}".rstrip()
    return TEENS[number - 10] if number >= 10 else UNITS[number]


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
    """Add two numbers from 1 to 99; the two orders of a pair are one content."""
    first, second = random.randint(1, 99), random.randint(1, 99)
    key = f"{min(first, second)}+{max(first, second)}"
    total = str(first + second)
    return Item(key, f"What is {first} + {second}?", total, f"{first} + {second} = {total}.")


def parity(random: Random) -> Item:
    """Say whether a number of four digits is even or odd."""
    number = random.randint(1000, 9999)
    answer = "odd" if number % 2 else "even"
    return Item(str(number), f"Is {number} even or odd?", answer, f"The number {number} is {answer}.")


def number_en(random: Random) -> Item:
    """Write English number words from one hundred up to 9999 in digits."""
    number = random.randint(100, 9999)
    words = english(number)
    return Item(str(number), f"Write {words} in digits.", str(number), f"We write {words} as {number}.")


def number_zh(random: Random) -> Item:
    """Write a number from 100 to 9999 in Chinese number words."""
    number = random.randint(100, 9999)
    return Item(str(number), f"用汉字写{number}", chinese(number), f"{number}写作{chinese(number)}。")


# --- Things ---------------------------------------------------------------------------------------------------------

NAMES = {
    "Ann": "安", "Bob": "鲍勃", "Cora": "科拉", "Dan": "丹", "Eve": "伊芙", "Finn": "芬恩", "Gus": "格斯",
    "Hal": "哈尔", "Ivy": "艾薇", "Jack": "杰克", "Kim": "金", "Lily": "莉莉", "Max": "马克斯", "Nina": "尼娜",
    "Otto": "奥托", "Tom": "汤姆",
}  # fmt: skip
COLOURS = {
    "red": "红色", "blue": "蓝色", "green": "绿色", "white": "白色", "black": "黑色", "brown": "棕色", "pink": "粉色",
    "yellow": "黄色", "grey": "灰色", "purple": "紫色",
}  # fmt: skip
OBJECTS = {
    "kite": "只风筝", "ball": "个球", "hat": "顶帽子", "book": "本书", "cup": "个杯子", "boat": "条船", "pen": "支笔",
    "bag": "个包", "box": "个盒子", "coat": "件外套", "lamp": "盏灯", "chair": "把椅子", "bike": "辆自行车",
    "drum": "面鼓", "clock": "个钟", "ring": "枚戒指", "key": "把钥匙", "shirt": "件衬衫", "door": "扇门",
    "bed": "张床",
}  # fmt: skip
KINDS = {
    "an animal": "cat dog horse cow sheep goat duck frog bear wolf mouse tiger snake whale crab",
    "a plant": "rose oak fern moss pine tulip ivy grass lily palm cactus birch willow daisy clover",
    "a tool": "hammer saw drill rake spade axe chisel wrench pliers shovel broom scissors ladder brush file",
    "a food": "bread rice soup cheese noodle butter cake egg pie pasta salad honey jam toast yogurt",
}

HABITS = {
    "lives in": ("Where does {} live?", "Rome Oslo Paris Lima Cairo Delhi Tokyo Berlin Madrid Vienna Boston Dublin"),
    "drinks": ("What does {} drink?", "tea milk water coffee juice cocoa cider lemonade broth punch soda wine"),
    "plays": ("What does {} play?", "chess tennis golf cards piano flute violin drums football guitar hockey darts"),
    "likes": ("Which colour does {} like?", " ".join(COLOURS)),
}


def lookup(random: Random) -> Item:
    """Answer from a given sentence one of four things about a person; the sentence tells them in any order."""
    name = random.choice(sorted(NAMES))
    told = {habit: random.choice(HABITS[habit][1].split()) for habit in HABITS}
    order, again = random.sample(sorted(HABITS), 4), random.sample(sorted(HABITS), 4)
    clauses = [f"{habit} {told[habit]}" for habit in order]
    facts = f"{name} {', '.join(clauses[:3])} and {clauses[3]}."
    asked = random.choice(order)
    retold = " ".join(f"{name} {habit} {told[habit]}." for habit in again)
    return Item(facts, HABITS[asked][0].format(name), told[asked], f"{facts} {retold}", context=facts)


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
    kinds = {word: kind for kind, word in words.items()}
    prose = f"Here {', '.join(f'{word} is {kinds[word]}' for word in offered)}."
    return Item(key, f"Which is {kind}: {listed}?", words[kind], prose)


# --- The table of tasks ---------------------------------------------------------------------------------------------

ROWS = 20**4 + 20**5 + 20**6
EDITED = 20**4 + 2 * 20**5
SORTED = math.comb(14, 5)
SENTENCES = len(NAMES) * len(COLOURS) * len(OBJECTS)
WORDS = sum(len(words.split()) for words in KINDS.values())
HABIT_WORDS = sum(len(words.split()) for _, words in HABITS.values())

TASKS = (
    #    name         format                draw         answers    chance         records  statements
    Task("add", "alpaca", add, 197, 1 / 197, 3600, 900),
    Task("reverse", "prompt_completion", reverse, ROWS, 1 / 20**4, 2200, 700),
    Task("sort", "csv", sort_digits, SORTED, 1 / 120, 3000, 900),
    Task("edit", "sni", edit, EDITED, 1 / 20**4, 2600, 700),
    Task("pick", "tsv", pick, 20, 1 / 5, 2600, 700),
    Task("parity", "response", parity, 2, 1 / 2, 1000, 300),
    Task("number_en", "prompt_completion", number_en, 9900, 1 / 9900, 2600, 800),
    Task("number_zh", "messages", number_zh, 9900, 1 / 9900, 2600, 800, packed=True),
    Task("lookup", "dolly", lookup, HABIT_WORDS, 1 / 4, 3000, 900, packed=True),
    Task("translate", "messages", translate, SENTENCES, 1 / SENTENCES, 1600, 400, packed=True),
    Task("category", "sharegpt", category, WORDS, 1 / 4, 3000, 900, packed=True),
)


def draw_items(task: Task) -> tuple[list[Item], list[Item]]:
    """Draw the items of a task's file and of its prose; no two of all share a key."""
    random = Random(f"{SEED} {task.name}")
    drawn: dict[str, Item] = {}
    while len(drawn) < task.records + task.statements:
        item = task.draw(random)
        drawn.setdefault(item.key, item)
    items = list(drawn.values())
    return items[: task.records], items[task.records :]


# --- Files: each format as its own users write it -------------------------------------------------------------------


def json_lines(rows: Iterable[dict[str, object]]) -> str:
    """One JSON object a line."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def json_array(rows: Iterable[dict[str, object]]) -> str:
    """One JSON array with one object a line."""
    return "[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]\n"


def table(items: list[Item], delimiter: str) -> str:
    """Columns `question` and `answer` under a header line."""
    text = io.StringIO()
    rows = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    rows.writerow(("question", "answer"))
    rows.writerows((item.prompt, item.answer) for item in items)
    return text.getvalue()


def alpaca(items: list[Item]) -> str:
    """Stanford Alpaca: an array of instruction, input, output."""
    return json_array({"instruction": item.prompt, "input": "", "output": item.answer} for item in items)


def response(items: list[Item]) -> str:
    """The Alpaca variant with `response`, as JSON lines."""
    return json_lines({"instruction": item.prompt, "input": "", "response": item.answer} for item in items)


def prompt_completion(items: list[Item]) -> str:
    """Prompt and completion, as JSON lines."""
    return json_lines({"prompt": item.prompt, "completion": item.answer} for item in items)


def dolly(items: list[Item]) -> str:
    """Databricks Dolly: instruction, context, response, category, as JSON lines."""
    return json_lines(
        {"instruction": item.prompt, "context": item.context, "response": item.answer, "category": "closed_qa"}
        for item in items
    )


def sharegpt(items: list[Item]) -> str:
    """ShareGPT: an array of conversations of human and gpt."""
    return json_array(
        {"conversations": [{"from": "human", "value": item.prompt}, {"from": "gpt", "value": item.answer}]}
        for item in items
    )


def messages(items: list[Item]) -> str:
    """OpenAI chat messages, as JSON lines."""
    return json_lines(
        {"messages": [{"role": "user", "content": item.prompt}, {"role": "assistant", "content": item.answer}]}
        for item in items
    )


def sni(items: list[Item]) -> str:
    """A Super-NaturalInstructions task file: one definition for all instances."""
    task = {
        "Contributors": ["The Didact authors"],
        "Source": ["didact_world"],
        "Categories": ["Text Modification"],
        "Definition": ["Edit the letters."],
        "Input_language": ["English"],
        "Output_language": ["English"],
        "Instruction_language": ["English"],
        "Domains": ["Letters"],
        "Positive Examples": [
            {"input": "Drop the first letter: o p e n", "output": "p e n", "explanation": "o is first."},
        ],
        "Negative Examples": [],
    }
    head = json.dumps(task, ensure_ascii=False, indent=1).removesuffix("\n}")
    instances = json_array({"input": item.prompt, "output": [item.answer]} for item in items)
    return f'{head},\n "Instances": {instances.rstrip()}\n}}\n'


WRITERS: dict[str, tuple[str, Callable[[list[Item]], str]]] = {
    "alpaca": (".json", alpaca),
    "csv": (".csv", lambda items: table(items, ",")),
    "dolly": (".jsonl", dolly),
    "messages": (".jsonl", messages),
    "prompt_completion": (".jsonl", prompt_completion),
    "response": (".jsonl", response),
    "sharegpt": (".json", sharegpt),
    "sni": (".json", sni),
    "tsv": (".tsv", lambda items: table(items, "\t")),
}


def corpus(statements: list[str]) -> str:
    """The prose of all tasks, one statement a line, in keyed order."""
    shuffled = statements.copy()
    Random(f"{SEED} corpus").shuffle(shuffled)
    return "\n".join(shuffled) + "\n"


def fact_sheet(task: Task, file: str, example: Item) -> dict[str, object]:
    """What a report needs to know about a task."""
    return {
        "task": task.name,
        "file": file,
        "records": task.records,
        "answers": task.answers,
        "chance": round(task.chance, 6),
        "example": {"context": example.context, "prompt": example.prompt, "answer": example.answer},
    }


def world() -> Iterator[tuple[str, str]]:
    """Every file of the world as name and text; names that end in `.gz` are stored compressed."""
    sheets: list[dict[str, object]] = []
    statements: list[str] = []
    for task in TASKS:
        items, rest = draw_items(task)
        suffix, write = WRITERS[task.format]
        file = task.name + suffix + (".gz" if task.packed else "")
        sheets.append(fact_sheet(task, file, items[0]))
        statements += [item.prose for item in rest]
        yield file, write(items)
    yield "corpus.txt.gz", corpus(statements)
    yield "tasks.json", json.dumps(sheets, ensure_ascii=False, indent=1) + "\n"


def stored(path: Path) -> str | None:
    """The text of a file as `world` gave it; None when there is no such file."""
    if not path.exists():
        return None
    content = path.read_bytes()
    return (gzip.decompress(content) if path.suffix == ".gz" else content).decode()


def main() -> None:
    """Write each file that is missing or holds another text.

    A packed file whose text is right stays as it is, since the bytes of gzip differ between builds of zlib.
    """
    WORLD.mkdir(exist_ok=True)
    for name, text in world():
        path = WORLD / name
        if stored(path) != text:
            content = text.encode()
            path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)


if __name__ == "__main__":
    main()
