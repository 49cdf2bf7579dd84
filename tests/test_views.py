"""Views: which texts of a record they take, and that slices of a column are read where they stand."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from segments_of import Row, column
from strategies import TEXT

from didact.text.views import Segments, View, ViewName

FIELD = st.sampled_from(
    ["question", "context", "definition", "answers/0", "answers/1", "candidates/10/1/0", "messages/0/0", "text"]
)
ROLE = st.sampled_from(["system", "user", "assistant", "tool", "text"])
ROWS = st.lists(st.lists(st.tuples(FIELD, ROLE, TEXT), max_size=5), max_size=6)


def texts_in(view: View) -> list[list[str]]:
    """The texts a view shows, read through its offsets."""
    data = view.data.tobytes()
    bounds = view.text_offsets
    return [
        [data[bounds[s] : bounds[s + 1]].decode() for s in range(start, end) if view.mask[s]]
        for start, end in zip(view.record_offsets[:-1], view.record_offsets[1:], strict=True)
    ]


def shown(rows: list[Row], name: ViewName) -> list[list[str]]:
    """The texts a view takes of these rows."""
    return texts_in(Segments.from_arrow(column(rows)).view(name))


def test_views_choose_by_role_and_field() -> None:
    """Prompt, response, whole and text take the roles and fields they say."""
    row = [
        ("messages/0/0", "system", "sys"),
        ("definition", "user", "def"),
        ("context", "user", "ctx"),
        ("choices/1", "user", "opt"),
        ("rationale", "assistant", "why"),
        ("answers/0", "assistant", "a0"),
        ("answers/1", "assistant", "a1"),
        ("outputs/12", "assistant", "o12"),
        ("candidates/0/1/0", "assistant", "c0"),
        ("candidates/1/1/0", "assistant", "c1"),
        ("messages/3/1", "tool", "tool"),
        ("text", "text", "txt"),
    ]
    assert shown([row], "prompt") == [["def", "ctx", "opt"]]
    assert shown([row], "response") == [["why", "a0", "c0"]]
    assert shown([row], "whole") == [["def", "ctx", "opt", "why", "a0", "c0", "tool", "txt"]]
    assert shown([row], "text") == [["txt"]]


@given(ROWS, st.data())
def test_a_slice_is_seen_as_a_column_of_its_own(rows: list[Row], data: st.DataObject) -> None:
    """A slice of a longer column shows exactly the texts of its rows, in every view."""
    start = data.draw(st.integers(0, len(rows)))
    length = data.draw(st.integers(0, len(rows) - start))
    names: tuple[ViewName, ...] = ("prompt", "response", "whole", "text")
    sliced = Segments.from_arrow(column(rows).slice(start, length))
    assert [texts_in(sliced.view(name)) for name in names] == [
        shown(rows[start : start + length], name) for name in names
    ]


@given(ROWS)
def test_texts_and_bytes_agree(rows: list[Row]) -> None:
    """The texts, the buffer and the number of records are the column's."""
    segments = Segments.from_arrow(column(rows))
    assert len(segments) == len(rows)
    assert segments.texts.to_pylist() == [text for row in rows for _, _, text in row]


@given(st.lists(TEXT, max_size=6), st.data())
def test_view_of_texts_has_one_record_for_each(texts: list[str], data: st.DataObject) -> None:
    """A plain array of texts, or a slice of one, becomes a view of one segment each."""
    start = data.draw(st.integers(0, len(texts)))
    assert texts_in(View.of_texts(pa.array(texts, pa.string()).slice(start))) == [[text] for text in texts[start:]]
