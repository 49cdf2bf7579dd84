"""Counting tokens: Didact's byte-pair kernel and the `tokenizers` library on the same vocabulary, one thread each."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pyarrow as pa
import tokenizers

from benchmarks.material import Row
from benchmarks.rounds import Comparison, compare
from didact.recipe.tokenizing import TokenizerSettings
from didact.render.tokenizer import train_tokenizer


def run(rows: list[Row], rounds: int) -> list[Comparison]:
    """Ids of all answers and prompts; both must give the same number."""
    os.environ["RAYON_NUM_THREADS"] = "1"
    texts = [text for row in rows for text in row.values() if isinstance(text, str) and text]
    made = train_tokenizer(texts, TokenizerSettings(vocab_size=4096, sample_bytes=2_000_000))
    with tempfile.TemporaryDirectory() as folder:
        made.save(Path(folder))
        library = tokenizers.Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
    column = pa.array(texts, pa.string())

    def by_library() -> int:
        return sum(len(encoding.ids) for encoding in library.encode_batch(texts, add_special_tokens=False))

    def by_kernel() -> int:
        return int(made.count_batch(column).sum())

    if by_library() != by_kernel():
        raise SystemExit("tokenizer: the counts differ from those of the tokenizers library")
    contenders = {"didact count_batch": by_kernel, "tokenizers encode_batch": by_library}
    return [compare("Count tokens", "tokens", contenders, rounds)]
