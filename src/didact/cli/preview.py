"""The verb that shows records as the trainer sees them: preview."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from didact.cli.options import (
    json_option,
    names_files,
    names_option,
    pairs_option,
    print_json,
    store_at,
    store_option,
)

if TYPE_CHECKING:
    from didact.model.batches import Policy
    from didact.render.template import Template
    from didact.store.layout import StoreAt


@click.command(epilog="Example: didact preview data.jsonl --row 3 --context 256 --html preview.html")
@click.argument("target", metavar="VERSION|FILE")
@click.option("--row", type=click.IntRange(0), default=0, show_default=True, help="First row to show, counted from 0.")
@click.option("--rows", "count", type=click.IntRange(1, 1000), default=1, show_default=True, help="How many rows.")
@click.option(
    "--tokenizer",
    type=click.Path(path_type=Path),
    help="tokenizer.json, or the folder or checkpoint it is in; default: the version's own, for files a token a byte.",
)
@click.option(
    "--template", help="Template to use with --tokenizer where it has none of its own, such as chatml, or own."
)
@click.option("--context", type=click.IntRange(1), help="Longest document of training, in tokens: show what is cut.")
@click.option(
    "--over-long",
    type=click.Choice(["drop", "error", "head", "tail", "turns", "first_turns"]),
    default="drop",
    show_default=True,
    help="With --context: what becomes of longer conversations, as in `finetune.over_long`.",
)
@click.option("--mix", help="Mix of a version; default: finetune, else the first.")
@click.option("--split", default="train", show_default=True, help="Split of a version.")
@click.option("--format", "format_name", default="auto", show_default=True, help="Format of files.")
@pairs_option("--columns", help="Own names of a file's fields, as in a recipe's source; repeatable.")
@names_option
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Write one self-contained page too.")
@store_option
@json_option
def preview(
    target: str,
    row: int,
    count: int,
    tokenizer: Path | None,
    template: str | None,
    context: int | None,
    over_long: Policy,
    mix: str | None,
    split: str,
    format_name: str,
    columns: dict[str, str],
    names: list[str],
    html: Path | None,
    store: StoreAt,
    as_json: bool,
) -> None:
    """Show records as the trainer sees them: tokens, weights, turns, and what a context leaves out.

    VERSION is NAME, NAME@REF, NAME@HEX or its folder; FILE a file or glob in any format.
    """
    from didact.model.preview import preview_files, preview_version
    from didact.render.template import template as named
    from didact.render.tokenizer import Tokenizer
    from didact.store.version import Version

    if template is not None and tokenizer is None:
        raise click.UsageError("--template belongs to --tokenizer")
    wanted: Template | Literal["own"] | None = "own" if template == "own" else named(template) if template else None
    chosen = None if tokenizer is None else Tokenizer.load(tokenizer, wanted)
    how: dict[str, Any] = {
        "row": row, "count": count, "tokenizer": chosen, "context": context, "over_long": over_long
    }  # fmt: skip
    place = store_at(store)
    if names_files(target, place):
        found = preview_files(target, **how, format=format_name, columns=columns, names=names)
    else:
        version = Version.open(place.find(target))
        found = preview_version(version, **how, mix=mix, split=split)
    if html is not None:
        from didact.durable import write_atomic
        from didact.report.preview_page import preview_page

        write_atomic(html, preview_page(found).encode())
    if as_json:
        print_json(found.as_json())
        return
    from didact.report.preview_text import print_preview

    print_preview(found)
    if html is not None:
        click.echo(f"\npage: {html}")


COMMANDS = (preview,)
