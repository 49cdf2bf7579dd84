"""Workers get ready while the process that leads them looks at the inputs.

Only a command can start this early, so the library does without.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from didact.engine.local import fitting_workers
from didact.engine.server import fork_server, start_server
from didact.engine.unused import leave_out_unused

PRELOAD = ("didact.engine.uncollected", "didact.build.preload")
"""What workers of a build are forked with."""
_WATCHED = 2
"""Threads of a command that has just begun: its own, and one that waits for Ctrl-C and holds no lock."""


def start_ahead(recipe: Path, workers: int | None, note: Callable[[str], None]) -> None:
    """Load what a build needs, and start the server of workers if the build of a recipe will want some. note: hears of
    kernels that have to be compiled first.

    Unless the number of workers is given, raises what `load_recipe` raises; else the build does that. A source that
    cannot be looked at is left for the build to speak of.
    """
    # In a program that has called the command, threads may be at work that cannot be forked.
    fresh = not {"pyarrow", "numba"} & sys.modules.keys() and threading.active_count() <= _WATCHED
    # A recipe is read for nothing else where the number is given: loading the code that reads it takes 0.2 s.
    several = (workers or fitting_workers(_stored_bytes(recipe))) > 1
    if several and not fresh:
        start_server(PRELOAD)
    leave_out_unused()
    if several and fresh:
        import_module("didact.build.pipeline")
        ready = import_module("didact.build.ready")
        with import_module("didact.text.compiled").told_of_compiling(note):
            ready.load_common()
            fork_server(PRELOAD)
            ready.compile_beside()


def _stored_bytes(recipe: Path) -> int:
    """Bytes of a recipe's inputs on this disk, as stored."""
    from didact.recipe.load import load_recipe

    loaded, base = load_recipe(recipe)
    paths = [source.path for source in loaded.sources.values()]
    return sum(_size([path] if isinstance(path, str) else path, base) for path in paths)


def _size(paths: list[str], base: Path) -> int:
    from didact.errors import InputMissing
    from didact.sources.files import list_files

    local = [path for path in paths if "://" not in path]
    try:
        return sum(path.stat().st_size for path, _ in list_files(local, base)) if local else 0
    except (InputMissing, OSError):
        return 0
