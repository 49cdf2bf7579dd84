"""A recipe and a small data file to start from, for `didact init`."""

from __future__ import annotations

from pathlib import Path

import orjson

from didact.durable import write_atomic
from didact.errors import CallError

_RECIPE = """\
# A recipe says everything a build and a run depend on. `didact schema recipe` describes every key.
name: starter
seed: 1
store: ./store
sources:
  colours: {path: colours.jsonl, format: alpaca, license: CC0-1.0}
filters:
  - {signal: response.words, min: 1}
split: {validation: 0.1, test: 0.1}
tokenizer: {vocab_size: 512}
mixes:
  finetune: {sources: {colours: {epochs: 1}}}
model: {depth: 2, context: 64}
finetune: {epochs: 4, batch_tokens: 1024}
evaluate:
  tasks: [{name: held-out, split: test, metric: exact_match, max_tokens: 16}]
"""

_COLOURS = ("red", "blue", "green", "yellow", "white", "black", "brown", "grey")
_THINGS = ("kite", "boat", "drum", "lamp", "chair", "bowl", "scarf", "gate", "cart", "bell", "flag", "coat")
_NAMES = ("Ann", "Bob", "Eve", "Tom")


def starter_rows() -> list[dict[str, str]]:
    """Small questions of one kind: who has a thing of which colour."""
    return [
        {"instruction": f"What colour is the {thing}?", "input": f"{name} has a {colour} {thing}.", "output": colour}
        for name in _NAMES
        for thing in _THINGS
        for colour in _COLOURS
    ]


def write_starter(folder: Path) -> list[Path]:
    """Write recipe and data. Raises CallError rather than overwrite a recipe."""
    recipe, data = folder / "recipe.yaml", folder / "colours.jsonl"
    for path in (recipe, data):
        if path.exists():
            raise CallError(f"{path}: exists already; choose another folder or remove it")
    write_atomic(data, b"".join(orjson.dumps(row) + b"\n" for row in starter_rows()))
    write_atomic(recipe, _RECIPE.encode())
    return [recipe, data]
