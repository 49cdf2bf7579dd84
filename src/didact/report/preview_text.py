"""Records as the trainer sees them, for a terminal: readable without colour, clearer with it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from didact.report.summary import plain_console
from didact.text.shown import visible

if TYPE_CHECKING:
    from didact.model.preview import Preview, Shown, Token

TOKENS = 2000
"""Tokens shown of one document on a terminal; a page shows more."""


@dataclass(frozen=True)
class Run:
    """Neighbouring tokens of one turn, weight and piece. role: of the turn that begins here, else empty."""

    first: int
    role: str
    weight: float
    part: int
    tokens: list[Token]


def runs(document: Shown, most: int) -> Iterator[Run]:
    """The first `most` tokens of a document, cut where turn, weight or piece change."""
    roles = {start: role for role, start in document.turns}
    edges = sorted({0, *roles, *_changes(document.tokens), len(document.tokens)})
    for first, stop in itertools.pairwise(edge for edge in edges if edge <= len(document.tokens)):
        tokens = document.tokens[first : min(stop, most)]
        if tokens:
            yield Run(first, roles.get(first, ""), tokens[0].weight, tokens[0].part, tokens)


def _changes(tokens: list[Token]) -> Iterator[int]:
    for place, (one, other) in enumerate(itertools.pairwise(tokens), start=1):
        if (one.weight, one.part) != (other.weight, other.part):
            yield place


def heading(document: Shown) -> str:
    """What a document is, in one line."""
    named = f" {document.source}" if document.source else ""
    return (
        f"{document.where}{named} {document.id}: {len(document.tokens):,} tokens, {document.trained:,} trained; "
        f"{document.fate}"
    )


def about(preview: Preview) -> str:
    """How the documents were made, in one line."""
    context = "no context" if preview.context is None else f"context {preview.context:,}, over_long {preview.over_long}"
    return f"{preview.of}: {preview.tokenizer}; {context}"


def spelt_note(document: Shown) -> str:
    """That reserved strings in texts are encoded as letters; empty without any."""
    if not document.spelt:
        return ""
    return f"UN006: its texts spell {', '.join(document.spelt)}, encoded as the characters they are made of"


def print_preview(preview: Preview, console: Console | None = None) -> None:
    """Print the documents on stdout."""
    out = console or plain_console()
    out.print(Text(visible(about(preview)), style="bold"))
    out.print(Text("│ ends a token; ▌ marks tokens that carry loss, ✂ those left out; · ↵ ⇥ are white space"))
    for document in preview.documents:
        out.print()
        out.print(Text(visible(heading(document)), style="bold"))
        if document.spelt:
            out.print(Text(visible(spelt_note(document)), style="yellow"))
        out.print(_lines(document))
        if len(document.tokens) > TOKENS:
            out.print(Text(f"and {len(document.tokens) - TOKENS:,} more tokens; --html shows them"))


def _lines(document: Shown) -> Table:
    lines = Table.grid(padding=(0, 1))
    justified: tuple[Literal["left", "right"], ...] = ("right", "left", "right", "left")
    for justify in justified:
        lines.add_column(justify=justify, no_wrap=True)
    lines.add_column(overflow="fold")
    for run in runs(document, TOKENS):
        sign = "✂" if run.part < 0 else "▌" if run.weight > 0 else ""
        piece = f" {run.part + 1}" if run.part > 0 else ""
        style = "strike dim" if run.part < 0 else "bold green" if run.weight > 0 else ""
        lines.add_row(
            Text(f"{run.first:,}", style="dim"),
            Text(run.role, style="cyan"),
            Text(f"{run.weight:g}", style="dim"),
            Text(f"{sign}{piece}", style=style.replace("strike ", "")),
            _tokens(run, style),
        )
    return lines


def _tokens(run: Run, style: str) -> Text:
    line = Text()
    for token in run.tokens:
        line.append(token.text, style=f"{style} reverse" if token.mark else style)
        line.append("│", style="dim")
    return line
