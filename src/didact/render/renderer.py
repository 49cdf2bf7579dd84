"""The one renderer: dialogues and texts to ids and loss weights, in one pass.

Reserved ids come from the template only; every text is encoded literally and apart from the marks before it. Trained
are the assistant's texts, its tool calls and the token that ends its turn; everything else has weight 0.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from didact.errors import DataError
from didact.records.table import zeroed_offsets
from didact.render.byte_pairs import Encoded
from didact.render.dialogue import ROLES, Dialogue, Message, Turns
from didact.render.template import Marks, Template
from didact.render.tokenizer import Tokenizer

_WHITE_SPACE = "".join(character for character in map(chr, range(0x3001)) if character.isspace())
"""What `str.strip` removes; Unicode has no white space beyond."""


class Rendered(NamedTuple):
    """One record as the trainer sees it.

    ids: (T,) int32.  weights: (T,) float32, weight of each id as a target.
    spans: (messages, 2) int32, half-open bounds of each message's text, calls and end of turn; (1, 2) for a plain text.
    """

    ids: NDArray[np.int32]
    weights: NDArray[np.float32]
    spans: NDArray[np.int32]


class RenderedBatch(NamedTuple):
    """n records one after another. ids, weights: (T,).  bounds: (n + 1,) int64.

    spans: (messages of all records, 2) int64 into `ids`.  turns: where the same messages begin, and in whose role.
    """

    ids: NDArray[np.int32]
    weights: NDArray[np.float32]
    bounds: NDArray[np.int64]
    spans: NDArray[np.int64]
    turns: Turns

    def record(self, at: int) -> Rendered:
        """One of the records."""
        start, stop = self.bounds[at], self.bounds[at + 1]
        spans = self.spans[self.turns.bounds[at] : self.turns.bounds[at + 1]] - start
        return Rendered(self.ids[start:stop], self.weights[start:stop], spans.astype(np.int32))


class Lengths(NamedTuple):
    """Sizes of n records. tokens, trained: (n,) int32; trained counts the ids with a weight above 0."""

    tokens: NDArray[np.int32]
    trained: NDArray[np.int32]


Refused: TypeAlias = list[tuple[int, str]]
"""Places of dialogues that a template of others cannot render, each with why."""


@dataclass(slots=True)
class _Pieces:
    """A batch being laid out: piece p is entry `sources[p]` of the marks' ids followed by the texts' ids."""

    texts: list[str] = field(default_factory=list)
    sources: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    record_ends: list[int] = field(default_factory=list)
    spans: list[int] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    roles: list[int] = field(default_factory=list)
    message_ends: list[int] = field(default_factory=list)


class _Slot(NamedTuple):
    """Where a text goes: entry of the ids before it, literal text that ends its run, entry of the ids after it."""

    before: int
    tail: str
    after: int


class _Laid(NamedTuple):
    """Pieces with their ids: `pool` holds the ids of all entries; starts, lengths, weights are per piece."""

    pool: NDArray[np.int32]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    weights: NDArray[np.float32]


class Renderer:
    """Renders with one tokenizer and its template."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self._entries: list[list[int]] = []
        self._entry_of: dict[str, int] = {}
        template = tokenizer.template
        if not isinstance(template, Template):
            raise TypeError("a template of others is rendered by ForeignRenderer")
        self._template = template
        self._trim = template.trim
        self._slots = {role: self._slot(marks) for role, marks in template.turns.items()}
        self._tools, self._calls = self._slot(template.tools), self._slot(template.calls)
        self._opening = self._entry(template.opening)
        self._end_of_turn = self._entry(template.end_of_turn)
        self._after_end = self._entry(template.turns["assistant"].suffix.removeprefix(template.end_of_turn))
        self._pool = np.array(list(itertools.chain.from_iterable(self._entries)), dtype=np.int32)
        self._entry_lengths = np.array([len(entry) for entry in self._entries], dtype=np.int64)
        self._tails = ["" if role == "assistant" else slot.tail for role, slot in self._in_order()]
        self._mark_lengths = np.array([self._marks_around(role, slot) for role, slot in self._in_order()], np.int64)

    def render(self, dialogue: Dialogue, tools: str | None = None) -> Rendered:
        """One dialogue as ids and weights."""
        return self.render_batch([dialogue], [tools]).record(0)

    def render_batch(
        self,
        dialogues: Sequence[Dialogue],
        tools: Sequence[str | None] = (),
        threads: int = 1,
        refused: Refused | None = None,
    ) -> RenderedBatch:
        """Many dialogues at once; equal to rendering each by itself.

        tools: none at all, or for each dialogue the JSON of its tool definitions or None.
        refused: takes what a template of others cannot render, and those dialogues are left empty; built-in templates
        render every dialogue.
        Raises DataError for a role without marks, a negative weight, or a text that is not Unicode.
        """
        del refused
        pieces = self._pieces(dialogues, tools)
        laid = self._lay(pieces, threads)
        ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(laid.lengths)])
        within = np.arange(ends[-1], dtype=np.int64) - np.repeat(ends[:-1] - laid.starts, laid.lengths)
        bounds = ends[np.array([0, *pieces.record_ends])]
        return RenderedBatch(
            ids=laid.pool[within],
            weights=np.repeat(laid.weights, laid.lengths),
            bounds=bounds,
            spans=ends[np.array(pieces.spans, dtype=np.int64)].reshape(-1, 2),
            turns=_turns(pieces, ends, bounds),
        )

    def lengths(
        self, messages: pa.ListArray, tools: pa.StringArray | None = None, refused: Refused | None = None
    ) -> Lengths:
        """Tokens and trained tokens that `render_batch` would give, without laying them out.

        messages: a column of messages with role, content and, where some have them, weight and tool_calls.
        """
        del refused
        turns, bounds = messages.flatten(), zeroed_offsets(messages).to_numpy()
        roles = self._roles(turns.field("role"))
        contents, trained = self._content_lengths(turns, roles), np.zeros(len(turns), np.int64)
        tokens = self._mark_lengths[roles] + contents
        own = roles == ROLES.index("assistant")
        weighed = own & (_weights(turns, own) > 0)
        trained[weighed] = (contents + self._entry_lengths[self._end_of_turn])[weighed]
        places, sizes = self._slot_lengths(_column(turns, "tool_calls"), self._calls)
        places, sizes = places[own[places]], sizes[own[places]]
        tokens[places] += sizes
        trained[places] += np.where(weighed[places], sizes, 0)
        totals = [np.diff(np.concatenate([[0], np.cumsum(counts)])[bounds]) for counts in (tokens, trained)]
        totals[0] += self._entry_lengths[self._opening]
        if tools is not None:
            places, sizes = self._slot_lengths(tools, self._tools)
            totals[0][places] += sizes
        return Lengths(totals[0].astype(np.int32), totals[1].astype(np.int32))

    def prompt(self, dialogue: Dialogue, tools: str | None = None) -> list[int]:
        """Ids of a dialogue and of what stands before the assistant's next turn."""
        ids = self.render(dialogue, tools).ids.tolist()
        return [*ids, *self._entries[self._slots["assistant"].before]]

    def render_text(self, text: str) -> Rendered:
        """A plain document: start, text, end; all but the start trained."""
        batch = self.render_texts([text])
        weights = np.ones(batch.ids.size, dtype=np.float32)
        weights[0] = 0.0
        return Rendered(batch.ids, weights, np.array([[1, batch.ids.size]], dtype=np.int32))

    def render_texts(self, texts: Sequence[str] | pa.Array, threads: int = 1) -> Encoded:
        """Plain documents one after another; their weights are 1 but for the first id of each."""
        ids, bounds = self.tokenizer.encode_many(texts, threads)
        count = bounds.size - 1
        framed = bounds + 2 * np.arange(count + 1, dtype=np.int64)
        out = np.empty(ids.size + 2 * count, dtype=np.int32)
        inside = np.ones(out.size, dtype=np.bool_)
        inside[framed[:-1]] = inside[framed[1:] - 1] = False
        out[inside] = ids
        out[framed[:-1]], out[framed[1:] - 1] = self.tokenizer.bos_id, self.tokenizer.end_of_text_id
        return Encoded(out, framed)

    def _in_order(self) -> list[tuple[str, _Slot]]:
        """The slot of each of ROLES; an empty one for a role without marks."""
        nothing = _Slot(self._opening, "", self._opening)
        return [(role, self._slots.get(role, nothing)) for role in ROLES]

    def _marks_around(self, role: str, slot: _Slot) -> int:
        """Ids of the marks of a turn beside its content."""
        after = (self._end_of_turn, self._after_end) if role == "assistant" else (slot.after,)
        return int(self._entry_lengths[[slot.before, *after]].sum())

    def _roles(self, roles: pa.StringArray) -> NDArray[np.int64]:
        """Place in ROLES of each turn's role."""
        if unknown := [role for role in roles.unique().to_pylist() if role not in self._slots]:
            raise self._without_marks(unknown[0])
        return pc.index_in(roles, pa.array(ROLES)).to_numpy().astype(np.int64)

    def _content_lengths(self, turns: pa.StructArray, roles: NDArray[np.int64]) -> NDArray[np.int64]:
        """Ids of each turn's content, with what the template glues to its end."""
        contents = pc.fill_null(_column(turns, "content"), "")
        contents = pc.utf8_trim(contents, characters=_WHITE_SPACE) if self._trim else contents
        if any(self._tails):
            contents = pc.binary_join_element_wise(contents, pa.array(self._tails).take(pa.array(roles)), "")
        return self.tokenizer.count_batch(contents).astype(np.int64)

    def _slot_lengths(self, texts: pa.StringArray, slot: _Slot) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Places of the texts that are not empty, and the ids of each in its slot."""
        places = np.flatnonzero(pc.fill_null(pc.greater(pc.binary_length(texts), 0), False).to_numpy(False))
        given = texts.take(pa.array(places)).to_pylist()
        counts = self.tokenizer.count_batch([(text.strip() if self._trim else text) + slot.tail for text in given])
        return places, counts + self._entry_lengths[slot.before] + self._entry_lengths[slot.after]

    def _without_marks(self, role: str) -> DataError:
        name, known = self._template.name, ", ".join(self._slots)
        return DataError(f"role '{role}' has no marks in template '{name}', which knows {known}")

    def _slot(self, marks: Marks) -> _Slot:
        pieces = self._template.pieces(marks.suffix)
        tail = pieces[0] if pieces and pieces[0] not in self.tokenizer.reserved else ""
        return _Slot(self._entry(marks.prefix), tail, self._entry(marks.suffix.removeprefix(tail)))

    def _entry(self, marks: str) -> int:
        """Number of the entry that holds the ids of some marks."""
        if marks not in self._entry_of:
            self._entry_of[marks] = len(self._entries)
            self._entries.append(self._encode_marks(marks))
        return self._entry_of[marks]

    def _encode_marks(self, marks: str) -> list[int]:
        ids: list[int] = []
        for piece in self._template.pieces(marks):
            known = self.tokenizer.reserved.get(piece)
            ids.extend(self.tokenizer.encode(piece) if known is None else [known])
        return ids

    def _pieces(self, dialogues: Sequence[Dialogue], tools: Sequence[str | None]) -> _Pieces:
        pieces = _Pieces()
        for dialogue, definitions in zip(dialogues, tools or itertools.repeat(None, len(dialogues)), strict=True):
            self._put_entry(pieces, self._opening, 0.0)
            if definitions:
                self._put(pieces, self._tools, definitions, 0.0)
            for message in dialogue:
                self._put_message(pieces, message)
            pieces.record_ends.append(len(pieces.sources))
            pieces.message_ends.append(len(pieces.spans) // 2)
        return pieces

    def _put_message(self, pieces: _Pieces, message: Message) -> None:
        role = message["role"]
        slot = self._slots.get(role)
        if slot is None:
            raise self._without_marks(role)
        content = message.get("content") or ""
        pieces.starts.append(len(pieces.sources))
        pieces.roles.append(ROLES.index(role))
        if role != "assistant":
            self._put(pieces, slot, content, 0.0)
            pieces.spans.extend((len(pieces.sources) - 2, len(pieces.sources)))
            return
        weight = message_weight(message)
        self._put_entry(pieces, slot.before, 0.0)
        start = len(pieces.sources)
        self._put_text(pieces, content, weight)
        if message.get("tool_calls"):
            self._put(pieces, self._calls, message["tool_calls"], weight)
        self._put_entry(pieces, self._end_of_turn, weight)
        pieces.spans.extend((start, len(pieces.sources)))
        self._put_entry(pieces, self._after_end, 0.0)

    def _put(self, pieces: _Pieces, slot: _Slot, text: str, weight: float) -> None:
        self._put_entry(pieces, slot.before, weight)
        self._put_text(pieces, text, weight, slot.tail)
        self._put_entry(pieces, slot.after, weight)

    def _put_entry(self, pieces: _Pieces, entry: int, weight: float) -> None:
        pieces.sources.append(entry)
        pieces.weights.append(weight)

    def _put_text(self, pieces: _Pieces, text: str, weight: float, tail: str = "") -> None:
        pieces.sources.append(len(self._entries) + len(pieces.texts))
        pieces.weights.append(weight)
        pieces.texts.append((text.strip() if self._trim else text) + tail)

    def _lay(self, pieces: _Pieces, threads: int) -> _Laid:
        ids, bounds = self.tokenizer.encode_many(pieces.texts, threads)
        lengths = np.concatenate([self._entry_lengths, np.diff(bounds)])
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)[:-1]])
        sources = np.array(pieces.sources, dtype=np.int64)
        weights = np.array(pieces.weights, dtype=np.float32)
        return _Laid(np.concatenate([self._pool, ids]), starts[sources], lengths[sources], weights)


def _turns(pieces: _Pieces, ends: NDArray[np.int64], bounds: NDArray[np.int64]) -> Turns:
    """Where turns begin; `ends` are the pieces' bounds in the ids, `bounds` the records'."""
    of_record = np.array([0, *pieces.message_ends], dtype=np.int64)
    starts = ends[np.array(pieces.starts, dtype=np.int64)] - np.repeat(bounds[:-1], np.diff(of_record))
    return Turns(starts, np.array(pieces.roles, dtype=np.uint8), of_record)


def _column(turns: pa.StructArray, name: str) -> pa.StringArray:
    """A text of each turn; nulls where the turns have no such key."""
    known = turns.type.get_field_index(name) >= 0
    return turns.field(name) if known else pa.nulls(len(turns), pa.string())


def _weights(turns: pa.StructArray, own: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Weight of each turn, 1 where none is given. own: the assistant's, whose weights must be such."""
    if turns.type.get_field_index("weight") < 0:
        return np.ones(len(turns), np.float32)
    weights: NDArray[np.float32] = pc.fill_null(turns.field("weight"), 1.0).to_numpy(False).astype(np.float32)
    for weight in weights[own & ~(np.isfinite(weights) & (weights >= 0))].tolist():
        message_weight({"weight": weight})
    return weights


def message_weight(message: Message) -> float:
    """Weight of an assistant's message in the loss; 1 unless it says otherwise."""
    weight = message.get("weight")
    if weight is None:
        return 1.0
    if not (math.isfinite(weight) and weight >= 0):
        raise DataError(f"message weight {weight}: expected a number of at least 0")
    return float(weight)


@functools.lru_cache(maxsize=8)
def renderer_of(tokenizer: Tokenizer) -> Renderer:
    """The renderer of a tokenizer and its template, made once."""
    if isinstance(tokenizer.template, Template):
        return Renderer(tokenizer)
    from didact.render.foreign import ForeignRenderer

    return ForeignRenderer(tokenizer)


def render_dialogue(messages: Dialogue, tokenizer: Tokenizer, tools: str | None = None) -> Rendered:
    """One dialogue as ids, weights and the messages' spans; `tools` is the JSON of the tool definitions."""
    return renderer_of(tokenizer).render(messages, tools)


def render_prompt(messages: Dialogue, tokenizer: Tokenizer, tools: str | None = None) -> list[int]:
    """Ids a model continues with the assistant's next turn; a prefix of the ids of the whole dialogue."""
    return renderer_of(tokenizer).prompt(messages, tools)


def render_text(text: str, tokenizer: Tokenizer) -> Rendered:
    """One plain document as ids and weights: start, text, end; all but the start trained."""
    return renderer_of(tokenizer).render_text(text)


def render_batch(
    dialogues: Sequence[Dialogue], tokenizer: Tokenizer, tools: Sequence[str | None] = (), threads: int = 1
) -> RenderedBatch:
    """Many dialogues as flat arrays; equal to rendering each by itself, at many times the speed."""
    return renderer_of(tokenizer).render_batch(dialogues, tools, threads)
