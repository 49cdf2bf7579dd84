"""A library that another loads in case it is used, which a build never does.

Loading pandas takes 0.3 s. Arrow finds it when it is to make something of its, and takes what is pandas' for a mere
sequence until then.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType


class _Hidden:
    """A finder of modules that says that pandas is not installed."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Raise ImportError for pandas; other finders look for the rest."""
        if fullname == "pandas":
            raise ModuleNotFoundError("pandas is left out", name=fullname)
        return None


def leave_out_unused() -> None:
    """Load Arrow without pandas. Arrow looks for it when it makes its first array, and again whenever it is needed: by
    `to_pandas`.
    """
    import pyarrow as pa

    if "pandas" in sys.modules:
        return
    hidden = _Hidden()
    sys.meta_path.insert(0, hidden)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(hidden)
