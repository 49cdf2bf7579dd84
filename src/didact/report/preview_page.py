"""Records as the trainer sees them, as one self-contained web page without scripts."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING

from didact.report.preview_text import Run, about, heading, runs, spelt_note
from didact.text.shown import visible

if TYPE_CHECKING:
    from didact.model.preview import Preview, Shown, Token

TOKENS = 50_000
"""Tokens shown of one document on a page; a browser scrolls through them at ease."""

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --soft: #60646c; --line: #d9d9e0; --back: #fcfcfd; --one: #eceef2;
  --two: #f6f7f9; --good: #18794e; --good-one: #c4e8d1; --good-two: #dcf2e4; --mark: #5b2d8e; --bad: #b42318; }
@media (prefers-color-scheme: dark) { :root { --ink: #edeef0; --soft: #b0b4ba; --line: #363a3f; --back: #111113;
  --one: #26292e; --two: #1c1f23; --good: #3dd68c; --good-one: #175c3b; --good-two: #11402a; --mark: #c9a5f5;
  --bad: #ff9592; } }
body { margin: 0 auto; max-width: 76rem; padding: 1.5rem; background: var(--back); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.4rem; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.05rem; margin: 2rem 0 .25rem; overflow-wrap: anywhere; }
p { margin: .25rem 0 .75rem; overflow-wrap: anywhere; } .soft { color: var(--soft); } .note { color: var(--bad); }
table { border-collapse: collapse; width: 100%; }
th { color: var(--soft); font-weight: 600; text-align: left; white-space: nowrap; }
th, td { padding: .2rem .6rem .2rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; color: var(--soft); white-space: nowrap; }
td.say { border-left: 5px solid transparent; padding-left: .6rem; width: 100%;
  font: 14px/1.9 ui-monospace, monospace; overflow-wrap: anywhere; }
td.trained { border-left-color: var(--good); } td.out { border-left: 5px dashed var(--bad); }
b, s, i { font-style: normal; font-weight: inherit; text-decoration: none; border-right: 1px solid var(--soft);
  padding: .1rem .12rem; background: var(--one); }
b:nth-of-type(even) { background: var(--two); }
td.trained b { background: var(--good-one); font-weight: 600; text-decoration: underline; text-underline-offset: .3em; }
td.trained b:nth-of-type(even) { background: var(--good-two); }
td.out b, td.out i { text-decoration: line-through; color: var(--soft); }
i { background: none; color: var(--mark); border: 1px solid var(--mark); border-radius: 4px; margin-right: 2px; }
td.trained i { text-decoration: underline; text-underline-offset: .3em; font-weight: 600; }
.key { width: auto; } .key td { border-bottom: 0; padding-right: 1.5rem; white-space: nowrap; }
.key td.say { width: auto; }
.key b, .key i { font: 14px/1.9 ui-monospace, monospace; }
"""


def preview_page(preview: Preview) -> str:
    """The page: how the documents were made, what the signs mean, each document by turns."""
    parts = ["<h1>What the trainer sees</h1>", f"<p>{_text(about(preview))}</p>", _KEY]
    parts += [_document(document) for document in preview.documents]
    policy = f"default-src 'none'; style-src '{_digest(_STYLE)}'; base-uri 'none'; form-action 'none'"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>What the trainer sees</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"{chr(10).join(parts)}\n</body>\n</html>\n"
    )


_KEY = (
    '<table class="key"><tr><td class="say"><b>a</b><b>·token</b></td><td>read, not trained (weight 0)</td></tr>'
    '<tr><td class="say trained"><b>a</b><b>·token</b></td><td>trained: underlined, bar at the left</td></tr>'
    '<tr><td class="say out"><b>a</b><b>·token</b></td><td>left out under the context: struck through</td></tr>'
    '<tr><td class="say"><i>&lt;|mark|&gt;</i></td><td>a reserved token, which no text can spell</td></tr></table>'
    '<p class="soft">· space, ↵ line feed, ⇥ tab; ‹e4› is a byte of a character that ends with a '
    "later token. Point at a token for its id.</p>"
)


def _document(document: Shown) -> str:
    note = spelt_note(document)
    more = len(document.tokens) - TOKENS
    rows = "\n".join(_rows(document))
    return (
        f"<h2>{_text(heading(document))}</h2>\n"
        + (f'<p class="note">{_text(note)}</p>' if note else "")
        + '<table><thead><tr><th scope="col" class="number">at</th><th scope="col">turn</th>'
        '<th scope="col" class="number">weight</th><th scope="col">context</th><th scope="col">tokens</th></tr></thead>'
        f"\n<tbody>\n{rows}\n</tbody></table>" + (f"<p>and {more:,} more tokens</p>" if more > 0 else "")
    )


def _rows(document: Shown) -> Iterator[str]:
    for run in runs(document, TOKENS):
        tokens = "".join(_token(run.first + place, token) for place, token in enumerate(run.tokens))
        state = "left out" if run.part < 0 else f"in piece {run.part + 1}" if run.part > 0 else "in"
        yield (
            f'<tr><td class="number">{run.first:,}</td><td>{_text(run.role)}</td><td class="number">{run.weight:g}</td>'
            f'<td>{state}</td><td class="say {_kind(run)}">{tokens}</td></tr>'
        )


def _kind(run: Run) -> str:
    return "out" if run.part < 0 else "trained" if run.weight > 0 else ""


def _token(place: int, token: Token) -> str:
    tag = "i" if token.mark else "b"
    return f'<{tag} title="token {place:,}, id {token.id:,}">{_text(token.text)}</{tag}>'


def _digest(content: str) -> str:
    """How a content security policy names an inline style."""
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"


def _text(text: str) -> str:
    """Text from outside as HTML text."""
    return escape(visible(text), quote=True)
