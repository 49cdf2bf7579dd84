"""The errors Didact raises, and what each means for the caller.

DidactError
├── CallError               exit 2: the call or the recipe is wrong; nothing was done
│   ├── RecipeError         a key, type, bound or reference in a recipe
│   ├── InputMissing        a named file or folder is not there, or cannot be read
│   └── UnknownName         a name that no registry knows; lists the nearest known ones
├── DataError               exit 1: the call is sound, the data cannot do what was asked
│   ├── EmptySplit          a requested split would hold no record
│   ├── NothingKept         every row was rejected or dropped, or there was none
│   ├── ImpossibleMix       the sources cannot supply the shares and budget asked for
│   ├── NoPlace             a format has no place for what a record holds
│   ├── WouldLose           a conversion would lose something, and nobody allowed it
│   └── TooManyRejected     more rows were rejected than --max-rejected allows
├── StoreError              exit 1: what is on disk is incomplete, damaged or cannot be written
│   ├── CorruptVersion      a version whose files do not match its manifest
│   ├── CheckpointError     a checkpoint that cannot be read or written
│   └── AccountingError     rows in are not rows kept + dropped + rejected: a defect of Didact, never the user's
├── EngineError             exit 1: workers or nodes died again and again, or one lacks what it needs
├── TrainingError           exit 1: training cannot go on
│   ├── NoTrainedTokens     a step, a split or a mix without a token that carries loss
│   └── NonFiniteLoss       too many non-finite steps in a row
├── Interrupted             exit 75 (try again): a signal asked the run to stop; it saved and can be resumed
└── RowError                one row is unusable; a reader turns it into a Finding, so it never ends a run
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any


class DidactError(Exception):
    """Base of every error Didact raises on purpose; its text is one line made for a person."""

    exit_code = 1

    def __reduce__(self) -> tuple[Any, ...]:
        """Travels between processes as it is: its own constructor, which may take parts of the text, is not called."""
        return _restored, (type(self), self.args, self.__dict__)


def _restored(kind: type[DidactError], args: tuple[Any, ...], state: dict[str, Any]) -> DidactError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class CallError(DidactError):
    """The call or the recipe is wrong; nothing was done."""

    exit_code = 2


class RecipeError(CallError):
    """A recipe that cannot be meant as written."""


class InputMissing(CallError):
    """A named input is not there or cannot be opened."""

    def __init__(self, path: str | Path, what: str = "file or folder", hint: str = "") -> None:
        super().__init__(f"{path}: no such {what}" + (f"; {hint}" if hint else ""))


class UnknownName(CallError):
    """A name that no registry knows."""

    def __init__(self, kind: str, name: str, known: Iterable[str], where: str = "") -> None:
        names = sorted(known)
        close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(names) or 'none'}"
        super().__init__(f"{where + ': ' if where else ''}unknown {kind} '{name}'; {hint}")
        self.name = name


class DataError(DidactError):
    """The data cannot do what was asked of it."""


class EmptySplit(DataError):
    """A requested split would hold no record."""


class NothingKept(DataError):
    """No record is left of what a build read, or it read none."""


class ImpossibleMix(DataError):
    """The sources cannot supply the shares and budget asked for."""


class NoPlace(DataError):
    """A format has no place for what stands at a JSON pointer of a record; the empty pointer means the whole record."""

    def __init__(self, message: str, pointer: str = "") -> None:
        super().__init__(f"'{pointer}': {message}" if pointer else message)
        self.message = message
        self.pointer = pointer


class WouldLose(DataError):
    """A conversion would lose something; `report` tells what, of how many records, and where first."""

    def __init__(self, message: str, report: Any) -> None:
        super().__init__(message)
        self.report = report


class RenderError(DataError):
    """A chat template cannot render a dialogue, or not so that its turns can be told apart; `code` is a finding's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message


class TooManyRejected(DataError):
    """More rows were rejected than the caller allows."""


class StoreError(DidactError):
    """What is on disk is incomplete, damaged or cannot be written."""


class CorruptVersion(StoreError):
    """A version whose files do not match its manifest."""


class CheckpointError(StoreError):
    """A checkpoint that cannot be read or written."""


class AccountingError(StoreError):
    """Rows in are not rows kept + dropped + rejected."""


class EngineError(DidactError):
    """Workers or nodes died again and again, or a node lacks what it needs to take part."""


class TrainingError(DidactError):
    """Training cannot go on."""


class NoTrainedTokens(TrainingError):
    """A step, a split or a mix without a token that carries loss."""


class NonFiniteLoss(TrainingError):
    """Too many optimiser steps in a row had a loss or gradient that is not finite."""


class Interrupted(DidactError):
    """A signal asked the run to stop; what was done is saved and the same command goes on from there."""

    exit_code = 75


class RowError(DidactError):
    """One row is unusable: a code of the findings catalogue, a message, and the JSON pointer of the place in the
    row.
    """

    def __init__(self, code: str, message: str, pointer: str = "") -> None:
        super().__init__(f"{code} at '{pointer}': {message}")
        self.code = code
        self.message = message
        self.pointer = pointer
