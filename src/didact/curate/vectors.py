"""Vector files: one float32 vector for each text, made by `didact embed`, and exact search among them.

DIR/vectors.npy     (n, dimension) float32, in the order of the texts
    ids.npy         (n, 16) uint8, the id of the record each text is of
    manifest.json   written last: format, model and its digest, pooling, dimension, normalised, view, counts, files

Nothing here needs torch: whoever compares texts by their vectors reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from didact.durable import read_json, sha256_file
from didact.errors import StoreError

FORMAT = 1
_ARRAYS = ("vectors.npy", "ids.npy")
_SCORES_AT_ONCE = 1 << 24
"""Similarities computed at once: 64 MB."""


class Nearest(NamedTuple):
    """For each of m queries the k most similar vectors, the most similar first; among equals the first.

    places: (m, k) int64. similarities: (m, k) float32, cosines.
    """

    places: NDArray[np.int64]
    similarities: NDArray[np.float32]


@dataclass(frozen=True)
class Vectors:
    """An opened vector file.

    vectors: (n, dimension) float32, mapped. ids: (n, 16) uint8. described: the manifest.
    """

    vectors: NDArray[np.float32]
    ids: NDArray[np.uint8]
    described: dict[str, Any]

    def __len__(self) -> int:
        return len(self.vectors)

    def id(self, place: int) -> str:
        """Id of the record at a place, 32 hex digits."""
        return self.ids[place].tobytes().hex()

    def nearest(self, queries: NDArray[np.float32], k: int = 1) -> Nearest:
        """The k vectors of highest cosine for each query, (m, dimension), by comparing with all of them.

        A vector of length zero is similar to nothing (cosine 0). Raises StoreError when the dimensions differ.
        """
        if queries.ndim != 2 or queries.shape[1] != self.vectors.shape[1]:
            raise StoreError(
                f"queries of shape {queries.shape} do not fit vectors of {self.vectors.shape[1]} numbers; embed them "
                "with the same model"
            )
        k = min(k, len(self))
        places = np.zeros((len(queries), k), np.int64)
        cosines = np.full((len(queries), k), -np.inf, np.float32)
        asked = _unit(queries)
        at_once = max(1, _SCORES_AT_ONCE // max(1, len(queries)))
        for start in range(0, len(self), at_once):
            scores = asked @ _unit(self.vectors[start : start + at_once]).T
            found = np.broadcast_to(np.arange(start, start + scores.shape[1]), scores.shape)
            both, known = np.concatenate([cosines, scores], 1), np.concatenate([places, found], 1)
            best = np.argsort(-both, axis=1, kind="stable")[:, :k]
            cosines, places = np.take_along_axis(both, best, 1), np.take_along_axis(known, best, 1)
        return Nearest(places, cosines)


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    length = np.sqrt((vectors.astype(np.float64) ** 2).sum(-1, keepdims=True))
    unit: NDArray[np.float32] = (vectors / np.maximum(length, np.finfo(np.float32).tiny)).astype(np.float32)
    return unit


def read_vectors(path: str | Path, verify: bool = False) -> Vectors:
    """Open a vector file; nothing is loaded before it is used.

    verify: hash both arrays first. Raises StoreError when it is not whole or, with `verify`, was changed.
    """
    folder = Path(path)
    described = read_json(folder / "manifest.json")
    if described.get("format") != FORMAT:
        raise StoreError(f"{folder}: expected vector format {FORMAT}, found {described.get('format')!r}; embed again")
    for file in described["files"]:
        place = folder / file["path"]
        if not place.is_file() or place.stat().st_size != file["bytes"]:
            raise StoreError(f"{place}: expected {file['bytes']} bytes; embed again")
        if verify and sha256_file(place) != file["sha256"]:
            raise StoreError(f"{place}: content changed; embed again")
    try:
        vectors, ids = (np.load(folder / name, mmap_mode="r", allow_pickle=False) for name in _ARRAYS)
    except (OSError, ValueError) as error:
        raise StoreError(f"{folder}: not readable as .npy files ({error}); embed again") from error
    if vectors.shape != (described["count"], described["dimension"]) or ids.shape != (described["count"], 16):
        raise StoreError(f"{folder}: arrays do not fit the manifest; embed again")
    return Vectors(vectors, ids, described)
