"""Texts to vectors: the mean of a model's outputs over a text's tokens, from an encoder or a decoder."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from didact.curate.vectors import FORMAT
from didact.durable import atomic_dir, sha256_file, write_json
from didact.errors import CallError, EmptySplit
from didact.model.attention import DocumentAttention
from didact.model.checkpoint import check_vocabulary, load_model, resolve, weights_digest
from didact.model.classifier import mean_by_text
from didact.model.classify import laid_out
from didact.model.phases import TOKENS_AT_ONCE, compute_threads
from didact.model.precision import autocast, choose_device
from didact.model.transformer import Decoder
from didact.records import AnyRecord, Header, Record
from didact.render.dialogue import dialogue_text, split_last_answer
from didact.render.npy import NpyWriter
from didact.render.renderer import Renderer
from didact.render.tokenizer import Tokenizer
from didact.sources.blocks import Block
from didact.sources.given import given_source
from didact.sources.read import plan_source, read_block, source_blocks
from didact.store.version import Version

TextView = Literal["whole", "prompt", "response"]
TEXTS_AT_ONCE = 4096
"""Texts read, sorted by length and written together: bounds memory."""


class Embeddable(NamedTuple):
    """A text, and the id of its record, 32 hex digits."""

    id: str
    text: str


@dataclass
class Lost:
    """Rows of files that were no records."""

    rejected: int = 0
    first: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Embedder:
    """A model with its tokenizer, and whether vectors are brought to length 1."""

    model: Decoder
    tokenizer: Tokenizer
    normalise: bool = True
    digest: str = ""

    @classmethod
    def load(cls, path: Path, normalise: bool = True, device: str = "cpu") -> Embedder:
        """Open a checkpoint, or the best one of a phase or run; ours or of others, encoder or decoder."""
        folder = resolve(path)
        model, tokenizer = load_model(folder, choose_device(device)), Tokenizer.load(folder)
        check_vocabulary(model.config, tokenizer, folder)
        return cls(model.eval(), tokenizer, normalise, weights_digest(folder))

    @property
    def dimension(self) -> int:
        """Numbers in a vector."""
        return self.model.config.hidden_size

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """A vector for each text, (n, dimension) float32. See `vectors_of`."""
        return self.vectors_of(texts)[0]

    @torch.inference_mode()
    def vectors_of(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], int]:
        """A vector for each text, and how many texts were longer than the context and kept their head.

        A text stands between the marks of a plain document, so an empty one has tokens too. Texts of similar length
        are computed together, without padding: a vector does not depend on its neighbours, up to rounding.
        """
        encoded = Renderer(self.tokenizer).render_texts(list(texts))
        most = self.model.config.max_position_embeddings
        lengths = np.diff(encoded.bounds)
        fed, out = np.minimum(lengths, most), np.empty((len(texts), self.dimension), np.float32)
        order = np.argsort(fed, kind="stable")
        for some in _batches(order, fed, TOKENS_AT_ONCE[self.model.lm_head.weight.device.type]):
            out[some] = self._means(encoded.ids, encoded.bounds[some], fed[some])
        return out, int((lengths > most).sum())

    def _means(
        self, ids: NDArray[np.int32], starts: NDArray[np.int64], lengths: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        batch = laid_out(ids, starts, lengths)
        device = self.model.lm_head.weight.device
        flat, places = (torch.from_numpy(array).to(device)[None] for array in (batch.ids, batch.positions))
        attend = DocumentAttention(lengths, device, self.model.config.bidirectional)
        with autocast(device):
            outputs = self.model.hidden(flat, places, attend)[0]  # (N, C)
        means = mean_by_text(outputs.double(), torch.from_numpy(lengths).to(device))
        if self.normalise:
            means = torch.nn.functional.normalize(means, dim=-1)
        vectors: NDArray[np.float32] = means.float().cpu().numpy()
        return vectors


def _batches(order: NDArray[np.int64], lengths: NDArray[np.int64], tokens: int) -> Iterator[NDArray[np.int64]]:
    """Parts of `order` of about so many tokens; one text at least."""
    group = np.cumsum(lengths[order]) // tokens
    yield from (part for part in np.split(order, np.flatnonzero(np.diff(group)) + 1) if len(part))


def write_vectors(
    embedder: Embedder,
    texts: Iterable[Embeddable],
    out: Path,
    view: TextView,
    lost: Lost,
    threads: int | None = None,
) -> dict[str, Any]:
    """Write a vector file, whole or not at all, and return its manifest; see `curate.vectors`.

    The same model, texts and threads give the same bytes. Raises CallError when the folder is there, EmptySplit when
    there is no text.
    """
    if out.exists():
        raise CallError(f"{out}: is there already; choose another folder or delete it")
    count = truncated = empty = 0
    waiting = iter(texts)
    with compute_threads(threads), atomic_dir(out.resolve()) as aside:
        with (
            NpyWriter(aside / "vectors.npy", np.float32, embedder.dimension) as vectors,
            NpyWriter(aside / "ids.npy", np.uint8, 16) as ids,
        ):
            while part := list(itertools.islice(waiting, TEXTS_AT_ONCE)):
                made, cut = embedder.vectors_of([one.text for one in part])
                vectors.append(made)
                ids.append(np.frombuffer(bytes.fromhex("".join(one.id for one in part)), np.uint8).reshape(-1, 16))
                count, truncated = count + len(part), truncated + cut
                empty += sum(not one.text for one in part)
        if not count:
            raise EmptySplit(f"{lost.first[0] if lost.first else 'the input'}: no record to embed")
        manifest = _manifest(embedder, view) | {
            "count": count,
            "truncated": truncated,
            "empty": empty,
            "rejected": lost.rejected,
            "files": [_entry(aside / name) for name in ("vectors.npy", "ids.npy")],
        }
        write_json(aside / "manifest.json", manifest)
    return manifest


def _manifest(embedder: Embedder, view: TextView) -> dict[str, Any]:
    config = embedder.model.config
    return {
        "format": FORMAT,
        "model": {
            "digest": embedder.digest,
            "kind": "encoder" if config.bidirectional else "decoder",
            "tokenizer": embedder.tokenizer.digest,
            "context": config.max_position_embeddings,
        },
        "pooling": "mean",
        "dimension": embedder.dimension,
        "normalised": embedder.normalise,
        "view": view,
    }


def _entry(path: Path) -> dict[str, Any]:
    return {"path": path.name, "bytes": path.stat().st_size, "sha256": sha256_file(path)}


def texts_of_files(paths: Sequence[Path], form: str, view: TextView, lost: Lost) -> Iterator[Embeddable]:
    """The records of files, in order; rows that are none are counted in `lost`, with the first few findings."""
    source = given_source([str(path) for path in paths], format=form)
    for file, block in source_blocks(plan_source("embed", source, Path.cwd()), source):
        if not isinstance(block, Block):
            lost.rejected += 1
            lost.first.append(str(block))
            continue
        read = read_block(block, file, source)
        lost.rejected += len(read.rejected)
        lost.first += [str(one.finding) for one in read.rejected[: 3 - len(lost.first)]]
        for record in read.records:
            yield Embeddable(record.id, view_text(record, read.headers.get(record.header or ""), view))


def texts_of_version(version: Version, mix: str, view: TextView) -> Iterator[Embeddable]:
    """The records of a mix, all splits, each once, as they stand after cleaning; repeats of an epoch are left out."""
    import pyarrow.parquet as pq

    headers: dict[str, Header | None] = {}
    for split in version.manifest.mixes[mix].rows:
        for shard in version.shards(mix, split):
            with pq.ParquetFile(shard) as parquet:
                for batch in parquet.iter_batches(TEXTS_AT_ONCE, columns=["id", "epoch", "record"]):
                    for row in batch.to_pylist():
                        if row["epoch"] == 0:
                            record = AnyRecord.validate_json(row["record"])
                            yield Embeddable(row["id"], view_text(record, _header(version, record, headers), view))


def _header(version: Version, record: Record, known: dict[str, Header | None]) -> Header | None:
    """What a record's file says once, read once."""
    if record.header is not None and record.header not in known:
        found = version.header(record.header)
        known[record.header] = None if found is None else Header.model_validate(found)
    return known[record.header] if record.header is not None else None


def view_text(record: Record, header: Header | None, view: TextView) -> str:
    """What is embedded of a record: all of it as a plain dialogue, what is asked, or the last answer.

    A plain text is both what is asked and all there is, and so is a dialogue without an answer.
    """
    if record.kind == "text":
        return "" if view == "response" else "\n\n".join(text.text for text in record.texts() if text.text)
    turns = [dict(turn) for turn in record.dialogue(header)]
    if view == "whole":
        return dialogue_text(turns)
    split = split_last_answer(turns)
    prompt, answer = (turns, "") if split is None else split
    return answer if view == "response" else "\n".join(str(turn["content"]) for turn in prompt if turn.get("content"))
