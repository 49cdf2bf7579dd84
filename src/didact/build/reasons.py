"""Why a result is made again: what it would be made from, beside the nearest thing of its kind that is on file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from didact.build.depends import AFTER
from didact.engine.chunks import MadeFrom
from didact.report.plan_json import Reason
from didact.text.shown import shortened

_SECRET = "clean.pii_salt"
_ABSENT = "–"
_SHOWN = 60
"""Characters of a value that are told."""


def reasons(now: MadeFrom, on_file: Sequence[MadeFrom]) -> tuple[Reason, ...]:
    """What differs between a result that is not on file and the nearest one that is.

    on_file: newest first; of equally near ones the newest counts. Nearest is one of the same rows, else of the same
    files, else one with the fewest other settings.
    """
    same = [one for one in on_file if one.of == now.of]
    if not same:
        return (Reason(why="new", what=now.of, before=None, now=None),)
    near = min(same, key=lambda one: (one.content != now.content, len(_strange(now, one)), len(_changed(now, one))))
    return tuple(
        dict.fromkeys([*_of_content(now, near, same), *(_of_setting(now, near, p) for p in _changed(now, near))])
    )


def _strange(now: MadeFrom, then: MadeFrom) -> set[str]:
    """Files that only one of the two has rows of."""
    return set(now.files) ^ set(then.files)


def _changed(now: MadeFrom, then: MadeFrom) -> list[str]:
    """Paths of the settings that differ; how a file is read counts where both have rows of it."""
    strange = {f"file {path}" for path in _strange(now, then)}
    paths = sorted((now.settings.keys() | then.settings.keys()) - strange)
    return [path for path in paths if now.settings.get(path, _ABSENT) != then.settings.get(path, _ABSENT)]


def _of_content(now: MadeFrom, near: MadeFrom, same: Iterable[MadeFrom]) -> list[Reason]:
    if now.content == near.content:
        return []
    if not now.files:
        return [Reason(why="earlier stage", what="read", before=None, now=None)]
    known: dict[str, set[str]] = {}
    for one in same:
        for path, digest in one.files.items():
            known.setdefault(path, set()).add(digest)
    found = [Reason(why="new file", what=path, before=None, now=None) for path in now.files if path not in known]
    found += [
        Reason(why="changed file", what=path, before=None, now=None)
        for path, digest in now.files.items()
        if path in known and digest not in known[path]
    ]
    moved = Reason(why="moved rows", what=", ".join(now.files), before=None, now=None)
    cut = [
        Reason(why="setting", what=path, before=_spelt(near.cut.get(path)), now=_spelt(value))
        for path, value in now.cut.items()
        if near.cut.get(path) != value
    ]
    return found or cut or [moved]


def _of_setting(now: MadeFrom, then: MadeFrom, path: str) -> Reason:
    kind, _, name = path.partition(" ")
    if path.startswith(AFTER):
        return Reason(why="earlier stage", what=name, before=None, now=None)
    before, after = (_ABSENT if path not in one.settings else _spelt(one.settings[path]) for one in (then, now))
    if kind == "signal":
        measured = {True: "not measured", False: "measured"}
        if before == _ABSENT or after == _ABSENT:
            before, after = measured[before == _ABSENT], measured[after == _ABSENT]
        else:
            before, after = "its code", "other code"
        return Reason(why="signal", what=name, before=before, now=after)
    if kind == "file":
        return Reason(why="format", what=name, before=before, now=after)
    if kind in ("algorithm", "table") or path.startswith("filter set "):
        return Reason(why="version", what=path.removeprefix("table "), before=before, now=after)
    if path == _SECRET:
        before, after = "one salt", "another"
    return Reason(why="setting", what=path, before=before, now=after)


def _spelt(value: Any) -> str:
    """A value as a recipe writes it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return f"[{', '.join('–' if one is None else _spelt(one) for one in value)}]"
    return shortened(str(value), _SHOWN)
