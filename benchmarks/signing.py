"""MinHash signatures: Didact's kernel and datasketch, 128 permutations, shingles of five words, one core each."""

from __future__ import annotations

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


def _same(hash_value: int) -> int:
    """Shingles are hashed already; datasketch wants a hash function all the same."""
    return hash_value


def _by_datasketch(low: list[list[int]], shared: MinHash) -> NDArray[np.uint32]:
    out = np.empty((len(low), PERMUTATIONS), np.uint32)
    for place, hashes in enumerate(low):
        # The permutations are handed over: drawing them anew for each record would take longer than using them.
        made = MinHash(PERMUTATIONS, seed=1, scheme="affine32", hashfunc=_same, permutations=shared.permutations)
        made.update_batch(hashes)
        out[place] = made.hashvalues
    return out


def run(rows: list[Row], rounds: int) -> list[Comparison]:
    """Signatures from shingle hashes for both, then Didact's whole way from text; both must give equal bits."""
    view = View.of_texts(pa.array([f"{row['instruction']} {row['input']} {row['output']}" for row in rows]))
    hashes, offsets = shingles(view, _NGRAM)
    low = [hashes[a:b].astype(np.uint32).tolist() for a, b in zip(offsets[:-1], offsets[1:], strict=True)]
    shared = MinHash(PERMUTATIONS, seed=1, scheme="affine32", hashfunc=_same)
    if not (signatures(hashes, offsets, PERMUTATIONS) == _by_datasketch(low, shared)).all():
        raise SystemExit("minhash: the signatures differ from datasketch's")

    contenders = {
        "didact, hashes to signatures": lambda: len(signatures(hashes, offsets, PERMUTATIONS)),
        "datasketch update_batch, hashes to signatures": lambda: len(_by_datasketch(low, shared)),
        "didact, texts to signatures": lambda: len(signatures(*shingles(view, _NGRAM), PERMUTATIONS)),
    }
    found = compare("MinHash signatures", "records", contenders, rounds)
    found.notes.append(
        f"all {len(low):,} signatures are bit-identical; {np.diff(offsets).mean():.0f} shingles a record"
    )
    return [found]
