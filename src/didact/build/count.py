"""Count: the tokenizer, trained on the training split, and the tokens of every training row under it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from didact.build.rows import ChunkResult, Rows
from didact.build.stage_results import Result, StageResults
from didact.build.wording import dialogue, messages_column, plain_texts, stand_ins, tools_json
from didact.curate.order import I64, keyed_order
from didact.engine.base import Engine
from didact.engine.chunks import MadeFrom
from didact.recipe.load import Recipe
from didact.recipe.mixes import Purpose
from didact.recipe.tokenizing import TokenizerSettings
from didact.records import Header
from didact.records.forms import forms_of
from didact.remote.folder import Folder
from didact.render.renderer import renderer_of
from didact.render.tokenizer import Tokenizer, train_tokenizer


def make_tokenizer(
    rows: Rows, train: I64, recipe: Recipe, settings: TokenizerSettings, base: Path, folder: Path
) -> Tokenizer:
    """Write the recipe's tokenizer into a folder: an existing file's, or a new one.

    It learns from a keyed sample of the training split, before mixing; rows that every mix leaves out take part.
    """
    if settings.file is not None:
        found = train_tokenizer([], settings.model_copy(update={"file": base / settings.file}))
    else:
        found = train_tokenizer(_sample(rows, train, settings.sample_bytes, f"{recipe.seed}"), settings)
    found.save(folder)
    return found


def _sample(rows: Rows, train: I64, size: int, key: str) -> Iterator[str]:
    """Texts of keyed training rows until `size` bytes are reached, in canonical order."""
    order = train[keyed_order(rows.ids[train], key, "tokenizer")]
    reached = np.cumsum(rows.column("size")[order])
    chosen = np.sort(order[: int(np.searchsorted(reached, size)) + 1])
    for chunk, _, inside in rows.by_chunk(chosen):
        yield from chunk.texts_of(inside).texts.to_pylist()


@dataclass(frozen=True, slots=True)
class CountTask:
    """Rows of one chunk to count for one purpose."""

    chunk: ChunkResult
    inside: I64
    places: I64
    purpose: Purpose
    headers: dict[str, Header]
    tokenizer: Folder

    @property
    def about(self) -> str:
        """Which rows these are, for messages."""
        return f"counting chunk {self.chunk.ordinal} of source '{self.chunk.source}' for '{self.purpose}'"


def count_chunk(task: CountTask) -> tuple[I64, I64]:
    """Tokens and trained tokens of the task's rows, as the renderer will lay them out."""
    tokenizer = loaded_tokenizer(task.tokenizer)
    forms = forms_of(task.chunk.table("records").take(pa.array(task.inside)), stand_ins(task.headers))
    if task.purpose == "pretrain":
        # The marks at both ends; the one that begins a document is the only token nothing predicts.
        tokens = tokenizer.count_batch(plain_texts(forms, task.headers)).astype(np.int64) + 2
        return tokens, tokens - 1
    lengths = renderer_of(tokenizer).lengths(
        messages_column(forms, partial(dialogue, headers=task.headers)),
        forms.column(tools_json).dictionary_decode(),
        refused=[],  # not to be rendered, so without tokens; the token shards count them by reason
    )
    return lengths.tokens.astype(np.int64), lengths.trained.astype(np.int64)


_TOKENIZERS: dict[Folder, Tokenizer] = {}
"""Tokenizers this worker has loaded; loading one costs as much as counting a thousand records."""


def loaded_tokenizer(folder: Folder) -> Tokenizer:
    """The tokenizer of a folder, loaded once in each worker."""
    if folder not in _TOKENIZERS:
        _TOKENIZERS[folder] = Tokenizer.load(folder.whole())
    return _TOKENIZERS[folder]


@dataclass(frozen=True, slots=True)
class Counts:
    """Tokens and trained tokens of every row for one purpose; 0 for rows that were not counted."""

    tokens: I64
    trained: I64

    def result(self, chosen: I64) -> Result:
        """Those of some rows, to be put on file."""
        return Result(pa.table({"tokens": self.tokens[chosen], "trained": self.trained[chosen]}), {})


Wanted = tuple[Purpose, str]
"""A purpose and a source whose training rows are counted for it."""


def count_rows(
    engine: Engine,
    rows: Rows,
    wanted: Mapping[Wanted, I64],
    headers: dict[str, Header],
    tokenizer: Folder,
    results: StageResults,
    made_from: Callable[[Purpose, str], MadeFrom],
) -> dict[Purpose, Counts]:
    """Count the wanted rows for each purpose; counts that are on file are read."""
    missing = {key: chosen for key, chosen in wanted.items() if not results.has(made_from(*key))}
    tasks = (task for key, chosen in missing.items() for task in _tasks(rows, key[0], chosen, headers, tokenizer))
    counts = {purpose: Counts(np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)) for purpose, _ in wanted}
    for task, (tokens, trained) in engine.map(count_chunk, tasks):
        counts[task.purpose].tokens[task.places] = tokens
        counts[task.purpose].trained[task.places] = trained
    for key, chosen in wanted.items():
        own = counts[key[0]]
        table = results.table(made_from(*key), partial(own.result, chosen)).table
        own.tokens[chosen], own.trained[chosen] = (table[name].to_numpy() for name in ("tokens", "trained"))
    return counts


def _tasks(
    rows: Rows, purpose: Purpose, chosen: I64, headers: dict[str, Header], tokenizer: Folder
) -> Iterator[CountTask]:
    for chunk, places, inside in rows.by_chunk(chosen):
        yield CountTask(chunk, inside, chosen[places], purpose, headers, tokenizer)
