"""MinHash signatures: Didact's kernels and datasketch, 128 permutations, shingles of five words, one core each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
from datasketch import MinHash
from numpy.typing import NDArray

from benchmarks.material import Row
from benchmarks.rounds import Comparison, compare
from didact.curate.minhash import signatures
from didact.text.tokens import shingles
from didact.text.views import View

PERMUTATIONS = 128
_NGRAM = 5
_WORD = re.compile(r"\w+")


def run(rows: list[Row], rounds: int) -> list[Comparison]:
    """First the signatures of the same shingle hashes, which must be equal bits; then the whole way from texts."""
    texts = [f"{row['instruction']} {row['input']} {row['output']}" for row in rows]
    view = View.of_texts(pa.array(texts))
    hashes, offsets = shingles(view, _NGRAM)
    low = [hashes[start:end].astype(np.uint32).tolist() for start, end in pairwise(offsets)]
    if not (signatures(hashes, offsets, PERMUTATIONS) == _by_datasketch(low, _same)).all():
        raise SystemExit("minhash: the signatures differ from datasketch's")
    from_hashes = {
        "didact signatures": lambda: len(signatures(hashes, offsets, PERMUTATIONS)),
        "datasketch update_batch": lambda: len(_by_datasketch(low, _same)),
    }
    from_texts = {
        "didact shingles and signatures": lambda: len(signatures(*shingles(view, _NGRAM), PERMUTATIONS)),
        "re and datasketch with its own hash": lambda: len(_by_datasketch(map(_ngrams, texts), None)),
    }
    found = compare("MinHash: shingle hashes to signatures", "records", from_hashes, rounds)
    found.notes.append(f"all {len(low):,} signatures are bit-identical, of {np.diff(offsets).mean():.0f} shingles each")
    return [found, compare("MinHash: texts to signatures", "records", from_texts, rounds)]


def _same(hash_value: int) -> int:
    """Shingles are hashed already; datasketch wants a hash function all the same."""
    return hash_value


def _ngrams(text: str) -> list[bytes]:
    """Shingles as a careful user writes them, each once."""
    words = _WORD.findall(text.lower())
    count = max(1, len(words) - _NGRAM + 1)
    return [shingle.encode() for shingle in {" ".join(words[at : at + _NGRAM]) for at in range(count)}]


def _by_datasketch(
    sets: Iterable[Sequence[int]] | Iterable[Sequence[bytes]], hashed: Callable[[int], int] | None
) -> NDArray[np.uint32]:
    options = {} if hashed is None else {"hashfunc": hashed}
    # The permutations are handed over: drawing them anew for each record would take longer than using them.
    shared = MinHash(PERMUTATIONS, seed=1, scheme="affine32", **options).permutations
    out = []
    for shingled in sets:
        made = MinHash(PERMUTATIONS, seed=1, scheme="affine32", permutations=shared, **options)
        made.update_batch(shingled)
        out.append(made.hashvalues)
    return np.stack(out)
