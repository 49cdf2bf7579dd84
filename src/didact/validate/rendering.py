"""What a tokenizer and its template make of records: no token to learn, more tokens than fit, nothing at all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import orjson

from didact.errors import DataError, RenderError
from didact.records import Chat, Preference, Record
from didact.records.base import Turn
from didact.records.findings import Finding
from didact.render.renderer import Renderer, renderer_of
from didact.render.tokenizer import Tokenizer
from didact.sources.read import BlockRead


@dataclass(frozen=True, slots=True)
class Rendering:
    """How records are rendered: the tokenizer's file or folder, and the longest record trained on, in tokens."""

    tokenizer: str
    context: int | None = None


@cache
def _renderer(tokenizer: str) -> Renderer:
    """Once in each process; a tokenizer takes longer to load than a block to render."""
    return renderer_of(Tokenizer.load(Path(tokenizer)))


def render_findings(read: BlockRead, how: Rendering) -> Iterator[Finding]:
    """Warnings about the dialogues of a block; plain text is split to any length, so it is passed over."""
    renderer = _renderer(how.tokenizer)
    for record, place in zip(read.records, read.places, strict=True):
        dialogue = record.dialogue(read.headers.get(record.header or ""))
        if not dialogue:
            continue
        for code, message in _problems(renderer, record, dialogue, how.context):
            yield Finding(code, place.path, place.index, place.line, place.offset, "", message)


def _problems(
    renderer: Renderer, record: Record, dialogue: list[Turn], context: int | None
) -> Iterator[tuple[str, str]]:
    tools = record.tools if isinstance(record, Chat | Preference) else []
    try:
        batch = renderer.render_batch([dialogue], [orjson.dumps(tools).decode() if tools else None])
    except RenderError as error:
        yield error.code, error.message
        return
    except DataError as error:
        yield "RE001", f"the template cannot render it: {error}"
        return
    tokens, carries = batch.ids.size, batch.weights > 0
    if not carries.any():
        yield "RE003", f"none of its {tokens} tokens carries loss"
    elif context is not None and not carries[1 : context + 1].any():
        yield "RE006", f"cut to the context of {context}, its beginning has no token that carries loss"
    if context is not None and tokens - 1 > context:
        yield "RE007", f"{tokens} tokens, and a context of {context} holds {context + 1} with the last one's target"
