"""Records as the trainer sees them: rendered, weighed and cut by the functions that training uses."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from didact.errors import CallError, DataError, NoTrainedTokens
from didact.model.batches import Policy, cut_documents
from didact.recipe.tokenizing import TokenizerSettings
from didact.records import Chat, Preference, Record
from didact.records.findings import Finding
from didact.render.dialogue import ROLES, Turns
from didact.render.renderer import Renderer, renderer_of
from didact.render.spelling import Speller
from didact.render.token_shards import RenderedRows, mix_rows, render_rows, text_column
from didact.render.tokenizer import Tokenizer, train_tokenizer
from didact.sources.given import given_source
from didact.sources.plan import plan_source
from didact.sources.read import BlockRead, read_block, source_blocks
from didact.sources.spool import Spool
from didact.store.version import Version


class Token(NamedTuple):
    """One token. weight: of it as a target. part: number of the piece of its document it goes in with; -1: left out."""

    id: int
    text: str
    weight: float
    mark: bool
    part: int


@dataclass(frozen=True)
class Shown:
    """One document as the trainer sees it.

    where: its place in the input.  turns: role and first token of each turn, none for plain text.  fate: what a context
    makes of it.  spelt: reserved strings that its texts spell, which are encoded as the characters they are made of.
    """

    where: str
    id: str
    source: str
    tokens: list[Token]
    turns: list[tuple[str, int]]
    fate: str
    spelt: list[str]

    @property
    def trained(self) -> int:
        """Tokens that carry loss."""
        return sum(token.weight > 0 for token in self.tokens)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        told = {"where": self.where, "id": self.id, "source": self.source, "fate": self.fate, "spelt": self.spelt}
        counts = {"count": len(self.tokens), "trained": self.trained}
        turns = [{"role": role, "start": start} for role, start in self.turns]
        return told | counts | {"turns": turns, "tokens": [token._asdict() for token in self.tokens]}


@dataclass(frozen=True)
class Preview:
    """Documents as one tokenizer, context and policy make them."""

    of: str
    tokenizer: str
    context: int | None
    over_long: str
    documents: list[Shown]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        head = {"of": self.of, "tokenizer": self.tokenizer, "context": self.context, "over_long": self.over_long}
        return head | {"documents": [document.as_json() for document in self.documents]}


@dataclass(frozen=True)
class _Asked:
    """What a preview is made with."""

    renderer: Renderer
    context: int | None
    over_long: Policy


@dataclass(frozen=True)
class _Documents:
    """Documents as shards: what the packing of a training run reads."""

    ids: NDArray[Any]
    weights: NDArray[np.float32]
    bounds: NDArray[np.int64]
    turns: Turns | None


def preview_version(
    version: Version,
    row: int = 0,
    count: int = 1,
    mix: str | None = None,
    split: str = "train",
    tokenizer: Tokenizer | None = None,
    context: int | None = None,
    over_long: Policy = "drop",
) -> Preview:
    """Rows of a version's mix, counted from 0, by its own tokenizer or another one.

    Raises UnknownName for a mix or split it lacks, CallError for a row it lacks and for a version without tokenizer.
    """
    named = mix or ("finetune" if "finetune" in version.manifest.mixes else next(iter(sorted(version.manifest.mixes))))
    files = version.shards(named, split)
    if tokenizer is None and version.manifest.tokenizer is None:
        raise CallError(f"{version.folder}: has no tokenizer of its own; name one with --tokenizer")
    own = tokenizer or Tokenizer.load(version.fetch("tokenizer"))
    asked = _Asked(renderer_of(own), context, over_long)
    if not files:
        raise CallError(f"{version.folder}: the split {split} of mix {named} has no rows")
    column = text_column(files[0])
    shown: list[Shown] = []
    before = 0
    for rows in mix_rows(files, column):
        wanted = rows.slice(max(0, row - before), max(0, row + count - max(row, before)))
        if row - before < rows.num_rows and wanted.num_rows:
            shown += _of_rows(wanted, column, f"{named}/{split}", max(row, before), asked)
        before += rows.num_rows
        if before >= row + count:
            break
    if not shown:
        raise CallError(f"{version.folder}: the split {split} of mix {named} has {before:,} rows; --row counts from 0")
    return Preview(f"{version.manifest.name}@{version.manifest.version}", _told(own), context, over_long, shown)


def _of_rows(rows: pa.RecordBatch, column: str, name: str, first: int, asked: _Asked) -> Iterator[Shown]:
    rendered = render_rows(rows, column, asked.renderer)
    per_row = (rendered.bounds.size - 1) // rows.num_rows
    texts = [list(_strings(row)) for row in rows.to_pylist() for _ in range(per_row)]
    keys = zip(rows.column("id").to_pylist(), rows.column("source").to_pylist(), strict=True)
    places = [
        (f"{name} row {first + at}" + (f", document {part} of {per_row}" if per_row > 1 else ""), *key)
        for at, key in enumerate(keys)
        for part in range(1, per_row + 1)
    ]
    return _shown(rendered, places, texts, asked)


def _strings(value: Any) -> Iterator[str]:
    """Every text inside a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _strings(inner)


def preview_files(
    paths: Sequence[str] | str,
    row: int = 0,
    count: int = 1,
    tokenizer: Tokenizer | None = None,
    context: int | None = None,
    over_long: Policy = "drop",
    **reading: Any,
) -> Preview:
    """Rows of files in any format, counted from 0 over all files; without a tokenizer each byte is a token.

    reading: `format`, `columns` and the like, as for `read`. Raises DataError when the row was rejected, CallError when
    there is none.
    """
    own = tokenizer or byte_tokenizer()
    asked = _Asked(renderer_of(own), context, over_long)
    names = [paths] if isinstance(paths, str) else list(paths)
    shown = [document for record in _records(names, row, count, reading) for document in _of_record(*record, asked)]
    return Preview(", ".join(names), _told(own), context, over_long, shown)


def byte_tokenizer() -> Tokenizer:
    """A tokenizer that has learned nothing: every byte is a token."""
    return train_tokenizer([""], TokenizerSettings(vocab_size=300))


def _told(tokenizer: Tokenizer) -> str:
    return f"{tokenizer.vocab_size:,} tokens, template {tokenizer.template.name}, digest {tokenizer.digest[:12]}"


def _records(
    paths: list[str], row: int, count: int, reading: dict[str, Any]
) -> Iterator[tuple[Record, str, list[Any]]]:
    """The wanted rows' records, each with its place and what its file says once."""
    begun: dict[Path, int] = {}
    before = found = 0
    with Spool() as spool:
        source = given_source(paths, **reading)
        for file, block in source_blocks(plan_source("preview", source, Path.cwd(), spool), source):
            start = begun.setdefault(file.path, before)
            read = (
                BlockRead(rows=1, findings=[block]) if isinstance(block, Finding) else read_block(block, file, source)
            )
            for error in read.findings:
                if error.severity == "error" and row <= start + error.index < row + count:
                    raise DataError(f"this row was rejected: {error}")
            for record, place in zip(read.records, read.places, strict=True):
                if row <= start + place.index < row + count:
                    found += 1
                    yield record, f"{place.path}:{place.line}", [read.headers.get(record.header or "")]
            before += read.rows
            if found and before >= row + count:
                break
    if not found:
        raise CallError(f"{', '.join(paths)}: {before:,} rows were read and none is row {row}; --row counts from 0")


def _of_record(record: Record, where: str, header: list[Any], asked: _Asked) -> Iterator[Shown]:
    dialogue = record.dialogue(*header)
    tools = record.tools if isinstance(record, Chat | Preference) else []
    texts = [text.text for text in record.texts()]
    if dialogue:
        definitions = orjson.dumps(tools).decode() if tools else None
        batch = asked.renderer.render_batch([dialogue], [definitions])
        rendered = RenderedRows(batch.ids, batch.bounds, batch.weights, batch.turns)
        texts += [definitions or "", *_strings([dict(turn) for turn in dialogue])]
    else:
        encoded = asked.renderer.render_texts(["\n\n".join(text for text in texts if text)])
        rendered = RenderedRows(encoded.ids, encoded.bounds, None, None)
    return _shown(rendered, [(where, record.id, "")], [texts], asked)


def _shown(
    rendered: RenderedRows, places: Sequence[tuple[str, str, str]], texts: Sequence[list[str]], asked: _Asked
) -> Iterator[Shown]:
    """The documents of some rendered rows."""
    speller = Speller(asked.renderer.tokenizer)
    weights = rendered.weights
    if weights is None:
        weights = np.ones(rendered.ids.size, np.float32)
        weights[rendered.bounds[:-1]] = 0
    for at, (start, stop) in enumerate(itertools.pairwise(rendered.bounds.tolist())):
        turns = None if rendered.turns is None else _turns_of(rendered.turns, at)
        document = _Documents(rendered.ids[start:stop], weights[start:stop], np.array([0, stop - start]), turns)
        parts, fate = _parts(document, asked)
        ids = document.ids.tolist()
        columns = zip(ids, speller.spell(ids), document.weights.tolist(), parts, strict=True)
        tokens = [Token(i, text, weight, i in speller.marks, part) for i, text, weight, part in columns]
        roles = [] if turns is None else [ROLES[role] for role in turns.roles.tolist()]
        begun = list(zip(roles, [] if turns is None else turns.starts.tolist(), strict=True))
        spelt = [mark for mark in asked.renderer.tokenizer.reserved if any(mark in text for text in texts[at])]
        yield Shown(*places[at], tokens, begun, fate, spelt)


def _turns_of(turns: Turns, at: int) -> Turns:
    inside = slice(int(turns.bounds[at]), int(turns.bounds[at + 1]))
    starts = turns.starts[inside]
    return Turns(starts, turns.roles[inside], np.array([0, starts.size]))


def _parts(document: _Documents, asked: _Asked) -> tuple[list[int], str]:
    """Of each token the piece it goes in with, and what is said of the document as a whole."""
    tokens = document.ids.size
    if asked.context is None:
        return [0] * tokens, "no context given: nothing is cut"
    policy: Policy = "split" if document.turns is None else asked.over_long
    parts = np.full(tokens, -1)
    try:
        pieces = cut_documents(document, asked.context, policy)
    except NoTrainedTokens:
        why = "longer than the context" if tokens - 1 > asked.context else "no token that carries loss"
        if tokens - 1 > asked.context and policy not in ("drop", "turns", "first_turns"):
            why = "no token that carries loss is left of it"
        return parts.tolist(), f"left out: {why}"
    except DataError as error:
        return parts.tolist(), f"ends the run: {error}"
    for number, (head, start, length) in enumerate(zip(pieces.head, pieces.start, pieces.length, strict=True)):
        # The last token of a piece is only predicted, and is the first to go in with the next one.
        parts[:head] = number
        parts[start : start + length - head + 1] = number
    kept = int((parts >= 0).sum())
    if len(pieces.length) > 1:
        return parts.tolist(), f"split into {len(pieces.length)} pieces"
    return parts.tolist(), "whole" if kept == tokens else f"cut: {kept:,} of {tokens:,} tokens stay"
