"""Verbs on versions: log, diff, explain, ref, verify, export, report, gc."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from didact.cli.options import json_option, print_json, reached_options, store_at, store_option

if TYPE_CHECKING:
    from didact.store.layout import StoreAt


@click.command(epilog="Example: didact log bilingual --store store")
@click.argument("name")
@store_option
@json_option
def log(name: str, store: StoreAt, as_json: bool) -> None:
    """List the versions of data set NAME, the latest first and then its parents, with the refs that name them."""
    from didact.report.history import print_history
    from didact.store.history import history

    entries = history(store_at(store), name)
    if as_json:
        print_json([entry.as_json() for entry in entries])
    else:
        print_history(entries)


@click.command(epilog="Example: didact verify bilingual@latest")
@click.argument("version")
@store_option
@json_option
@click.pass_context
def verify(ctx: click.Context, version: str, store: StoreAt, as_json: bool) -> None:
    """Hash every file of VERSION, and of its token shards in the store, and compare with the manifests; exit 1 when
    they disagree.

    VERSION may also be a folder of token shards.
    """
    from didact.render.verify_tokens import is_token_folder, verify_tokens
    from didact.store.token_folder import token_problems
    from didact.store.version import Version

    place, answer = store_at(store), dict[str, Any](path=version, problems=[])
    if is_token_folder(Path(version)):
        answer["tokens"] = {version: verify_tokens(Path(version))}
    else:
        opened = Version.open(place.find(version))
        answer |= {"path": str(opened.folder), "problems": opened.verify()}
        answer["tokens"] = token_problems(place, opened.manifest.version)
    if as_json:
        print_json(answer)
    else:
        for path, problems in ({answer["path"]: answer["problems"]} | answer["tokens"]).items():
            for problem in problems:
                click.echo(problem)
            click.echo(f"{path}: {f'{len(problems)} problems' if problems else 'all as the manifest says'}")
    ctx.exit(1 if answer["problems"] or any(answer["tokens"].values()) else 0)


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
def diff(old: str, new: str, limit: int, store: StoreAt, as_json: bool) -> None:
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
def explain(version: str, record: str, store: StoreAt, as_json: bool) -> None:
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


@click.command(epilog="Example: didact ref bilingual@latest v1")
@click.argument("version")
@click.argument("tag")
@click.option("--delete", is_flag=True, help="Forget the ref TAG of the data set VERSION; the version stays until gc.")
@store_option
def ref(version: str, tag: str, delete: bool, store: StoreAt) -> None:
    """Let TAG name VERSION from now on, as in NAME@TAG; what a ref names is kept by `didact gc`."""
    from didact.errors import CallError
    from didact.store.version import Version

    place = store_at(store)
    with place.in_use():
        if delete:
            place.delete_ref(version, tag)
            click.echo(f"{version}@{tag}: deleted")
            return
        found = Version.open(place.find(version)).manifest
        if found.version not in place.versions(found.name):
            raise CallError(f"{version}: is not in the store {place}; refs name versions of their own store")
        place.set_ref(found.name, tag, found.version)
    click.echo(f"{found.name}@{tag}: {found.version}")


@click.command(epilog="Example: didact export bilingual@v1 out --to hf")
@click.argument("version")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option("--to", "to", required=True, help="hf, jsonl, messages, or a third-party format.")
@click.option("--mix", "mixes", multiple=True, help="Mix to write; may be repeated. Default: all that suit.")
@click.option("--allow-loss", is_flag=True, help="Leave out what the format has no place for, and count it.")
@store_option
@json_option
def export(
    version: str, directory: Path, to: str, mixes: tuple[str, ...], allow_loss: bool, store: StoreAt, as_json: bool
) -> None:
    """Write mixes of VERSION into the new or empty folder DIRECTORY, for other programs to read.

    hf: a Hugging Face dataset folder. jsonl: Didact's records. messages: OpenAI's fine-tuning lines.
    """
    from didact.report.history import print_export
    from didact.store.version import Version

    done = Version.open(store_at(store).find(version)).export(directory, to, mixes or None, allow_loss)
    if as_json:
        print_json({"path": str(done.path), **done.as_json()})
    else:
        print_export(done)


@click.command(epilog="Example: didact report bilingual@latest --open")
@click.argument("version", metavar="VERSION|RUN")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the page to this file.")
@click.option("--open", "opens", is_flag=True, help="Open the page in the browser.")
@store_option
@json_option
def report(version: str, out: Path | None, opens: bool, store: StoreAt, as_json: bool) -> None:
    """Write the page of VERSION, or of a run's folder RUN, and print where it is.

    A version: where its rows went, mixes, examples of what was lost, time and memory. A run: loss curves, scores,
    sample answers. Without --out it stands beside the build's work, or in the run's folder.
    """
    from didact.report.run_files import is_run, write_run_report
    from didact.report.version_files import write_version_report
    from didact.store.version import Version

    if is_run(Path(version)):
        written = write_run_report(Path(version), out)
    else:
        place = store_at(store)
        written = write_version_report(Version.open(place.find(version)), place, out)
    if as_json:
        print_json({"report": written})
    else:
        click.echo(written)
    if opens:
        click.launch(written)


@click.command(epilog="Example: didact gc store --dry-run")
@click.argument("store", metavar="STORE")
@reached_options
@click.option("--dry-run", is_flag=True, help="Delete nothing, only tell what would go.")
@click.option("--unfinished", is_flag=True, help="Delete the work of builds that did not end, too.")
@json_option
def gc(store: StoreAt, dry_run: bool, unfinished: bool, as_json: bool) -> None:
    """Delete from STORE every version that no ref names and no run was trained on, and what was made for it alone.

    `latest` is a ref; a parent is not kept for its children's sake. Nothing is deleted while a build runs.
    """
    from didact.report.history import print_collection
    from didact.store.collect import collect

    found = collect(store_at(store), dry_run=dry_run, unfinished=unfinished)
    if as_json:
        print_json({"dry_run": dry_run, **found.as_json()})
    else:
        print_collection(found, dry_run)


COMMANDS = (log, diff, explain, ref, verify, export, report, gc)
