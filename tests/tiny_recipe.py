"""A little of everything a build meets, written as files, and a recipe over it."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from didact.build.pipeline import build
from didact.durable import sha256_file
from didact.store.version import Version

_WORDS = """apple river stone candle window garden silver market winter letter button bridge forest kettle ladder
mirror pepper rocket saddle ticket violet walnut yellow zipper anchor basket copper dragon engine feather"""

ALPACA, TWINS, NEAR = 60, 5, 4
"""Different rows of the alpaca file, exact copies among the others, near copies among the others."""


def sentence(chance: random.Random, words: int) -> str:
    """Words in random order, as a sentence."""
    return " ".join(chance.choices(_WORDS.split(), k=words)).capitalize() + "."


def alpaca_rows() -> list[Any]:
    """Good rows, exact and near copies, one without an answer, one that is no object."""
    chance = random.Random(3)
    good = [
        {"instruction": f"Tell story {i}: {sentence(chance, 12)}", "input": "", "output": sentence(chance, 60)}
        for i in range(ALPACA)
    ]
    near = [row | {"output": row["output"].removesuffix(".") + " indeed."} for row in good[10 : 10 + NEAR]]
    empty = {"instruction": "Say nothing at all.", "input": "", "output": ""}
    return [*good, *good[:TWINS], *near, empty, "no object"]


def gsm8k_lines() -> list[str]:
    """Worked sums, and one line that is no JSON."""
    sums = [
        {
            "question": f"Ann has {n} pens and buys {n + 2}. How many?",
            "answer": f"She has <<{n}+{n + 2}={2 * n + 2}>>{2 * n + 2}.\n#### {2 * n + 2}",
        }
        for n in range(20)
    ]
    return [*map(json.dumps, sums[:12]), '{"question": "Half a row', *map(json.dumps, sums[12:])]


def prose() -> str:
    """Paragraphs, one in a line."""
    chance = random.Random(5)
    return "".join(sentence(chance, 25) + "\n" for _ in range(24))


def write_inputs(folder: Path) -> None:
    """Write the input files; each is small."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "alpaca.json").write_text(json.dumps(alpaca_rows(), indent=1), encoding="utf-8")
    (folder / "sums.jsonl").write_text("\n".join(gsm8k_lines()) + "\n", encoding="utf-8")
    (folder / "prose.txt").write_text(prose(), encoding="utf-8")
    (folder / "empty.jsonl").write_bytes(b"")


def tiny(folder: Path, **changes: Any) -> dict[str, Any]:
    """A recipe over the files in `folder`, its store beside them; `changes` replace whole sections."""
    sources = {
        "stories": {"path": str(folder / "alpaca.json"), "format": "alpaca", "license": "CC0-1.0"},
        "sums": {"path": [str(folder / "sums.jsonl"), str(folder / "empty.jsonl")], "format": "gsm8k"},
        "prose": {"path": str(folder / "prose.txt"), "format": "text", "unit": "line"},
    }
    recipe = {
        "name": "tiny",
        "seed": 3,
        "store": str(folder / "store"),
        "sources": sources,
        "filters": [{"signal": "response.words", "min": 1, "sources": ["stories", "sums"]}],
        "split": {"validation": 0.1, "test": 0.1},
        "tokenizer": {"vocab_size": 384},
        "mixes": {
            "finetune": {"sources": {"stories": {"epochs": 1}, "sums": {"epochs": 1}}},
            "pretrain": {"sources": {"prose": {"epochs": 1}}},
        },
    }
    return recipe | changes


def build_tiny(folder: Path, **changes: Any) -> Version:
    """Build the recipe in this process."""
    if not (folder / "alpaca.json").exists():
        write_inputs(folder)
    return build(tiny(folder, **changes), workers=1)


def lost(version: Version) -> dict[str, int]:
    """Lost rows by reason or code, over all stages and sources."""
    found: dict[str, int] = {}
    for account in version.manifest.accounting:
        for reason, count in [*account.dropped.items(), *account.rejected.items()]:
            found[reason] = found.get(reason, 0) + count
    return found


def bytes_of(version: Version) -> Mapping[str, str]:
    """SHA-256 of every file of a version, the manifest too."""
    files = (path for path in version.path.rglob("*") if path.is_file())
    return {str(path.relative_to(version.path)): sha256_file(path) for path in sorted(files)}
