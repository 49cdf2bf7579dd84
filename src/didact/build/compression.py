"""How well the tokenizer fits the data: bytes of text behind a token, by source and language."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from didact.build.count import loaded_tokenizer
from didact.build.rows import ChunkResult, Rows
from didact.curate.order import I64, keyed_order
from didact.engine.base import Engine
from didact.records.table import texts_column, zeroed_offsets
from didact.remote.folder import Folder
from didact.render.byte_pairs import text_buffers
from didact.store.manifest import Compression
from didact.text.scripts import script_of

SAMPLED = 500_000
"""Bytes of text looked at in each source. Of the sources of docs/examples/real.yaml no ratio differs by more than 0.6 %
from that of 2 MB, for which encoding took a tenth of the time of all counts."""


@dataclass(frozen=True, slots=True)
class FitTask:
    """Rows of one chunk whose texts are encoded."""

    chunk: ChunkResult
    inside: I64
    tokenizer: Folder


Sums = dict[str, tuple[int, int, int]]
"""By language: records, bytes of text and tokens."""


def fit_chunk(task: FitTask) -> Sums:
    """Records, bytes and tokens of the task's rows by language; a text's marks are not counted, they are no text."""
    table = task.chunk.table("records").take(pa.array(task.inside)).combine_chunks()
    segments = table["segments"].combine_chunks()
    texts, bounds = texts_column(segments), zeroed_offsets(segments).to_numpy()
    tokens = np.concatenate([[0], np.cumsum(loaded_tokenizer(task.tokenizer).count_batch(texts))])
    size = text_buffers(texts)[1]
    sizes, counts = np.diff(size[bounds]), np.diff(tokens[bounds])
    rows = zip(table["language"].to_pylist(), itertools.pairwise(bounds.tolist()), strict=True)
    names = [stated or _unstated("".join(texts[first:last].to_pylist())) for stated, (first, last) in rows]
    languages, places = np.unique(np.array(names, object), return_inverse=True)
    return {
        language: (int((places == place).sum()), int(sizes[places == place].sum()), int(counts[places == place].sum()))
        for place, language in enumerate(languages.tolist())
    }


def _unstated(text: str) -> str:
    """What stands for a language nobody stated."""
    script = script_of(text)
    return "unknown" if script is None else f"unknown, {script} script"


def compression(engine: Engine, rows: Rows, train: I64, tokenizer: Folder, seed: int) -> list[Compression]:
    """How the tokenizer fits a keyed sample of each source's training rows, by source and language, in their order."""
    found: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for task, sums in engine.map(fit_chunk, _tasks(rows, train, tokenizer, f"{seed}")):
        for language, counts in sums.items():
            of = found[task.chunk.source, language]
            of[:] = [old + new for old, new in zip(of, counts, strict=True)]
    return [
        Compression(source=source, language=language, records=records, bytes=size, tokens=tokens)
        for (source, language), (records, size, tokens) in sorted(found.items())
    ]


def _tasks(rows: Rows, train: I64, tokenizer: Folder, key: str) -> Iterator[FitTask]:
    for source in range(len(rows.sources)):
        own = train[rows.source[train] == source]
        order = own[keyed_order(rows.ids[own], key, "compression")]
        reached = np.cumsum(rows.column("size")[order])
        chosen = np.sort(order[: int(np.searchsorted(reached, SAMPLED)) + 1])
        for chunk, _, inside in rows.by_chunk(chosen):
            yield FitTask(chunk, inside, tokenizer)
