"""Libraries that others load in case they are used, which a build never does.

Loading pandas and SciPy takes 0.5 s of processor time, in the process that leads a build and again in the one that its
workers are forked from. numba finds SciPy when it is used; Arrow finds pandas when it is to make something of its, and
takes what is pandas' for a mere sequence until then.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType


def leave_out_unused() -> None:
    """Load Arrow and numba without pandas and SciPy."""
    _arrow_without_pandas()
    _numba_without_scipy()


class _Hidden(MetaPathFinder):
    """Says that a library is not installed."""

    def __init__(self, name: str) -> None:
        self.name = name

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Raise ImportError for the library; other finders look for the rest."""
        if fullname == self.name:
            raise ModuleNotFoundError(f"{fullname} is left out", name=fullname)
        return None


def _arrow_without_pandas() -> None:
    """Arrow looks for pandas when it makes its first array, and again whenever pandas is needed: by `to_pandas`."""
    import pyarrow as pa

    if "pandas" in sys.modules:
        return
    hidden = _Hidden("pandas")
    sys.meta_path.insert(0, hidden)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(hidden)


def _numba_without_scipy() -> None:
    """Without SciPy: numba loads it to see whether it has BLAS, and again before each use of BLAS."""
    from numba.np import linalg

    if find_spec("scipy") is None or not hasattr(linalg, "ensure_blas"):
        return
    looks = linalg.ensure_blas
    linalg.ensure_blas = _taken_for_granted
    try:
        import_module("numba.np.arraymath")
    finally:
        linalg.ensure_blas = looks


def _taken_for_granted() -> None:
    """BLAS is there: SciPy is installed."""
