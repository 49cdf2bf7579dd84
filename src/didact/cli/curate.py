"""Verbs on data: validate, build, tokenize."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from didact.cli.options import (
    RECIPE,
    engine_options,
    json_option,
    json_or_text,
    names_option,
    pairs_option,
    print_json,
    store_at,
    store_option,
    workers_option,
)

if TYPE_CHECKING:
    from didact.report.progress import Narrator
    from didact.store.layout import StoreAt


@click.command(epilog="Example: didact validate data/*.jsonl --report findings.html --strict")
@click.argument("paths", nargs=-1, required=True)
@click.option(
    "--format",
    "format_name",
    default="auto",
    show_default=True,
    help="Adapter to read with; `didact formats` lists them. FILE.py or FILE.py:NAME: one of your own.",
)
@pairs_option(
    "--columns",
    metavar="NAME=KEY",
    help="Which key of a row, or path in it, holds what, as in prompt=query; repeatable.",
)
@names_option
@pairs_option("--where", help="Check only rows with this value under this key; repeatable.")
@click.option("--limit", type=click.IntRange(1), help="Check only the first rows, before --where.")
@click.option("--strict", is_flag=True, help="Warnings count as errors.")
@click.option(
    "--max-findings",
    type=click.IntRange(0),
    default=2,
    show_default=True,
    help="Located findings kept per file and code, and shown per code.",
)
@click.option(
    "--report",
    "reports",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Write a report: FILE.json, FILE.sarif or FILE.html; repeatable.",
)
@click.option(
    "--tokenizer",
    type=click.Path(path_type=Path),
    help="tokenizer.json, or the folder or checkpoint it is in: render the records too (codes RE...).",
)
@click.option(
    "--context", type=click.IntRange(1), help="With --tokenizer: report records longer than so many tokens (RE007)."
)
@click.option(
    "--fix",
    "out",
    type=click.Path(path_type=Path),
    metavar="OUT",
    help="Copy PATHS to OUT with what can be corrected safely; every change stands in OUT.patch.jsonl.",
)
@workers_option
@json_option
@click.pass_context
def validate(
    ctx: click.Context,
    paths: tuple[str, ...],
    format_name: str,
    columns: dict[str, str],
    names: list[str],
    where: dict[str, str],
    limit: int | None,
    strict: bool,
    max_findings: int,
    reports: tuple[Path, ...],
    tokenizer: Path | None,
    context: int | None,
    out: Path | None,
    workers: int | None,
    as_json: bool,
) -> None:
    """Check every row of PATHS; exit 1 when something is wrong.

    With --fix the verdict is on PATHS as they are; OUT is a file for one file, a folder for several.
    """
    from didact.report.progress import Narrator
    from didact.validate import validate as check

    if reports:
        from didact.report.validation_files import require_writable, write_report
        from didact.sources.files import list_files

        local = [path for path in paths if "://" not in path]
        inputs = [path for path, _ in list_files(local, Path.cwd())] if local else []
        for path in reports:
            require_writable(path, inputs)
    settings: dict[str, Any] = {
        "format": format_name,
        "columns": columns,
        "names": names,
        "limit": limit,
        "where": {key: json_or_text(text) for key, text in where.items()},
        "tell": Narrator(),
    }
    if out is not None:
        from didact.repair.files import repair

        repaired = repair(paths, out, **settings).told()
    report = check(paths, max_findings=max_findings, tokenizer=tokenizer, context=context, workers=workers, **settings)
    for path in reports:
        write_report(path, report)
    if as_json:
        print_json(report.as_json())
    else:
        from didact.report.verdicts import print_verdicts

        print_verdicts(report, examples=max_findings)
    if out is not None:
        click.echo(repaired, err=as_json)
    ctx.exit(0 if report.clean(strict) else 1)


@click.command(epilog="Example: didact convert alpaca.json chats.jsonl --to openai")
@click.argument("given", metavar="IN")
@click.argument("out", metavar="OUT", type=click.Path(path_type=Path))
@click.option("--to", required=True, metavar="FORMAT", help="Format to write; `didact formats` lists them.")
@click.option("--from", "format_name", default="auto", show_default=True, metavar="FORMAT", help="Format to read.")
@pairs_option("--columns", metavar="NAME=KEY", help="Which key of a row holds what, as in prompt=query; repeatable.")
@names_option
@click.option(
    "--unit",
    type=click.Choice(["paragraphs", "file", "line"]),
    default="paragraphs",
    show_default=True,
    help="What one record of plain text is.",
)
@click.option("--allow-loss", is_flag=True, help="Write although something is lost.")
@click.option("--losses", type=click.Path(path_type=Path, dir_okay=False), help="Also write the report to this file.")
@click.option("--overwrite", is_flag=True, help="Replace OUT when it is there.")
@json_option
@click.pass_context
def convert(
    ctx: click.Context,
    given: str,
    out: Path,
    to: str,
    format_name: str,
    columns: dict[str, str],
    names: list[str],
    unit: Any,
    allow_loss: bool,
    losses: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write the records of IN (file, folder or glob) to OUT in another format.

    Exit 1 with nothing written when something would be lost; a file written in its own format stays as it is.
    """
    from didact.convert.pipeline import convert as make
    from didact.durable import write_json
    from didact.errors import WouldLose
    from didact.report.losses import print_conversion
    from didact.report.progress import Narrator

    tell, refusal = Narrator(), None
    how: dict[str, Any] = {
        "format": format_name,
        "columns": columns,
        "names": names,
        "unit": unit,
        "overwrite": overwrite,
    }
    try:
        report = make(given, out, to=to, allow_loss=allow_loss, tell=tell, **how)
    except WouldLose as error:
        report, refusal = error.report, error
    tell.finish()
    if losses is not None:
        write_json(losses, report.as_json())
    if as_json:
        print_json(report.as_json())
    else:
        print_conversion(report, refused=refusal is not None)
    for code, count in sorted(report.copied.items()):
        click.echo(f"didact: {count:,} rows with {code} could not be read and were copied as they are", err=True)
    if refusal is not None:
        click.echo(f"didact: error: {refusal}", err=True)
    ctx.exit(0 if refusal is None else refusal.exit_code)


@click.command(epilog="Example: didact build recipe.yaml --workers 2")
@RECIPE
@store_option
@engine_options
@workers_option
@click.option("--max-rejected", type=click.IntRange(0), help="Fail when more rows than this are rejected.")
@click.option("--plan", "only_plan", is_flag=True, help="Tell what would run and why; write nothing.")
@click.option(
    "--sample",
    type=click.IntRange(1, 1_000_000),
    metavar="N",
    help="With --plan: run N rows of each source in a temporary folder; estimate time, disk and what filters drop.",
)
@json_option
def build(
    recipe: Path,
    store: StoreAt,
    engine: Any,
    address: str | None,
    workers: int | None,
    max_rejected: int | None,
    only_plan: bool,
    sample: int | None,
    as_json: bool,
) -> None:
    """Build the version that RECIPE describes: clean, filter, deduplicate, split, mix, write shards."""
    from didact.report.progress import Narrator

    tell = Narrator()
    if sample is not None and not only_plan:
        raise click.UsageError("--sample goes with --plan: a build takes all rows; `limit` in a source reads fewer")
    if only_plan and max_rejected is not None:
        raise click.UsageError("--plan counts no rejected row, so that --max-rejected has nothing to bound")
    if only_plan:
        _plan(recipe, store, sample, workers, tell, as_json)
        return
    if engine == "local":
        from didact.build.ahead import start_ahead

        start_ahead(recipe, workers, tell.note)
    from didact.build.pipeline import build as make
    from didact.report.summary import print_summary

    where: dict[str, Any] = {"engine": engine, "address": address, "workers": workers}
    version = make(recipe, store=store, max_rejected=max_rejected, tell=tell, **where)
    tell.finish()
    if as_json:
        print_json(
            {
                "version": version.manifest.version,
                "path": str(version.folder),
                "manifest": version.manifest.model_dump(by_alias=True),
            }
        )
        return
    print_summary(version.manifest)
    click.echo(f"\n{version.manifest.name}@{version.manifest.version}: {version.folder}")


def _plan(recipe: Path, store: StoreAt, sample: int | None, workers: int | None, tell: Narrator, as_json: bool) -> None:
    from didact.build.plan import plan
    from didact.report.plan import print_plan

    found = plan(recipe, store=store, sample=sample, workers=workers, tell=tell)
    tell.finish()
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        print_plan(found)


@click.command(epilog="Example: didact tokenize bilingual@latest --layout nanogpt")
@click.argument("version")
@click.option(
    "--tokenizer",
    type=click.Path(exists=True, path_type=Path),
    help="tokenizer.json or its folder; default: the version's own.",
)
@click.option(
    "--layout",
    type=click.Choice(["nanogpt", "megatron"]),
    help="Write the ids once more, in the files that nanoGPT (.bin) or Megatron (.bin and .idx) read.",
)
@click.option(
    "--mix",
    "mixes",
    multiple=True,
    help="With --layout: mix to write; may be repeated. Default: those of plain text, as layouts hold no loss weights.",
)
@store_option
@workers_option
@json_option
def tokenize(
    version: str,
    tokenizer: Path | None,
    layout: Literal["nanogpt", "megatron"] | None,
    mixes: tuple[str, ...],
    store: StoreAt,
    workers: int | None,
    as_json: bool,
) -> None:
    """Write token shards of VERSION: memory-mappable ids, loss weights and record bounds; prints their folder."""
    from didact.durable import read_json
    from didact.engine.local import available_cores
    from didact.render.layouts import write_layout
    from didact.render.token_shards import TOKENS
    from didact.render.tokenizer import Tokenizer
    from didact.store.token_folder import keep_layout, tokenized
    from didact.store.version import Version

    if mixes and layout is None:
        raise click.UsageError("--mix chooses what --layout writes; token shards are made of every mix")
    place = store_at(store)
    found = Version.open(place.find(version))
    loaded = Tokenizer.load(tokenizer if tokenizer is not None else found.fetch("tokenizer"))
    with place.in_use():
        folder = tokenized(place, found, loaded, workers or available_cores())
        laid = None if layout is None else write_layout(folder, loaded, layout, mixes)
        keep_layout(place.tokens(found.manifest.version, loaded.digest), laid)
    if as_json:
        manifest = read_json(folder / TOKENS)
        print_json({"path": str(folder), "manifest": manifest, "layout": None if laid is None else str(laid)})
    else:
        click.echo(str(laid or folder))


COMMANDS = (validate, convert, build, tokenize)
