"""Chunks: bounded pieces of one source, each with a marker that says which result is whole and what it was made
from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xxhash

from didact.canonical import content_hash
from didact.durable import read_json, write_json
from didact.sources.blocks import Block

MARKER = ".done.json"


def chunk_bytes(total_bytes: int) -> int:
    """Size of a chunk for a given amount of input: 16 MB, less for small inputs so that every core gets work.

    A function of the input alone, never of the workers, so that the chunks of a build are always the same.
    """
    return int(min(16_000_000, max(4_000_000, total_bytes // 64)))


@dataclass(frozen=True, slots=True)
class Chunk:
    """Neighbouring blocks of one source, about `chunk_bytes` together."""

    source: str
    ordinal: int
    blocks: tuple[Block, ...]

    def digest(self, files: Mapping[str, str]) -> str:
        """Hash of everything in the chunk that its result depends on.
        files: SHA-256 of each of the source's files, by relative path.
        """
        state = xxhash.xxh3_128()
        for block in self.blocks:
            # Rows of columnar files are not in the block; the digest of their file stands for them.
            origin = files[block.path] if block.file else ""
            state.update(
                content_hash(
                    [block.path, block.container, block.first, block.offset, block.quoted, block.piece, origin]
                ).encode()
            )
            for part in (block.data, block.head, block.starts.tobytes(), block.ends.tobytes(), block.lines.tobytes()):
                state.update(len(part).to_bytes(8, "little"))
                state.update(part)
        return state.hexdigest()


def group_blocks(source: str, blocks: Iterable[Block], size: int) -> Iterator[Chunk]:
    """Pack a source's blocks, in order, into chunks of at most about `size` bytes."""
    held: list[Block] = []
    held_bytes = ordinal = 0
    for block in blocks:
        if held and held_bytes + _size(block) > size:
            yield Chunk(source, ordinal, tuple(held))
            held, held_bytes, ordinal = [], 0, ordinal + 1
        held.append(block)
        held_bytes += _size(block)
    if held:
        yield Chunk(source, ordinal, tuple(held))


def _size(block: Block) -> int:
    """Bytes of a block; rows of columnar files are reckoned at 400 bytes, about an instruction record's size."""
    return len(block.data) if block.data else 400 * len(block)


def write_marker(folder: Path, key: str, content: dict[str, Any]) -> None:
    """Declare the result of a key whole; written after every file of it."""
    write_json(folder / f"{key}{MARKER}", content)


def read_marker(folder: Path, key: str) -> dict[str, Any] | None:
    """What the marker of a key says, or None when its result is not there or not whole.

    A result whose files lack or have another size than the marker says is not whole: a crash of the machine may lose
    what the disk had promised.
    """
    path = folder / f"{key}{MARKER}"
    if not path.exists():
        return None
    marker: dict[str, Any] = read_json(path)
    for name, size in marker["files"].items():
        file = folder / name
        if not file.exists() or file.stat().st_size != size:
            return None
    return marker
