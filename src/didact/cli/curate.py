"""Verbs on data: validate, build, log, verify, tokenize."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from didact.cli.options import RECIPE, json_option, pairs_option, print_json, store_option, workers_option


@click.command(epilog="Example: didact validate data/*.jsonl --report findings.html --strict")
@click.argument("paths", nargs=-1, required=True)
@click.option(
    "--format",
    "format_name",
    default="auto",
    show_default=True,
    help="Adapter to read with; `didact formats` lists them.",
)
@pairs_option("--columns", metavar="NAME=KEY", help="Which key of a row holds what, as in prompt=query; repeatable.")
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
    "--fix",
    "out",
    type=click.Path(path_type=Path),
    metavar="OUT",
    help="Copy PATHS to OUT with what can be corrected safely; every change stands in OUT.patch.jsonl.",
)
@json_option
@click.pass_context
def validate(
    ctx: click.Context,
    paths: tuple[str, ...],
    format_name: str,
    columns: dict[str, str],
    where: dict[str, str],
    limit: int | None,
    strict: bool,
    max_findings: int,
    reports: tuple[Path, ...],
    out: Path | None,
    as_json: bool,
) -> None:
    """Check every row of PATHS; exit 1 when something is wrong.

    With --fix the verdict is on PATHS as they are; OUT is a file for one file, a folder for several.
    """
    from didact.repair.files import repair
    from didact.report.progress import Narrator
    from didact.report.validation_files import require_writable, write_report
    from didact.report.verdicts import print_verdicts
    from didact.sources.files import list_files
    from didact.validate import validate as check

    inputs = [path for path, _ in list_files(paths, Path.cwd())]
    for path in reports:
        require_writable(path, inputs)
    settings: dict[str, Any] = {
        "format": format_name,
        "columns": columns,
        "limit": limit,
        "where": {key: _value(text) for key, text in where.items()},
        "tell": Narrator(),
    }
    repaired = None if out is None else repair(paths, out, **settings)
    report = check(paths, max_findings=max_findings, **settings)
    for path in reports:
        write_report(path, report)
    if as_json:
        print_json(report.as_json())
    else:
        print_verdicts(report, examples=max_findings)
    if repaired is not None:
        click.echo(repaired.told(), err=as_json)
    ctx.exit(0 if report.clean(strict) else 1)


def _value(text: str) -> Any:
    """A value as the command line spells it: a JSON number, boolean or null, else the text itself."""
    import orjson

    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    return text if isinstance(value, str | list | dict) else value


@click.command(epilog="Example: didact convert alpaca.json chats.jsonl --to openai")
@click.argument("given", metavar="IN")
@click.argument("out", metavar="OUT", type=click.Path(path_type=Path))
@click.option("--to", required=True, metavar="FORMAT", help="Format to write; `didact formats` lists them.")
@click.option("--from", "format_name", default="auto", show_default=True, metavar="FORMAT", help="Format to read.")
@pairs_option("--columns", metavar="NAME=KEY", help="Which key of a row holds what, as in prompt=query; repeatable.")
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
    how: dict[str, Any] = {"format": format_name, "columns": columns, "unit": unit, "overwrite": overwrite}
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
        print_conversion(report)
    for code, count in sorted(report.copied.items()):
        click.echo(f"didact: {count:,} rows with {code} could not be read and were copied as they are", err=True)
    if refusal is not None:
        click.echo(f"didact: error: {refusal}", err=True)
    ctx.exit(0 if refusal is None else refusal.exit_code)


@click.command(epilog="Example: didact build recipe.yaml --workers 2")
@RECIPE
@store_option
@workers_option
@click.option("--max-rejected", type=click.IntRange(0), help="Fail when more rows than this are rejected.")
@json_option
def build(recipe: Path, store: Path | None, workers: int | None, max_rejected: int | None, as_json: bool) -> None:
    """Build the version that RECIPE describes: clean, filter, deduplicate, split, mix, write shards."""
    from didact.build.pipeline import build as make
    from didact.report.progress import Narrator
    from didact.report.summary import print_summary

    tell = Narrator()
    version = make(recipe, store=store, workers=workers, max_rejected=max_rejected, tell=tell)
    tell.finish()
    if as_json:
        print_json(
            {
                "version": version.manifest.version,
                "path": str(version.path),
                "manifest": version.manifest.model_dump(by_alias=True),
            }
        )
        return
    print_summary(version.manifest)
    click.echo(f"\n{version.manifest.name}@{version.manifest.version}: {version.path}")


def _found(written: str, store: Path | None) -> Path:
    from didact.store.layout import Store

    return Store(store if store is not None else Path("store")).find(written)


@click.command(epilog="Example: didact log bilingual --store store")
@click.argument("name")
@store_option
@json_option
def log(name: str, store: Path | None, as_json: bool) -> None:
    """List the versions of data set NAME and what refs name them."""
    from didact.errors import UnknownName
    from didact.store.layout import Store
    from didact.store.version import Version

    place = Store(store if store is not None else Path("store"))
    versions = [Version.open(place.version(name, version)).manifest for version in place.versions(name)]
    if not versions:
        raise UnknownName(
            "data set", name, [path.name for path in (place.root / "data").glob("*")], where=str(place.root)
        )
    latest = place.ref(name, "latest")
    rows = [
        {
            "version": m.version,
            "latest": m.version == latest,
            "parent": m.parent,
            "mixes": {k: mix.rows for k, mix in m.mixes.items()},
        }
        for m in versions
    ]
    if as_json:
        print_json(rows)
        return
    for row, manifest in zip(rows, versions, strict=True):
        sizes = ", ".join(f"{mix} {sum(entry.rows.values()):,} rows" for mix, entry in manifest.mixes.items())
        click.echo(f"{row['version']}{' latest' if row['latest'] else '':8}{sizes}")


@click.command(epilog="Example: didact verify bilingual@latest")
@click.argument("version")
@store_option
@json_option
@click.pass_context
def verify(ctx: click.Context, version: str, store: Path | None, as_json: bool) -> None:
    """Hash every file of VERSION again and compare with its manifest; exit 1 when they disagree."""
    from didact.store.version import Version

    opened = Version.open(_found(version, store))
    problems = opened.verify()
    if as_json:
        print_json({"path": str(opened.path), "problems": problems})
    else:
        for problem in problems:
            click.echo(problem)
        click.echo(
            f"{opened.path}: {len(problems)} problems"
            if problems
            else f"{opened.path}: {len(opened.manifest.files)} files, all as the manifest says"
        )
    ctx.exit(1 if problems else 0)


@click.command(epilog="Example: didact tokenize bilingual@latest")
@click.argument("version")
@click.option(
    "--tokenizer",
    type=click.Path(exists=True, path_type=Path),
    help="tokenizer.json or its folder; default: the version's own.",
)
@store_option
@workers_option
@json_option
def tokenize(version: str, tokenizer: Path | None, store: Path | None, workers: int | None, as_json: bool) -> None:
    """Write token shards of VERSION: memory-mappable ids, loss weights and record bounds."""
    from didact.engine.local import available_cores
    from didact.render.token_shards import tokenize_version
    from didact.render.tokenizer import Tokenizer
    from didact.store.layout import Store

    found = _found(version, store)
    loaded = Tokenizer.load(tokenizer if tokenizer is not None else found / "tokenizer")
    folder = Store(store if store is not None else Path("store")).tokens(found.name, loaded.digest)
    manifest = tokenize_version(found, loaded, folder, workers or available_cores())
    if as_json:
        print_json({"path": str(folder), "manifest": manifest})
    else:
        click.echo(str(folder))


COMMANDS = (validate, convert, build, log, verify, tokenize)
