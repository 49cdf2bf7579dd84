"""A source from the arguments of a call, as opposed to one from a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from didact.errors import CallError
from didact.recipe.sources import Source


def given_source(paths: str | Path | Sequence[str | Path], **settings: Any) -> Source:
    """The source that paths and settings describe; a setting that is None keeps its default.

    Raises CallError when a setting is not of its type or out of its bounds.
    """
    given = [paths] if isinstance(paths, str | Path) else paths
    chosen = {name: value for name, value in settings.items() if value is not None}
    try:
        return Source.model_validate({"path": [str(path) for path in given], **chosen})
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, found['loc']))}: {found['msg']}" for found in error.errors())
        raise CallError("; ".join(problems)) from error
