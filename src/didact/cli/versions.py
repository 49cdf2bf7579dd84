"""Verbs on versions: log, verify, diff, explain."""

from __future__ import annotations

from pathlib import Path

import click

from didact.cli.options import json_option, print_json, store_at, store_option


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

    opened = Version.open(store_at(store).find(version))
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


@click.command(epilog="Example: didact diff bilingual@v1 bilingual@latest")
@click.argument("old")
@click.argument("new")
@click.option(
    "--limit",
    type=click.IntRange(0),
    default=20,
    show_default=True,
    help="Records listed of each kind; all are counted.",
)
@store_option
@json_option
def diff(old: str, new: str, limit: int, store: Path | None, as_json: bool) -> None:
    """Tell which records came, went or changed from version OLD to NEW, and which stage, setting or input did it."""
    from didact.report.difference import print_diff
    from didact.store.version import Version

    place = store_at(store)
    found = Version.open(place.find(old)).diff(Version.open(place.find(new)), limit)
    if as_json:
        print_json(found.as_json())
    else:
        print_diff(found)


@click.command(epilog="Example: didact explain bilingual 4f1c22")
@click.argument("version")
@click.argument("record")
@store_option
@json_option
def explain(version: str, record: str, store: Path | None, as_json: bool) -> None:
    """Tell the whole life of a RECORD of VERSION: where it was read, what changed it, where it is or why it is not.

    RECORD is an id or how it begins, or a place: PATH:LINE, or PATH#INDEX counted from 0.
    """
    from didact.report.life import print_life
    from didact.store.version import Version

    lives = Version.open(store_at(store).find(version)).explain(record)
    if as_json:
        print_json({"rows": [life.as_json() for life in lives]})
        return
    for number, life in enumerate(lives):
        if number:
            click.echo()
        print_life(life)


COMMANDS = (log, diff, explain, verify)
