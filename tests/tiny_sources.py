"""Sources for tests, from the settings that matter."""

from __future__ import annotations

from typing import Any

from didact.recipe.sources import Source


def source(path: str, **settings: Any) -> Source:
    """A source at a path."""
    return Source.model_validate({"path": path, **settings})
