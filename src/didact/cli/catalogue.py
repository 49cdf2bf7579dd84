"""Verbs that tell what there is: formats, schema, codes, signals, init."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill, indent
from typing import TYPE_CHECKING

import click

from didact.cli.options import json_option, print_json

if TYPE_CHECKING:
    from didact.records.codes import Code


@click.command(epilog="Example: didact formats preference")
@click.argument("name", required=False)
@json_option
def formats(name: str | None, as_json: bool) -> None:
    """List the formats that can be read; with NAME, rows of that one in each of its variants."""
    from didact.formats.json_edit import spelled
    from didact.formats.registry import adapters, get

    chosen = adapters() if name is None else {name: get(name)}
    if as_json:
        print_json(
            {
                name: {"about": told.description, "example": told.example, "variants": dict(told.variants)}
                for name, told in chosen.items()
            }
        )
        return
    for adapter in chosen.values():
        click.echo(f"{adapter.name:20}{adapter.description}")
        if name is not None:
            click.echo(f"\n{adapter.example}")
            for variant, row in adapter.variants.items():
                click.echo(f"\n{variant}:\n{spelled(row)}")


@click.command(epilog="Example: didact schema task")
@click.argument("kind", required=False)
@json_option
def schema(kind: str | None, as_json: bool) -> None:
    """Print the JSON Schema of a KIND of record, of recipes, manifests or validations; without KIND, list them.

    A schema is JSON with and without --json; the list is an object of names and meanings with it.
    """
    from didact.build.schemas import published
    from didact.errors import UnknownName

    schemas = published()
    if kind is None:
        told = {name: content["description"].partition("\n")[0] for name, content in schemas.items()}
        if as_json:
            print_json(told)
            return
        for name, line in told.items():
            click.echo(f"{name:12}{line}")
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
    from didact.records.codes import CODES

    named = code.upper() if code is not None else None
    if named is not None and named not in CODES:
        raise UnknownName("code", named, CODES)
    chosen = [CODES[named]] if named else list(CODES.values())
    if as_json:
        print_json([asdict(entry) for entry in chosen])
        return
    for entry in chosen:
        click.echo(f"{entry.code}  {entry.severity:8}{entry.level:5}{entry.title}")
    if named:
        _explain(chosen[0])


def _explain(entry: Code) -> None:
    """The rest of a catalogue entry, under its line."""
    click.echo(f"\n{fill(entry.about, 100)}\n")
    click.echo(f"reported by  {', '.join(f'didact {name}' for name in entry.commands)}")
    click.echo(f"fix          {entry.fix or 'none is safe: look at the row'}")
    click.echo(f"example\n\n{indent(entry.example, '    ')}")


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
