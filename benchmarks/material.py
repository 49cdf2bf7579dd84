"""What the benchmarks run on: a file of instructions that the user names, or synthetic ones of the same lengths."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TypedDict

import orjson

import didact

_WORDS = 20_000
"""Words of the synthetic language; with frequencies by rank, as in real text (Zipf)."""
_SYLLABLES = ("ba", "den", "for", "gi", "ka", "lo", "mer", "or", "qui", "ras", "sto", "tion", "un", "ver")


class Row(TypedDict):
    """One instruction in the Alpaca format."""

    instruction: str
    input: str
    output: str


def instructions(data: Path | None, count: int) -> list[Row]:
    """Rows from any file that Didact reads, the first `count` of them; synthetic ones without a file."""
    if data is None:
        return synthetic(count)
    rows = []
    for record in didact.read(data, limit=count, findings=[]):
        turns = record.dialogue()
        prompt = "\n\n".join(turn["content"] for turn in turns if turn["role"] == "user")
        answer = "\n\n".join(turn["content"] for turn in turns if turn["role"] == "assistant")
        rows.append(Row(instruction=prompt, input="", output=answer))
    return rows


def synthetic(count: int, seed: int = 1) -> list[Row]:
    """Instructions of about 12 words and answers of about 45, a tenth of them near-copies of an earlier one."""
    rng = random.Random(seed)
    words, weights = made_up_words(rng)
    rows: list[Row] = []
    for _ in range(count):
        if rows and rng.random() < 0.1:
            rows.append(_copied(rng.choice(rows), rng))
            continue
        said = rng.choices(words, weights, k=12 + min(400, int(rng.lognormvariate(3.4, 0.9))))
        given = " ".join(said[8:12]) if rng.random() < 0.4 else ""
        rows.append(Row(instruction=_sentence(said[:8]), input=given, output=_sentence(said[12:])))
    return rows


def made_up_words(rng: random.Random) -> tuple[list[str], list[float]]:
    """The words of the synthetic language and their weights by rank."""
    return [_word(rng) for _ in range(_WORDS)], [1 / (rank + 3) for rank in range(_WORDS)]


def _word(rng: random.Random) -> str:
    return "".join(rng.choices(_SYLLABLES, k=rng.randint(1, 4)))


def _sentence(words: list[str]) -> str:
    return " ".join(words).capitalize() + "."


def _copied(row: Row, rng: random.Random) -> Row:
    """The row with one word of its answer changed."""
    words = row["output"].split()
    words[rng.randrange(len(words))] = _word(rng)
    return Row(instruction=row["instruction"], input=row["input"], output=" ".join(words))


def write_jsonl(rows: list[Row], path: Path) -> Path:
    """The rows as JSON lines."""
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return path
