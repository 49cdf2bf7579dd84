"""The side columns of a chunk: what later decisions need of its records, one row for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from didact.build.assemble import KIND_CODES
from didact.build.compare import compared_views, view_of
from didact.curate.minhash import band_keys, choose_bands, signatures
from didact.curate.order import U64, mixed
from didact.curate.signals import measure
from didact.recipe.selection import MinHashSettings
from didact.records.table import in_one_piece
from didact.text.fingerprints import number_fingerprints, text_fingerprints
from didact.text.tokens import have_tokens, shingles, words_of
from didact.text.views import Segments


def side_columns(
    table: pa.Table, keys: list[bytes], source: str, signals: Sequence[str], minhash: MinHashSettings | None
) -> pa.Table:
    """What later decisions need of a chunk's records, one row for each. keys: their content keys."""
    segments = Segments.from_arrow(in_one_piece(table["segments"]))
    segments = replace(segments, words=words_of(segments.view("whole")))
    columns: dict[str, pa.Array] = {
        "id": in_one_piece(table["id"]),
        "size": pa.array(np.diff(segments.text_offsets[segments.record_offsets]).astype(np.int64)),
        "content": pa.array(keys, pa.binary(16)),
        "kind_code": pc.index_in(in_one_piece(table["kind"]).cast(pa.string()), pa.array(KIND_CODES)).cast(pa.int8()),
        "prompt_key": pa.array(_prompt_keys(segments, table["header"])),
        "response_key": pa.array(text_fingerprints(segments.view("response"))),
        "group_key": pa.array(_keys(source, table["group"])),
        "task_key": pa.array(_keys("", table["task"], source)),
    }
    columns |= {name: pa.array(values) for name, values in measure(segments, signals).items()}
    return pa.table(columns | _signature_columns(segments, minhash))


def _prompt_keys(segments: Segments, headers: pa.ChunkedArray) -> U64:
    """Hash of each record's prompt, header included and up to white space; 0 where the user says nothing."""
    view = segments.view("prompt")
    own = text_fingerprints(view)
    return np.where(have_tokens(view), mixed(own ^ _keys("header", headers), 0), np.uint64(0))


def _keys(source: str, names: pa.ChunkedArray, unnamed: str | None = None) -> U64:
    """A hash of each name within a source; 0 without a name. unnamed: what stands for names that are empty or null."""
    coded = in_one_piece(names).dictionary_encode()
    known = [name if unnamed is None else name or unnamed for name in coded.dictionary.to_pylist()]
    keys = np.array([_key(source, name) for name in (*known, unnamed)], np.uint64)
    return keys[pc.fill_null(coded.indices, len(known)).to_numpy()]


def _key(source: str, name: str | None) -> int:
    return 0 if name is None else xxhash.xxh3_64_intdigest(f"{source}\0{name}".encode())


def _signature_columns(segments: Segments, settings: MinHashSettings | None) -> dict[str, pa.Array]:
    """Number of shingles, signature and band keys of each record; none when near-duplicates are not looked for."""
    if settings is None:
        return {}
    view = view_of(segments, compared_views(settings))
    hashes, offsets = shingles(view, settings.ngram)
    signed = signatures(hashes, offsets, settings.permutations)
    bands = choose_bands(settings.threshold, settings.permutations)
    keyed = band_keys(signed, bands)
    return {
        "numbers_key": pa.array(number_fingerprints(view)),
        "shingles": pa.array(np.diff(offsets)),
        "signature": pa.FixedSizeListArray.from_arrays(pa.array(signed.reshape(-1)), settings.permutations),
        "bands": pa.FixedSizeListArray.from_arrays(pa.array(keyed.reshape(-1)), bands.count),
    }
