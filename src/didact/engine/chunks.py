"""Chunks: bounded pieces of one source, each with a marker that says which result is whole and what it was made
from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import xxhash

from didact.canonical import content_hash
from didact.remote.folder import Folder
from didact.sources.blocks import Block

MARKER = ".done.json"


def chunk_bytes(source_bytes: int) -> int:
    """Size of a source's chunks for its size as stored: 16 MB, less for small sources so that every core gets work.

    A function of the source alone, never of the workers or of other sources, and one of three values, so that
    the chunks of a source stay the same when another source, or a little of its own, changes.
    """
    return 4_000_000 * min(4, 1 << max(0, (source_bytes // 256_000_000).bit_length()))


@dataclass(frozen=True, slots=True)
class Chunk:
    """Neighbouring blocks of one source, about `chunk_bytes` together."""

    source: str
    ordinal: int
    blocks: tuple[Block, ...]

    @property
    def bytes(self) -> int:
        """Size of its rows as text."""
        return sum(map(_size, self.blocks))

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


@dataclass(frozen=True, slots=True)
class MadeFrom:
    """What a result depends on; its key is the hash of `of`, `content` and `settings`, so nothing else shapes it."""

    of: str
    """The source or stage."""
    content: str
    """Digest of the rows that went in."""
    settings: Mapping[str, Any]
    """Every setting that shapes it, by its path in the recipe, and versions of algorithms and tables."""
    files: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of the input files whose rows went in, by relative path. Only told: `content` already says it."""
    cut: Mapping[str, Any] = field(default_factory=dict)
    """Settings that decide which rows went in, by path. Only told, too."""

    @property
    def key(self) -> str:
        """The name of the result."""
        return content_hash([self.of, self.content, self.settings])

    def as_json(self) -> dict[str, Any]:
        """As it stands in the marker."""
        return asdict(self)

    @classmethod
    def read(cls, marker: Mapping[str, Any]) -> Self | None:
        """What a marker says; None for one that says nothing of the kind."""
        made = marker.get("made_from")
        return None if made is None else cls(**made)


def all_made(folder: Folder) -> Iterator[tuple[MadeFrom, dict[str, Any]]]:
    """Every whole result in a folder, the newest first: what it was made from, and its marker."""
    for name in folder.newest_first(MARKER):
        marker = read_marker(folder, name.removesuffix(MARKER))
        made = None if marker is None else MadeFrom.read(marker)
        if marker is not None and made is not None:
            yield made, marker


def write_marker(folder: Folder, key: str, content: dict[str, Any]) -> None:
    """Declare the result of a key whole; written after every file of it."""
    folder.write_json(f"{key}{MARKER}", content)


def read_marker(folder: Folder, key: str) -> dict[str, Any] | None:
    """What the marker of a key says, or None when its result is not there or not whole.

    On this disk a result whose files lack or have another size than the marker says is not whole: a crash of the
    machine may lose what the disk had promised. An object store keeps what it took; a file is compared when it comes.
    """
    marker: dict[str, Any] | None = folder.read_json(f"{key}{MARKER}")
    if marker is None or folder.prefix is not None:
        return marker
    for name, size in marker["files"].items():
        file = folder.path / name
        if not file.exists() or file.stat().st_size != size:
            return None
    return marker
