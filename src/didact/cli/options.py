"""Options that several verbs share."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from didact.store.layout import Store, StoreAt

Command = TypeVar("Command", bound=Callable[..., Any])

_INVISIBLE = "[\\x7f-\\x9f\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u2069\\ufeff]"
"""Controls and marks that JSON lets stand unescaped and that move cursors, reverse lines or hide."""

RECIPE = click.argument("recipe", type=click.Path(path_type=Path))


def store_option(command: Command) -> Command:
    """`--store`, and how one that is elsewhere is reached; the command gets them as one StoreAt."""
    option = click.option(
        "--store", metavar="PATH|URL", help="Folder or URL of all results; overrides the recipe's (or ./store)."
    )
    return option(reached_options(command))


def reached_options(command: Command) -> Command:
    """`--storage` and `--work` beside the option or argument `store`; the command gets the three as one StoreAt."""

    @functools.wraps(command)
    def called(*args: Any, store: str | None, storage: dict[str, str], work: Path | None, **given: Any) -> Any:
        from didact.store.layout import StoreAt

        options = {key: json_or_text(text) for key, text in storage.items()}
        return command(*args, store=StoreAt(store, options, work), **given)

    storage = pairs_option(
        "--storage", help="Option of fsspec for a store's URL, such as endpoint_url=http://127.0.0.1:9000; repeatable."
    )
    work = click.option(
        "--work",
        type=click.Path(path_type=Path, file_okay=False),
        help="Folder for work on a store that is elsewhere; default: .cache/didact in the home folder.",
    )
    return storage(work(called))  # type: ignore[return-value]


def store_at(store: StoreAt) -> Store:
    """The store that `--store` names, or `store` in the current folder."""
    return store.open("store")


def json_or_text(text: str) -> Any:
    """A value as the command line spells it: a JSON number, boolean or null, else the text itself."""
    import orjson

    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    return text if isinstance(value, str | list | dict) else value


def json_option(command: Command) -> Command:
    """`--json`: one JSON object on stdout."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")(command)


def pairs_option(*names: str, help: str, metavar: str = "KEY=VALUE") -> Callable[[Command], Command]:
    """An option that may be given several times, each time as KEY=VALUE; the command gets a dict."""
    return click.option(*names, multiple=True, metavar=metavar, callback=_pairs, help=help)


def _pairs(ctx: click.Context, option: click.Parameter, given: Sequence[str]) -> dict[str, str]:
    del ctx
    pairs: dict[str, str] = {}
    for pair in given:
        key, equals, value = pair.partition("=")
        if not (key and equals and value):
            raise click.BadParameter(f"'{pair}' is not KEY=VALUE", param=option)
        if key in pairs:
            raise click.BadParameter(f"'{key}' is given twice", param=option)
        pairs[key] = value
    return pairs


def workers_option(command: Command) -> Command:
    """`--workers`: how many processes."""
    return click.option(
        "--workers",
        type=click.IntRange(1, 1024),
        help="Worker processes; default: one per core, one for small inputs. Never changes the result.",
    )(command)


def engine_options(command: Command) -> Command:
    """`--engine` and `--address`: what runs the work, and where."""
    address = click.option(
        "--address",
        metavar="HOST:PORT",
        help="With --engine ray: a running cluster, or `auto` on one of its nodes; default: start Ray here.",
    )
    engine = click.option(
        "--engine",
        type=click.Choice(["local", "ray"]),
        default="local",
        show_default=True,
        help="Processes of this machine, or Ray (pip install 'didact[ray]'). Never changes the result.",
    )
    return engine(address(command))


def names_option(command: Command) -> Command:
    """`--names`: the columns of CSV and TSV files that do not begin with their names; the command gets a list."""
    return click.option(
        "--names",
        callback=_names,
        metavar="NAME,NAME,...",
        help="Names of the columns of CSV and TSV files that do not begin with them.",
    )(command)


def _names(ctx: click.Context, option: click.Parameter, given: str | None) -> list[str]:
    del ctx
    names = [] if given is None else [name.strip() for name in given.split(",")]
    if not all(names):
        raise click.BadParameter(f"'{given}' leaves a column without a name", param=option)
    return names


def print_json(value: Any) -> None:
    """One JSON object on stdout, its invisible characters spelt as escapes, so that a terminal is safe from them."""
    import re

    import orjson

    written = orjson.dumps(value, default=str, option=orjson.OPT_SERIALIZE_NUMPY).decode()
    click.echo(re.sub(_INVISIBLE, lambda found: f"\\u{ord(found[0]):04x}", written))


def names_files(target: str, store: Store) -> bool:
    """Whether files are meant by an argument that may name a version of the store too."""
    path = Path(target)
    if path.exists():
        return not (path / "manifest.json").exists()
    known = target.partition("@")[0] in store.names
    return not known and bool(path.suffix or len(path.parts) > 1 or set("*?[") & set(target))
