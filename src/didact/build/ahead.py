"""Workers get ready while the process that leads them still loads its own code.

Both take about a second, on two cores at once. Only a command can start this early, so the library does without.
"""

from __future__ import annotations

from pathlib import Path

from didact.engine.local import fitting_workers, start_server
from didact.errors import InputMissing
from didact.recipe.load import Recipe, load_recipe
from didact.recipe.sources import Source
from didact.sources.files import list_files

PRELOAD = ("didact.build.preload",)
"""What workers of a build are forked with."""


def start_ahead(recipe: Path, workers: int | None) -> None:
    """Start the server of workers if the build of a recipe will want some.

    Raises what `load_recipe` raises. A source that cannot be looked at is left for the build to speak of.
    """
    loaded, base = load_recipe(recipe)
    if (workers or fitting_workers(_stored_bytes(loaded, base))) > 1:
        start_server(PRELOAD)


def _stored_bytes(recipe: Recipe, base: Path) -> int:
    """Bytes of the inputs on this disk, as stored."""
    return sum(_size(source, base) for source in recipe.sources.values())


def _size(source: Source, base: Path) -> int:
    paths = [source.path] if isinstance(source.path, str) else source.path
    local = [path for path in paths if "://" not in path]
    try:
        return sum(path.stat().st_size for path, _ in list_files(local, base)) if local else 0
    except (InputMissing, OSError):
        return 0
