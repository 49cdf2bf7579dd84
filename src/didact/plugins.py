"""A user's own modules, loaded from the files that a recipe or a call names. Nothing else is ever loaded.

Naming a Python file asks to run it. What it registers while it runs is its own: the registries note the plug-in, so
that results are made again when its content changes, and so that a changed file may take the place of its older self.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from didact.errors import CallError, DidactError, InputMissing


@dataclass(frozen=True, slots=True)
class Plugin:
    """A Python file and what was in it when it was named."""

    path: Path
    """Absolute; it names the plug-in. It need not be there where a worker runs."""
    sha256: str
    content: bytes = field(repr=False)
    """Travels with the work, so that workers run what was named, on other machines too."""


_LOADED: dict[Path, tuple[Plugin, ModuleType]] = {}
_RUNNING: list[Plugin] = []
_OF_SCRIPTS: set[str] = set()


def plugin_at(path: Path) -> Plugin:
    """The plug-in in a file. Raises InputMissing when there is none, CallError when it cannot be read."""
    place = path.resolve()
    loaded = _LOADED.get(place)
    content = _content(place)
    sha256 = hashlib.sha256(content).hexdigest()
    return loaded[0] if loaded is not None and loaded[0].sha256 == sha256 else Plugin(place, sha256, content)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise InputMissing(path, "plug-in file", "the path of a plug-in is relative to the recipe") from error
    except OSError as error:
        raise CallError(f"{path}: cannot be read ({error.strerror})") from error


def load(plugin: Plugin) -> ModuleType:
    """The module of a plug-in, run once in each process for each content of its file.

    Raises CallError when it is not Python, or raises while it runs.
    """
    loaded = _LOADED.get(plugin.path)
    if loaded is not None and loaded[0].sha256 == plugin.sha256:
        return loaded[1]
    module = _run(plugin)
    _LOADED[plugin.path] = plugin, module
    return module


def running() -> Plugin | None:
    """The plug-in that is being run, if one is: the owner of what is registered now."""
    return _RUNNING[-1] if _RUNNING else None


def registering(name: str) -> Plugin | None:
    """The owner of a name that is registered now, as `running`; a name without one is noted as a script's."""
    own = running()
    if own is None:
        _OF_SCRIPTS.add(name)
    return own


def scripts_register() -> bool:
    """Whether a name was registered by no plug-in. Workers know it only if they import the script, too."""
    return bool(_OF_SCRIPTS)


def may_replace(owner: Plugin | None) -> bool:
    """Whether a name that `owner` registered may be registered again: by a later content of the same file."""
    own = running()
    return own is not None and owner is not None and own is not owner and own.path == owner.path


@contextmanager
def owned_by(plugin: Plugin) -> Iterator[None]:
    """What is registered inside belongs to the plug-in."""
    _RUNNING.append(plugin)
    try:
        yield
    finally:
        _RUNNING.pop()


def _run(plugin: Plugin) -> ModuleType:
    """Run a plug-in's content as a module; compiled here, since Python's own cache goes by time of change."""
    place = hashlib.sha256(str(plugin.path).encode()).hexdigest()[:8]
    module = ModuleType(f"didact_plugin_{plugin.path.stem}_{place}")
    module.__file__ = str(plugin.path)
    try:
        code = compile(plugin.content, str(plugin.path), "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        raise CallError(f"{plugin.path}:{line}: not Python: {getattr(error, 'msg', error)}") from error
    # As importing does: dataclasses and typing look the module up by its name.
    sys.modules[module.__name__] = module
    try:
        with owned_by(plugin):
            exec(code, module.__dict__)
    except DidactError as error:
        raise CallError(f"{plugin.path}: {error}") from error
    except Exception as error:  # a user's code may raise anything
        raise CallError(f"{plugin.path}:{_line(error, plugin.path)}: raised {_shown(error)}") from error
    return module


def _line(error: Exception, path: Path) -> int:
    """The line of the plug-in where it went wrong."""
    line, trace = 1, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _shown(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}".removesuffix(": ")
