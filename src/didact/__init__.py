"""Didact: validate and curate instruction data, mix it into versioned shards, train a reference model on them.

The names below are the public interface; each is imported when first used, so `import didact` is cheap.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PLACES = {
    "Recipe": "didact.recipe.load",
    "TokenDataset": "didact.model.token_dataset",
    "Version": "didact.store.version",
    "build": "didact.build.pipeline",
    "convert": "didact.convert.pipeline",
    "load_recipe": "didact.recipe.load",
    "read": "didact.sources.read",
    "read_vectors": "didact.curate.vectors",
    "run": "didact.run",
    "shingle_hash": "didact.text.tokens",
    "validate": "didact.validate",
}

__all__ = [
    "Recipe",
    "TokenDataset",
    "Version",
    "__version__",
    "build",
    "convert",
    "load_recipe",
    "read",
    "read_vectors",
    "run",
    "shingle_hash",
    "validate",
]

if TYPE_CHECKING:
    from didact.build.pipeline import build
    from didact.convert.pipeline import convert
    from didact.curate.vectors import read_vectors
    from didact.model.token_dataset import TokenDataset
    from didact.recipe.load import Recipe, load_recipe
    from didact.run import run
    from didact.sources.read import read
    from didact.store.version import Version
    from didact.text.tokens import shingle_hash
    from didact.validate import validate


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module 'didact' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)


class _Interface(ModuleType):
    """The package as a module whose public names stay what they are.

    `build`, `convert`, `run` and `validate` name functions here and modules below; importing such a module would put
    it in the function's place.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _PLACES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Interface
