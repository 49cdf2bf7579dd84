"""Layouts: token shards once more, in the files that other trainers read.

nanogpt    MIX/train.bin, val.bin, test.bin: the ids of all records end to end, little-endian uint16, nothing else.
megatron   MIX/SPLIT_text_document.bin, ids end to end, uint16 or int32, and .idx beside it: where each record is.
layout.json                     written with them: what they hold, and size and SHA-256 of each
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike

from didact.canonical import content_hash
from didact.durable import atomic_dir, locked, read_json, remove_asides, write_json
from didact.errors import CallError, UnknownName
from didact.render.token_shards import LOCK, TokenShards, file_entry, tokens_checksum, tokens_manifest
from didact.render.tokenizer import Tokenizer

Layout = Literal["nanogpt", "megatron"]

LAYOUT = "layout.json"
"""A layout's own manifest."""

_VERSION = 1
_IDS_AT_ONCE = 1 << 22

_NANOGPT_NAMES = {"train": "train.bin", "validation": "val.bin", "test": "test.bin"}
_MEGATRON_MAGIC, _MEGATRON_VERSION = b"MMIDIDX\x00\x00", 1
_MEGATRON_CODES = {np.dtype("<u2"): 8, np.dtype("<i4"): 4}
"""Numbers by which an index names the type of the ids (megatron/core/datasets/indexed_dataset.py)."""
_MEGATRON_SMALL = 65_500
"""Below this vocabulary Megatron's own tools write uint16."""


def write_layout(tokens: Path, tokenizer: Tokenizer, layout: Layout, mixes: Sequence[str] = ()) -> Path:
    """Write mixes of a folder of token shards in a layout; returns the folder, `layouts/LAYOUT` in that of the shards.

    mixes: none: all of plain text. No layout has room for loss weights, so dialogues are written only when their mix is
    named, and every id of theirs counts for whoever reads them. Done already, nothing is written.
    Raises CallError for a mix of preferences and for a vocabulary that the layout cannot number, UnknownName for a mix
    that is not there.
    """
    manifest = tokens_manifest(tokens)
    chosen = _chosen(manifest["mixes"], mixes)
    if layout == "nanogpt" and manifest["vocab_size"] > 1 << 16:
        raise CallError(
            f"nanoGPT reads ids of 16 bits, and the vocabulary has {manifest['vocab_size']:,} ids; write --layout "
            "megatron, or take a tokenizer of at most 65,536"
        )
    folder = tokens / "layouts" / layout
    key = content_hash([_VERSION, manifest["key"], chosen])
    if (folder / LAYOUT).is_file() and read_json(folder / LAYOUT)["key"] == key:
        return folder
    with locked(tokens / LOCK, lambda: None), _alone(folder) as aside:
        written = {mix: _write_mix(tokens, mix, aside / mix, layout, manifest["vocab_size"]) for mix in chosen}
        files = [file_entry(path, aside) for path in sorted(aside.rglob("*")) if path.is_file()]
        told = {"layout": f"didact/layout/{layout}/{_VERSION}", "key": key, "mixes": written, "files": files}
        ids = {"begins_with": tokenizer.bos_id, "ends_with": tokenizer.end_of_text_id}
        told |= {"vocab_size": manifest["vocab_size"], "records_of_plain_text": ids}
        write_json(aside / LAYOUT, told | {"checksum": tokens_checksum(told)})
    return folder


@contextmanager
def _alone(folder: Path) -> Iterator[Path]:
    """Fill a folder aside, after what killed calls left of it."""
    remove_asides(folder.parent)
    with atomic_dir(folder) as aside:
        yield aside


def _chosen(there: dict[str, Any], named: Sequence[str]) -> list[str]:
    columns = {mix: next(iter(splits.values()))["column"] for mix, splits in there.items()}
    for mix in named:
        if mix not in columns:
            raise UnknownName("mix", mix, columns, where="token shards")
        if columns[mix] == "chosen":
            raise CallError(f"mix '{mix}' holds pairs of answers, for which no layout has room; name another")
    chosen = sorted(set(named)) or sorted(mix for mix, column in columns.items() if column == "text")
    if not chosen:
        raise CallError(
            "no mix holds plain text, and no layout has room for loss weights; name a mix of dialogues with --mix to "
            "write its ids without them"
        )
    return chosen


def _write_mix(tokens: Path, mix: str, folder: Path, layout: Layout, vocab_size: int) -> dict[str, Any]:
    """Every split of a mix that has a record."""
    folder.mkdir()
    write = _WRITERS[layout]
    shards = {split: TokenShards.open(tokens, mix, split) for split in tokens_manifest(tokens)["mixes"][mix]}
    for split, own in shards.items():
        if len(own):
            write(own, folder, split, vocab_size)
    return {split: {"records": len(own), "tokens": len(own.ids)} for split, own in shards.items() if len(own)}


def _nanogpt(shards: TokenShards, folder: Path, split: str, vocab_size: int) -> None:
    """What nanoGPT's data/*/prepare.py writes and its train.py maps; the vocabulary was looked at before."""
    del vocab_size
    _write_ids(shards, folder / _NANOGPT_NAMES[split], "<u2")


def _megatron(shards: TokenShards, folder: Path, split: str, vocab_size: int) -> None:
    """What Megatron's indexed_dataset.py maps: a record is a document of one sequence.

    .idx: magic (9 bytes), version (uint64), type of ids (uint8), sequences (uint64), documents and one (uint64), then
    of each sequence its length (int32) and its place in .bin (int64, bytes), and at which sequence each document begins
    (int64, with the end).
    """
    dtype = np.dtype("<u2") if vocab_size < _MEGATRON_SMALL else np.dtype("<i4")
    _write_ids(shards, folder / f"{split}_text_document.bin", dtype)
    count = len(shards)
    with (folder / f"{split}_text_document.idx").open("wb") as index:
        index.write(_MEGATRON_MAGIC)
        index.write(np.array(_MEGATRON_VERSION, "<u8").tobytes())
        index.write(np.array(_MEGATRON_CODES[dtype], "<u1").tobytes())
        index.write(np.array([count, count + 1], "<u8").tobytes())
        index.write(shards.lengths.astype("<i4").tobytes())
        index.write((shards.bounds[:-1] * dtype.itemsize).astype("<i8").tobytes())
        index.write(np.arange(count + 1, dtype="<i8").tobytes())


_WRITERS: dict[Layout, Callable[[TokenShards, Path, str, int], None]] = {"nanogpt": _nanogpt, "megatron": _megatron}


def _write_ids(shards: TokenShards, path: Path, dtype: DTypeLike) -> None:
    with path.open("wb") as out:
        for start in range(0, len(shards.ids), _IDS_AT_ONCE):
            out.write(shards.ids[start : start + _IDS_AT_ONCE].astype(dtype).tobytes())
