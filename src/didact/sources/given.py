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
        raise CallError("; ".join(map(_told, error.errors()))) from error


def _told(problem: Any) -> str:
    """One problem of pydantic's, behind the name of the setting when it has one."""
    return ": ".join(filter(None, (".".join(map(str, problem["loc"])), problem["msg"].removeprefix("Value error, "))))
