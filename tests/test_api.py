"""The public interface: what `didact` offers is what it says, and importing it costs nothing."""

from __future__ import annotations

import subprocess
import sys
from types import FunctionType

import pytest

import didact


def in_fresh_python(code: str) -> str:
    """What a program prints in an interpreter that has imported nothing."""
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def test_every_public_name_is_there() -> None:
    """`__all__`, `dir()` and what can be had agree; nothing is a module by accident."""
    assert sorted(didact.__all__) == dir(didact)
    for name in didact.__all__:
        assert isinstance(getattr(didact, name), FunctionType | type | str), name


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    """A misspelt name is told as Python tells it."""
    with pytest.raises(AttributeError, match="has no attribute 'biuld'"):
        _ = didact.biuld


def test_functions_stay_functions_when_their_modules_are_imported() -> None:
    """`from didact import build` gives the function, first or last, although a room has the same name."""
    ask = "from didact import build, run, validate"
    tell = "print(*(type(f).__name__ for f in (build, run, validate, didact.build, didact.run, didact.validate)))"
    between = "import didact, didact.build.pipeline, didact.run, didact.validate"
    assert set(in_fresh_python(f"{ask}\n{between}\n{tell}\n{ask}\n{tell}").split()) == {"function"}


def test_importing_didact_imports_nothing_heavy() -> None:
    """`import didact` and the command line's modules load no library that takes long."""
    heavy = "{'torch', 'numba', 'pyarrow', 'numpy', 'pydantic', 'rich'}"
    assert in_fresh_python(f"import sys, didact, didact.cli; print(sorted({heavy} & sys.modules.keys()))") == "[]"


def test_didact_says_its_version() -> None:
    """The version of the code is the version of the package."""
    from importlib.metadata import version

    assert didact.__version__ == version("didact")
