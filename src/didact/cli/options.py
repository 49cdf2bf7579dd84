"""Options that several verbs share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

RECIPE = click.argument("recipe", type=click.Path(path_type=Path))


def store_option(command: Command) -> Command:
    """`--store`: overrides the recipe's store."""
    return click.option(
        "--store",
        type=click.Path(path_type=Path, file_okay=False),
        help="Folder of all results; overrides the recipe's.",
    )(command)


def json_option(command: Command) -> Command:
    """`--json`: one JSON object on stdout."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")(command)


def workers_option(command: Command) -> Command:
    """`--workers`: how many processes."""
    return click.option(
        "--workers",
        type=click.IntRange(1, 1024),
        help="Worker processes; default: one per core, one for small inputs. Never changes the result.",
    )(command)


def print_json(value: Any) -> None:
    """One JSON object on stdout."""
    import orjson

    click.echo(orjson.dumps(value, default=str, option=orjson.OPT_SERIALIZE_NUMPY).decode())
