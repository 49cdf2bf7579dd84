"""Adapters by name: the built-in ones, and a user's own under the entry point group `didact.formats` or in a file."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NamedTuple

from didact.errors import CallError, UnknownName
from didact.formats.draft import Draft
from didact.plugins import Plugin, load, may_replace, owned_by, plugin_at, registering
from didact.records import Header, Record
from didact.records.checks import Problem

_FAMILIES = (
    "alpaca", "dolly", "sharegpt", "openai", "prompt_completion", "gsm8k", "qa", "sni", "bbh", "preference", "plain",
    "squad", "self_instruct",
    "classification",
)  # fmt: skip
ENTRY_POINTS = "didact.formats"


class Reading(NamedTuple):
    """A record read from a row, and what was odd about the row."""

    record: Record
    notes: list[Problem]


@dataclass(frozen=True, slots=True)
class Adapter:
    """Reads, and where it has `write` also writes, one third-party format."""

    name: str
    description: str
    """One line for `didact formats`."""
    example: str
    """One row (of a file whose object holds the rows: the whole file) as JSON."""
    fits: Callable[[Any], float]
    """How much one row looks like the format: 0 (not at all) to 1. Given the whole object when `list_key` is set."""
    read: Callable[[Any, Header | None], Reading]
    """A row as a record. Raises RowError when it cannot be one."""
    variants: Mapping[str, Any] = field(default_factory=dict)
    """Other ways in which such rows are written, each with one row."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Generic column names the format has, and its own key for each; `columns:` in a recipe maps to these."""
    moves: Mapping[str, Callable[[str], bool] | None] = field(default_factory=dict)
    """Keys whose text `read` puts into the record as it is and does not look at, but for whether it is empty; with the
    texts it looks at nevertheless, where there are such. Rows that differ in nothing else are then read once for all.
    """
    list_key: str | None = None
    """Key of the list that holds the rows, when a file is one object."""
    header: Callable[[dict[str, Any], str], Header] | None = None
    """What a file's object says once, from that object without its list and the file's relative path."""
    write: Callable[[Draft], None] | None = None
    """Puts a record into a row. Raises NoPlace when the format has no place for such a record."""
    kinds: tuple[str, ...] = ()
    """Kinds of record that `write` takes, the one it was made for first; others are recast to the first."""
    write_header: Callable[[Header, dict[str, Any]], dict[str, Any]] | None = None
    """What a file's object says once, without its list: from a header and the author's object, or `{}`."""
    unfold: Callable[[Any], list[tuple[str, Any]]] | None = None
    """The rows inside one element of a nested file, each with its JSON pointer in the element; the adapter's other
    functions take such rows. Raises RowError when the element is nothing of the kind."""
    fold: Callable[[Any, list[tuple[str, Any]]], list[Any]] | None = None
    """The opposite of `unfold`: the author's element with its rows replaced, changed only where they differ. Several
    elements when rows that said something once no longer agree on it."""
    gather: Callable[[list[Any]], list[Any]] | None = None
    """Elements of a nested file, made of new rows; neighbours that say the same once share an element."""


_ADDED: dict[str, tuple[Adapter, Plugin | None]] = {}


def register(adapter: Adapter) -> None:
    """Make an adapter known under its name. Raises CallError when the name is taken."""
    if adapter.name in adapters() and not may_replace(owner(adapter.name)):
        raise CallError(f"format '{adapter.name}' is registered already; choose another name")
    _ADDED[adapter.name] = adapter, registering(adapter.name)


def register_plugin(plugin: Plugin) -> None:
    """Run a plug-in, and make the adapters at the top level of its module known. Raises CallError as `load` does."""
    own = _adapters_in(plugin)
    with owned_by(plugin):
        for adapter in own.values():
            if (adapter, plugin) not in _ADDED.values():
                register(adapter)


def owner(name: str) -> Plugin | None:
    """The plug-in that brought the adapter of that name; None when no file did."""
    return _ADDED[name][1] if name in _ADDED else None


def adapters() -> dict[str, Adapter]:
    """All adapters by name: built-in, from entry points, registered."""
    return {**_built_in(), **_from_entry_points(), **{name: adapter for name, (adapter, _) in _ADDED.items()}}


def chosen(spec: str, folder: Path) -> tuple[str, Plugin | None]:
    """What `format` means: an adapter's name, and the plug-in that holds it.

    `FILE.py` is the one adapter in that file, `FILE.py:NAME` the one of that name; paths are relative to `folder`.
    Raises UnknownName, or CallError when the file cannot be run or does not hold just the adapter that is meant.
    """
    match = _FILE.fullmatch(spec)
    if match is None:
        return (spec, None) if spec == "auto" else (get(spec).name, owner(spec))
    plugin = plugin_at(folder / match[1])
    own = _adapters_in(plugin)
    if not own:
        raise CallError(f"{plugin.path}: holds no adapter; assign a didact.formats.registry.Adapter at its top level")
    if match[2] is None and len(own) > 1:
        raise CallError(f"{plugin.path}: holds the adapters {', '.join(own)}; say which, as in '{spec}:{min(own)}'")
    return get(match[2] or min(own), plugin).name, plugin


_FILE = re.compile(r"(.+\.py)(?::([^:/\\]+))?")


def get(name: str, plugin: Plugin | None = None) -> Adapter:
    """The adapter of that name, in a plug-in when one is given. Raises UnknownName with the nearest known names."""
    if plugin is not None:
        own = _adapters_in(plugin)
        if name not in own:
            raise UnknownName("adapter", name, own, str(plugin.path))
        return own[name]
    known = adapters()
    if name not in known:
        raise UnknownName("format", name, [*known, "auto"])
    return known[name]


def _adapters_in(plugin: Plugin) -> dict[str, Adapter]:
    """The adapters at the top level of a plug-in's module. Raises CallError when there is none, or one has the name of
    another format.
    """
    taken = {**_built_in(), **_from_entry_points()}
    own: dict[str, Adapter] = {}
    for adapter in vars(load(plugin)).values():
        if not isinstance(adapter, Adapter) or taken.get(adapter.name) is adapter:
            continue
        if adapter.name in taken or own.setdefault(adapter.name, adapter) is not adapter:
            raise CallError(f"{plugin.path}: format '{adapter.name}' is there already; give the adapter another name")
    return own


@cache
def _built_in() -> dict[str, Adapter]:
    found = (adapter for family in _FAMILIES for adapter in import_module(f"didact.formats.{family}").ADAPTERS)
    return {adapter.name: adapter for adapter in found}


@cache
def _from_entry_points() -> dict[str, Adapter]:
    found: dict[str, Adapter] = {}
    for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name):
        adapter = point.load()
        if not isinstance(adapter, Adapter):
            raise CallError(f"entry point '{point.name}' of '{ENTRY_POINTS}' is no didact.formats.registry.Adapter")
        found[adapter.name] = adapter
    return found
