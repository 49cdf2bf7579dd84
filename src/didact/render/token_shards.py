"""Token shards: the splits of a version as memory-mapped ids, loss weights and record bounds.

OUT/{mix}/{split}/ids.npy         (T,) uint16 or uint32
                  weights.npy     (T,) uint8, or float32 where a weight is not 0 or 1; absent for plain text
                  bounds.npy      (n + 1,) int64
                  record_ids.npy  (n, 16) uint8      epochs.npy (n,) int32      sources.npy (n,) int32
                  turn_starts.npy (m,) int32    turn_roles.npy (m,) uint8    turn_bounds.npy (n + 1,) int64
                                  where each dialogue's turns begin; absent for plain text
                  split.json      counts, and size and SHA-256 of each file
OUT/manifest.json                 written last: all of the above together, and its own checksum

Of a preference mix each record is two documents: the chosen answer and after it the rejected one, both after the
prompt, which carries no weight.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from didact.canonical import content_hash
from didact.durable import atomic_dir, locked, read_json, remove_asides, sha256_file, write_json
from didact.errors import CorruptVersion, StoreError, UnknownName
from didact.render.dialogue import Dialogue, Turns
from didact.render.npy import NpyWriter, open_npy
from didact.render.renderer import Refused, Renderer, renderer_of
from didact.render.tokenizer import Tokenizer

TOKENS = "manifest.json"
LOCK = "lock"
"""Held by who writes into a folder of token shards."""
TOKENS_LAYOUT = "didact/tokens/3"
"""Raised when a change of code changes what is written, so that older shards are written anew."""
_BATCH_ROWS = 8192
_ID_BYTES = 16
_NEEDED = {"messages": ["messages"], "text": ["text"], "chosen": ["prompt", "chosen", "rejected"]}
"""What is rendered, and the columns it is made from."""


class RenderedRows(NamedTuple):
    """Rendered rows. Of plain text, where all ids but the first of a record weigh 1, weights and turns are None."""

    ids: NDArray[np.int32]
    bounds: NDArray[np.int64]
    weights: NDArray[np.float32] | None
    turns: Turns | None


def tokenize_version(version_dir: Path, tokenizer: Tokenizer, out_dir: Path, workers: int = 1) -> dict[str, Any]:
    """Write the token shards of every mix of a version; returns their manifest.

    Splits that an earlier, interrupted call completed are kept, and so is everything when the manifest is there. The
    bytes do not depend on `workers`, the number of threads.
    Raises CorruptVersion when the folder is not a complete version.
    """
    if not (version_dir / "manifest.json").is_file():
        raise CorruptVersion(f"{version_dir}: no manifest.json, so this is not a complete version; build it again")
    key = shards_key(version_dir, tokenizer)
    path = out_dir / TOKENS
    if path.is_file() and (present := read_json(path))["key"] == key:
        return dict(present)
    mixes: dict[str, dict[str, Any]] = {}
    with locked(out_dir / LOCK, lambda: None):
        for (mix, split), files in _splits(version_dir):
            remove_asides(out_dir / mix)  # of killed calls; nobody else writes here now
            column = text_column(files[0])
            mixes.setdefault(mix, {})[split] = _split(files, column, tokenizer, out_dir / mix / split, key, workers)
        manifest = {
            "layout": TOKENS_LAYOUT,
            "key": key,
            "tokenizer": tokenizer.digest,
            "vocab_size": tokenizer.vocab_size,
            "mixes": mixes,
        }
        manifest["checksum"] = tokens_checksum(manifest)
        write_json(path, manifest)
    return manifest


def tokens_checksum(manifest: Mapping[str, Any]) -> str:
    """What the `checksum` of a manifest of token shards must be: a hash of its other fields."""
    return content_hash({name: value for name, value in manifest.items() if name != "checksum"})


def tokens_manifest(out_dir: Path) -> dict[str, Any]:
    """What `tokenize_version` said of a folder. Raises StoreError when it is not there, or not as it was written."""
    manifest: dict[str, Any] = read_json(out_dir / TOKENS)
    if manifest.get("checksum") != tokens_checksum(manifest):
        raise StoreError(f"{out_dir / TOKENS}: damaged, or of an older layout; delete the folder and tokenize again")
    return manifest


def shards_key(version_dir: Path, tokenizer: Tokenizer) -> str:
    """Hash of all that token shards depend on."""
    return content_hash([TOKENS_LAYOUT, sha256_file(version_dir / "manifest.json"), tokenizer.digest])


def _splits(version_dir: Path) -> list[tuple[tuple[str, str], list[Path]]]:
    """Parquet files of each mix and split, all in order of their names, which is the order of training."""
    files = sorted((version_dir / "data").glob("*/*-*-of-*.parquet"))

    def split_of(file: Path) -> tuple[str, str]:
        return file.parent.name, file.name.rsplit("-", 3)[0]

    return [(key, list(group)) for key, group in itertools.groupby(files, key=split_of)]


def text_column(file: Path) -> str:
    """What is rendered: `messages` in a finetune mix, `text` in a pretrain mix, `chosen` (and rejected) of pairs."""
    names = pq.read_schema(file).names
    found = next((name for name in _NEEDED if name in names), None)
    if found is None:
        raise CorruptVersion(f"{file}: lacks a column to tokenize; expected one of {', '.join(_NEEDED)}")
    return found


def _split(
    files: list[Path], column: str, tokenizer: Tokenizer, folder: Path, key: str, threads: int
) -> dict[str, Any]:
    """Tokenize one split, or find it done."""
    if (folder / "split.json").is_file() and (present := read_json(folder / "split.json"))["key"] == key:
        return dict(present)
    with atomic_dir(folder) as aside:
        counts = _write_split(files, column, tokenizer, aside, threads)
        described = {"key": key, **counts, "files": [file_entry(path, aside) for path in sorted(aside.iterdir())]}
        write_json(aside / "split.json", described)
    return described


def file_entry(path: Path, folder: Path) -> dict[str, Any]:
    """A file as a manifest lists it, relative to the folder it stands in."""
    return {"path": path.relative_to(folder).as_posix(), "bytes": path.stat().st_size, "sha256": sha256_file(path)}


def _write_split(files: list[Path], column: str, tokenizer: Tokenizer, folder: Path, threads: int) -> dict[str, Any]:
    renderer = renderer_of(tokenizer)
    refused: Counter[str] = Counter()
    source_codes: dict[str, int] = {}
    phases: dict[str, int] = {}
    records, tokens, trained = 0, 0, 0
    sides = 2 if column == "chosen" else 1
    with ExitStack() as stack:
        ids, bounds, record_ids, epochs, sources = (
            stack.enter_context(NpyWriter(folder / f"{name}.npy", dtype, width))
            for name, dtype, width in (
                ("ids", tokenizer.id_type, 0),
                ("bounds", np.int64, 0),
                ("record_ids", np.uint8, _ID_BYTES),
                ("epochs", np.int32, 0),
                ("sources", np.int32, 0),
            )
        )
        weights = stack.enter_context(_WeightWriter(folder / "weights.npy"))
        turns = stack.enter_context(_TurnWriter(folder)) if column != "text" else None
        bounds.append(np.zeros(1, np.int64))
        for rows in mix_rows(files, column):
            failed: Refused = []
            batch = render_rows(rows, column, renderer, threads, failed)
            refused.update(why for _, why in failed)
            ids.append(batch.ids)
            bounds.append(batch.bounds[1:] + tokens)
            record_ids.append(np.repeat(_id_bytes(rows.column("id")), sides, axis=0))
            epochs.append(np.repeat(rows.column("epoch").to_numpy(zero_copy_only=False), sides))
            sources.append(np.repeat(_codes(rows.column("source").to_pylist(), source_codes), sides))
            if batch.weights is not None:
                weights.append(batch.weights)
            if turns is not None and batch.turns is not None:
                turns.append(batch.turns)
            _count_phases(phases, rows, sides)
            records, tokens = records + rows.num_rows, tokens + batch.ids.size
            trained += batch.ids.size - rows.num_rows if batch.weights is None else int(np.count_nonzero(batch.weights))
    counts = {"records": records, "tokens": tokens, "trained_tokens": trained, "refused": dict(refused.most_common(20))}
    order = [{"name": name, "documents": documents} for name, documents in phases.items()]
    names = {"sources": list(source_codes), "phases": order}
    return {"column": column, "documents_per_record": sides, **counts, **names}


def _count_phases(phases: dict[str, int], rows: pa.RecordBatch, sides: int) -> None:
    """Add the documents of each phase of a curriculum; rows stand phase after phase, and held-out ones in none."""
    if "phase" in rows.schema.names:
        for found in rows.column("phase").drop_null().value_counts().to_pylist():
            phases[found["values"]] = phases.get(found["values"], 0) + sides * found["counts"]


def _codes(names: list[str], known: dict[str, int]) -> NDArray[np.int32]:
    """Number of each name; new names get the next numbers."""
    return np.array([known.setdefault(name, len(known)) for name in names], dtype=np.int32)


def mix_rows(files: list[Path], column: str) -> Iterator[pa.RecordBatch]:
    """Rows of a version's files in order, with the columns that rendering and token shards need."""
    for file in files:
        with pq.ParquetFile(file) as parquet:
            present = parquet.schema_arrow.names
            tools = ["tools"] if column != "text" and "tools" in present else []
            phase = ["phase"] if "phase" in present else []
            wanted = ["id", "epoch", "source", *_NEEDED[column], *tools, *phase]
            if missing := [name for name in wanted if name not in present]:
                raise CorruptVersion(f"{file}: lacks the columns {', '.join(missing)}")
            yield from parquet.iter_batches(_BATCH_ROWS, columns=wanted)


def render_rows(
    rows: pa.RecordBatch, column: str, renderer: Renderer, threads: int = 1, refused: Refused | None = None
) -> RenderedRows:
    """Rows of a version as the trainer reads them; `column`: see `text_column`, `refused`: see `render_batch`."""
    if column == "text":
        encoded = renderer.render_texts(rows.column("text"), threads)
        return RenderedRows(encoded.ids, encoded.bounds, None, None)
    tools = rows.column("tools").to_pylist() if "tools" in rows.schema.names else []
    if column == "chosen":
        dialogues, tools = _sides(rows), [definitions for definitions in tools for _ in range(2)]
    else:
        dialogues = rows.column("messages").to_pylist()
    batch = renderer.render_batch(dialogues, tools, threads, refused)
    return RenderedRows(batch.ids, batch.bounds, batch.weights, batch.turns)


def _sides(rows: pa.RecordBatch) -> list[Dialogue]:
    """Both dialogues of each pair, the chosen one first; nothing that stands in the prompt is trained."""
    prompts, chosen, rejected = (rows.column(name).to_pylist() for name in _NEEDED["chosen"])
    dialogues: list[Dialogue] = []
    for prompt, *answers in zip(prompts, chosen, rejected, strict=True):
        silent = [message | {"weight": 0.0} for message in prompt]
        dialogues += [[*silent, *answer] for answer in answers]
    return dialogues


def _id_bytes(ids: pa.Array) -> NDArray[np.uint8]:
    """Record ids, 32 hex digits each, as (n, 16) bytes."""
    joined = "".join(ids.to_pylist())
    try:
        return np.frombuffer(bytes.fromhex(joined), np.uint8).reshape(len(ids), _ID_BYTES)
    except ValueError as error:
        raise CorruptVersion(f"a record id is not 32 hex digits ({error})") from error


class _WeightWriter:
    """Weights as uint8, turned into float32 when one is neither 0 nor 1; no file where no weights come."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: NpyWriter | None = None
        self._whole = True

    def append(self, weights: NDArray[np.float32]) -> None:
        if self._whole and not np.isin(weights, (0.0, 1.0)).all():
            self._widen()
        if self._writer is None:
            self._writer = NpyWriter(self._path, np.uint8 if self._whole else np.float32)
        self._writer.append(weights)

    def _widen(self) -> None:
        self._whole = False
        if self._writer is None:
            return
        self._writer.close()
        narrow = self._path.rename(self._path.with_suffix(".narrow"))
        self._writer = NpyWriter(self._path, np.float32)
        self._writer.append(open_npy(narrow))
        narrow.unlink()

    def __enter__(self) -> _WeightWriter:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()


class _TurnWriter(ExitStack):
    """Where turns begin, as three files."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        types = (("starts", np.int32), ("roles", np.uint8), ("bounds", np.int64))
        self._starts, self._roles, self._bounds = (
            self.enter_context(NpyWriter(folder / f"turn_{name}.npy", dtype)) for name, dtype in types
        )
        self._bounds.append(np.zeros(1, np.int64))
        self._count = 0

    def append(self, turns: Turns) -> None:
        self._starts.append(turns.starts)
        self._roles.append(turns.roles)
        self._bounds.append(turns.bounds[1:] + self._count)
        self._count += turns.starts.size


class TokenShards:
    """One split of one mix as the trainer reads it; the arrays are mapped, not loaded.

    ids: (T,) uint16 or uint32.  bounds: (n + 1,) int64.  record_ids: (n, 16) uint8.  epochs, sources: (n,) int32.
    n counts documents; a record of a preference mix is two of them.
    """

    def __init__(self, folder: Path, described: dict[str, Any]) -> None:
        self.folder = folder
        self.described = described
        """Content of split.json."""
        self.source_names: list[str] = described["sources"]
        """What the numbers in `sources` stand for."""
        for file in described["files"]:
            path = folder / file["path"]
            if not path.is_file() or path.stat().st_size != file["bytes"]:
                raise StoreError(f"{path}: expected {file['bytes']} bytes; remove {folder} and tokenize again")
        self.ids: NDArray[np.uint16] | NDArray[np.uint32] = open_npy(folder / "ids.npy")
        self.bounds: NDArray[np.int64] = open_npy(folder / "bounds.npy")
        self.record_ids: NDArray[np.uint8] = open_npy(folder / "record_ids.npy")
        self.epochs: NDArray[np.int32] = open_npy(folder / "epochs.npy")
        self.sources: NDArray[np.int32] = open_npy(folder / "sources.npy")
        stored = folder / "weights.npy"
        self._stored: NDArray[np.uint8] | NDArray[np.float32] | None = open_npy(stored) if stored.is_file() else None
        self.turns: Turns | None = self._turns()
        """Where the dialogues' turns begin; None for plain text."""
        self.phase_names: list[str] = [phase["name"] for phase in described["phases"]]
        """Phases of a curriculum in training order; none where the mix has none."""
        self.phase_bounds: NDArray[np.int64] = np.cumsum(
            [0, *(phase["documents"] for phase in described["phases"])], dtype=np.int64
        )
        """At which document each phase begins, and the end."""

    @classmethod
    def open(cls, out_dir: Path, mix: str, split: str) -> TokenShards:
        """Open what `tokenize_version` wrote. Raises StoreError when it is incomplete, UnknownName for mix or split."""
        mixes = tokens_manifest(out_dir)["mixes"]
        if mix not in mixes:
            raise UnknownName("mix", mix, mixes, where=str(out_dir))
        if split not in mixes[mix]:
            raise UnknownName("split", split, mixes[mix], where=f"{out_dir}, mix {mix}")
        return cls(out_dir / mix / split, mixes[mix][split])

    def __len__(self) -> int:
        return self.bounds.size - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Ids of each record, (n,)."""
        return np.diff(self.bounds)

    def verify(self) -> None:
        """Hash every file. Raises StoreError at the first whose content changed."""
        for file in self.described["files"]:
            path = self.folder / file["path"]
            if sha256_file(path) != file["sha256"]:
                raise StoreError(f"{path}: content changed; remove {self.folder} and tokenize again")

    def _turns(self) -> Turns | None:
        if not (self.folder / "turn_bounds.npy").is_file():
            return None
        return Turns(*(open_npy(self.folder / f"turn_{name}.npy") for name in Turns._fields))

    @cached_property
    def weights(self) -> NDArray[np.uint8] | NDArray[np.float32]:
        """(T,) weight of each id as a target, uint8 or float32; of plain text in memory, as nothing is stored."""
        if self._stored is not None:
            return self._stored
        weights = np.ones(self.ids.size, dtype=np.uint8)
        weights[self.bounds[:-1]] = 0  # nothing stands before a record's first id to predict it from
        return weights

    def record_weights(self, place: int) -> NDArray[np.uint8] | NDArray[np.float32]:
        """The weights of one document's ids."""
        start, stop = self.bounds[place : place + 2].tolist()
        if self._stored is not None:
            return self._stored[start:stop]
        return (np.arange(stop - start) > 0).astype(np.uint8)
