"""Verbs that tell what there is: formats, schema, codes, signals, init."""

from __future__ import annotations

from pathlib import Path

import click

from didact.cli.options import json_option, print_json


@click.command(epilog="Example: didact formats")
@json_option
def formats(as_json: bool) -> None:
    """List the formats that can be read, with an example row of each."""
    from didact.formats.registry import adapters

    found = {name: {"about": adapter.description, "example": adapter.example} for name, adapter in adapters().items()}
    if as_json:
        print_json(found)
        return
    for name, told in found.items():
        click.echo(f"{name:20}{told['about']}")


@click.command(epilog="Example: didact schema task")
@click.argument("kind", required=False)
def schema(kind: str | None) -> None:
    """Print the JSON Schema of a KIND of record, of recipes, manifests or validations; without KIND, list them."""
    from didact.build.schemas import published
    from didact.errors import UnknownName

    schemas = published()
    if kind is None:
        for name, content in schemas.items():
            click.echo(f"{name:12}{content['$id']}")
    elif kind in schemas:
        print_json(schemas[kind])
    else:
        raise UnknownName("schema", kind, schemas)


@click.command(epilog="Example: didact codes RO003")
@click.argument("code", required=False)
@json_option
def codes(code: str | None, as_json: bool) -> None:
    """List the codes of findings, or explain one CODE."""
    from dataclasses import asdict

    from didact.errors import UnknownName
    from didact.records.findings import CODES

    if code is not None and code not in CODES:
        raise UnknownName("code", code, CODES)
    chosen = [CODES[code]] if code else list(CODES.values())
    if as_json:
        print_json([asdict(entry) for entry in chosen])
        return
    for entry in chosen:
        click.echo(f"{entry.code}  {entry.severity:8}{entry.title}")
        if code:
            click.echo(f"\n{entry.about}")


@click.command(epilog="Example: didact signals")
@json_option
def signals(as_json: bool) -> None:
    """List the signals that filters can bound, with their units."""
    from didact.curate.signals import SIGNALS

    if as_json:
        print_json([{"name": s.name, "unit": s.unit, "about": s.description} for s in SIGNALS.values()])
        return
    for entry in SIGNALS.values():
        click.echo(f"{entry.name:30}{entry.unit:12}{entry.description}")


@click.command(epilog="Example: didact init my-data && didact run my-data/recipe.yaml")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
def init(directory: Path) -> None:
    """Write a recipe and a small data file to start from into DIRECTORY."""
    from didact.build.starter import write_starter

    for path in write_starter(directory):
        click.echo(f"wrote {path}")
    click.echo(f"next: didact run {directory / 'recipe.yaml'}")


COMMANDS = (init, formats, schema, codes, signals)
