"""The `didact` command: thin verbs over the Python API, one-line errors, meaningful exit codes.

Modules of this package import nothing heavy at the top, so that `didact --help` answers at once.
"""

from __future__ import annotations

import atexit
import gc
import signal
import sys
from typing import Any

import click

from didact.cli import catalogue, curate, preview, talk, train, versions
from didact.cli.interrupt import EXIT_CODE, TOLD, end_for_sure, load_modules_whole
from didact.errors import DidactError


class _Group(click.Group):
    """Shows commands in the order of the data path and turns Didact's errors into one line and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except DidactError as error:
            from didact.text.shown import visible

            click.echo(f"didact: error: {visible(str(error))}", err=True)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            click.echo(TOLD, err=True)
            ctx.exit(EXIT_CODE)
        except BrokenPipeError:
            # The reader of a pipe left (`| head`); nobody is there to tell.
            sys.stderr.close()
            ctx.exit(141)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="didact", message="%(prog)s %(version)s")
def cli() -> None:
    """Validate and curate instruction data, mix it into versioned shards, train a reference model on them.

    Start with `didact init DIR`, then `didact run DIR/recipe.yaml`.
    """


for _module in (catalogue, curate, versions, preview, train, talk):
    for _command in _module.COMMANDS:
        cli.add_command(_command)


def main() -> None:
    """Entry point of the `didact` command."""
    # Loading modules makes hundreds of thousands of objects and no cycle to free; looking for one takes 40 ms.
    gc.set_threshold(100_000, *gc.get_threshold()[1:])
    # What is alive at the end goes with the process; visiting it all once more takes 0.3 s after a build.
    atexit.register(gc.freeze)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    end_for_sure()
    load_modules_whole()
    cli()
