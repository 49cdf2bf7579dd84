"""Texts of records as kernels see them: one UTF-8 buffer, offsets into it, and which segments a view takes."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Arrays = TypeVar("Arrays", bound=tuple[npt.NDArray[Any], ...])
ViewName = Literal["prompt", "response", "whole", "text"]

_ROLES: dict[str, frozenset[str]] = {
    "prompt": frozenset({"user"}),
    "response": frozenset({"assistant"}),
    "whole": frozenset({"user", "assistant", "tool", "text"}),
    "text": frozenset({"text"}),
}
_OTHER_REFERENCE = re.compile(r"(?:answers|outputs|candidates)/[1-9][0-9]*(?:/|$)")
"""Fields of further accepted answers and of rejected candidates: a response is the first reference."""


class Words(NamedTuple):
    """The words of texts (see `didact.text.tokens`), found once for all that look at them."""

    hashes: npt.NDArray[np.uint64]
    """Of each word its hash."""
    sizes: npt.NDArray[np.int32]
    """Twice its number of characters, one more if one of them is a letter."""
    bounds: npt.NDArray[np.int64]
    """Which words are a text's, m + 1; none are those of a text that was not looked at."""


@dataclass(frozen=True, slots=True)
class View:
    """Chosen segments of records. A kernel takes `*view.arrays` and walks them; nothing is copied or joined.

    Segment s is `data[text_offsets[s]:text_offsets[s + 1]]`; record r has the segments from `record_offsets[r]` up to
    `record_offsets[r + 1]` of which `mask` is true.
    """

    data: npt.NDArray[np.uint8]
    text_offsets: npt.NDArray[np.int32]
    record_offsets: npt.NDArray[np.int32]
    mask: npt.NDArray[np.bool_]
    words: Words | None = None
    """Those of the segments, where they were found before."""

    @classmethod
    def of_texts(cls, texts: pa.StringArray) -> View:
        """One record for each text, with that text as its only segment."""
        data, offsets = _text_buffers(texts)
        return cls(
            data, offsets, read_only(np.arange(len(texts) + 1, dtype=np.int32)), np.ones(len(texts), dtype=np.bool_)
        )

    def __len__(self) -> int:
        return len(self.record_offsets) - 1

    def only(self, records: npt.NDArray[np.int64]) -> View:
        """The same segments of some records, and none of the others."""
        chosen = np.zeros(len(self), np.bool_)
        chosen[records] = True
        return replace(self, mask=self.mask & np.repeat(chosen, np.diff(self.record_offsets)))

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Bytes of each record's segments."""
        ends = np.cumsum(np.diff(self.text_offsets) * self.mask, dtype=np.int64)
        return np.diff(np.concatenate([np.zeros(1, np.int64), ends])[self.record_offsets])

    @property
    def arrays(
        self,
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
        """The four arrays, in the order every kernel takes them."""
        return self.data, self.text_offsets, self.record_offsets, self.mask


@dataclass(frozen=True, slots=True)
class Segments:
    """A `segments` column, `list<struct<field, role, text>>`, opened for kernels without copying its texts."""

    texts: pa.StringArray
    """All texts in order, m of them."""
    data: npt.NDArray[np.uint8]
    """The UTF-8 bytes behind `texts`."""
    text_offsets: npt.NDArray[np.int32]
    """Where each text begins in `data`, m + 1."""
    record_offsets: npt.NDArray[np.int32]
    """Which texts are a record's, n + 1, the first 0."""
    fields: npt.NDArray[np.int16]
    """Index into `field_names` of each text."""
    roles: npt.NDArray[np.int8]
    """Index into `role_names` of each text."""
    field_names: tuple[str, ...]
    role_names: tuple[str, ...]
    words: Words | None = None
    """Those of the texts of all views, where they were found."""

    @classmethod
    def from_arrow(cls, column: pa.ListArray) -> Segments:
        """Open a column or a slice of one. Fields and roles may be dictionary-encoded with any index type."""
        values = column.flatten()
        texts = values.field("text")
        data, text_offsets = _text_buffers(texts)
        offsets = column.offsets.to_numpy() if len(column) else np.zeros(1, dtype=np.int32)
        fields, field_names = _codes(values.field("field"), np.dtype(np.int16))
        roles, role_names = _codes(values.field("role"), np.dtype(np.int8))
        return cls(
            texts,
            data,
            text_offsets,
            read_only((offsets - offsets[0]).astype(np.int32)),
            fields,
            roles,
            field_names,
            role_names,
        )

    def __len__(self) -> int:
        return len(self.record_offsets) - 1

    def view(self, name: ViewName) -> View:
        """The segments of a view, by role and field.

        `prompt`: what the user says; a definition that a file shares is in its header and in no view. `response`: what
        the assistant says, of several accepted answers or candidates only the first. `whole`: all but system texts and
        further answers. `text`: plain text.
        """
        role_in = np.array([role in _ROLES[name] for role in self.role_names] or [False])
        field_in = np.array([not _OTHER_REFERENCE.match(field) for field in self.field_names] or [False])
        mask = role_in[self.roles] & field_in[self.fields]
        return View(self.data, self.text_offsets, self.record_offsets, mask, self.words)


def _text_buffers(texts: pa.StringArray) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
    _, offsets, data = texts.buffers()
    bounds = np.zeros(1, dtype=np.int32)
    if offsets is not None and len(texts):
        bounds = np.frombuffer(offsets, dtype=np.int32)[texts.offset : texts.offset + len(texts) + 1]
    return read_only(np.frombuffer(data or b"", dtype=np.uint8)), read_only(bounds)


def _codes(column: pa.Array, kind: np.dtype[Any]) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    return encoded.indices.to_numpy(zero_copy_only=False).astype(kind, copy=False), tuple(
        encoded.dictionary.to_pylist()
    )


def read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Arrow's buffers are read-only; kernels are compiled for one kind of array, so all are made so."""
    array.setflags(write=False)
    return array


def all_read_only(arrays: Arrays) -> Arrays:
    """Arrays that a kernel takes together, each made `read_only`."""
    for array in arrays:
        read_only(array)
    return arrays
