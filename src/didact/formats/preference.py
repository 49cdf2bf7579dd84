"""Preferences: chosen and rejected answers, ranked lists, single judged answers, and answers judged step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from pydantic import ValidationError

from didact.errors import NoPlace, RowError
from didact.formats.draft import Draft
from didact.formats.fields import Fields
from didact.formats.judged import (
    change_steps,
    change_verdict,
    has_steps,
    is_stepwise,
    is_verdict,
    new_steps,
    new_verdict,
    read_steps,
    read_verdict,
)
from didact.formats.pairs import CHOSEN, REJECTED, change_pair, new_pair, prompt_key_of, read_pair
from didact.formats.ranked import change_ranked, is_ranked_origin, list_key_of, new_ranked, read_ranked
from didact.formats.recast import recast
from didact.formats.registry import Adapter, Reading
from didact.records import Header, Preference


class _Shape(NamedTuple):
    """One way in which rows hold judged answers."""

    read: Callable[[Fields], Preference]
    change: Callable[[Draft, Preference, Preference], None]
    new: Callable[[Preference], dict[str, Any]]


_PAIR = _Shape(read_pair, change_pair, new_pair)
_RANKED = _Shape(read_ranked, change_ranked, new_ranked)
_VERDICT = _Shape(read_verdict, change_verdict, new_verdict)
_STEPS = _Shape(read_steps, change_steps, new_steps)


def _has_pair(row: dict[str, Any]) -> bool:
    return any(key in row for key in CHOSEN) and any(key in row for key in REJECTED)


def _shape_of(row: dict[str, Any]) -> _Shape | None:
    """The shape of a row; None when it is nothing of the kind."""
    if _has_pair(row):
        return _PAIR
    if is_verdict(row):
        return _VERDICT
    if prompt_key_of(row) is None:
        return None
    if list_key_of(row) is not None:
        return _RANKED
    return _STEPS if is_stepwise(row) else None


def _fits(row: Any) -> float:
    return 1.0 if isinstance(row, dict) and _shape_of(row) is not None else 0.0


def _read(row: Any, header: Header | None) -> Reading:
    del header
    fields = Fields(row)
    return Reading((_shape_of(row) or _PAIR).read(fields), fields.notes)


# --- writing


def _write(draft: Draft) -> None:
    now = recast(draft.record, "preference", draft.header)
    assert isinstance(now, Preference)
    if draft.was is not None and _changed(draft, now):
        return
    unknown = {} if draft.was is None else _unknown(draft.row)
    for origin in (now.origin, None):  # a layout that is remembered may not hold what was edited
        draft.row = unknown | _new(now.model_copy(update={"origin": origin}))
        if _reads_as(draft.row, now):
            return


def _changed(draft: Draft, now: Preference) -> bool:
    """Change a row in its own shape; False when that shape cannot hold the record."""
    was, before = draft.was, Fields(draft.row).row
    assert isinstance(was, Preference)
    shape = _shape_of(before) or _PAIR
    if len(was.candidates) != len(now.candidates):
        return False
    trial = Draft(now, draft.header, before, was)
    shape.change(trial, was, now)
    draft.row = trial.row
    return _reads_as(draft.row, now)


def _unknown(row: dict[str, Any]) -> dict[str, Any]:
    """Keys of a row that say nothing a record holds."""
    fields = Fields(row)
    try:
        (_shape_of(row) or _PAIR).read(fields)
    except (RowError, ValidationError):
        return {}
    return {key: value for key, value in row.items() if not fields.took(key)}


def _reads_as(row: Any, record: Preference) -> bool:
    about = {"id", "source", "origin", "license", "language", "split", "group", "task", "tags", "header"}
    try:
        read = _read(row, None).record
    except (RowError, ValidationError):
        return False
    return read.model_dump(exclude=about) == record.model_dump(exclude=about)


def _new(record: Preference) -> dict[str, Any]:
    """A row that no author wrote. Raises NoPlace for an answer that nobody judged."""
    if has_steps(record):
        return new_steps(record)
    if len(record.candidates) == 1 and record.candidates[0].label is not None:
        return new_verdict(record)
    if is_ranked_origin(record):
        return new_ranked(record)
    if len(record.candidates) == 2 and record.candidates[0].rank is None:
        return new_pair(record)
    if len(record.candidates) == 1 and record.candidates[0].rank is None and record.candidates[0].score is None:
        raise NoPlace("one answer without a verdict, where a better and a worse one belong", "/candidates")
    return new_ranked(record)


_VARIANTS: dict[str, dict[str, Any]] = {
    "messages": {
        "prompt": [{"role": "user", "content": "Late?"}],
        "chosen": [{"role": "assistant", "content": "Noon."}],
        "rejected": [{"role": "assistant", "content": "Yes."}],
        "score_chosen": 4.5,
        "score_rejected": 1,
    },
    "the prompt inside": {
        "chosen": [{"role": "user", "content": "Late?"}, {"role": "assistant", "content": "Noon."}],
        "rejected": [{"role": "user", "content": "Late?"}, {"role": "assistant", "content": "Yes."}],
    },
    "transcripts": {
        "chosen": "\n\nHuman: Late?\n\nAssistant: Noon.",
        "rejected": "\n\nHuman: Late?\n\nAssistant: Yes.",
    },
    "OpenAI": {
        "input": {"messages": [{"role": "user", "content": "Late?"}], "tools": [], "parallel_tool_calls": True},
        "preferred_output": [{"role": "assistant", "content": "Noon."}],
        "non_preferred_output": [{"role": "assistant", "content": "Yes."}],
    },
    "an instruction and its input": {"instruction": "Add.", "input": "2 2", "chosen": "4", "rejected": "22"},
    "a verdict": {"prompt": "Late?", "completion": "Yes.", "label": False},
    "a verdict on messages": {
        "messages": [{"role": "user", "content": "Late?"}, {"role": "assistant", "content": "Yes."}],
        "label": False,
    },
    "a verdict on an output": {"instruction": "Add.", "input": "2 2", "output": "22", "kto_tag": False},
    "scores": {"prompt": "Late?", "completions": ["Yes.", "Noon."], "scores": [1, 4.5]},
    "ranks": {"prompt": "Late?", "responses": ["Yes.", "Noon."], "ranking": [2, 1]},
    "an object for each answer": {
        "instruction": "Late?",
        "completions": [
            {"model": "a", "response": "Noon.", "overall_score": 4.5},
            {"model": "b", "response": "Yes.", "overall_score": 1.0},
        ],
    },
    "steps": {"prompt": "6 * 7 + 1?", "completions": ["6 * 7 is 42.", "So 44."], "labels": [True, False]},
}


ADAPTERS = (
    Adapter(
        name="preference",
        description="prompt, chosen, rejected as texts or messages (prompt may be implicit), or one labelled answer",
        example='{"prompt": "Is it late?", "chosen": "It is noon.", "rejected": "Yes."}',
        fits=_fits,
        read=_read,
        variants=_VARIANTS,
        write=_write,
        kinds=("preference",),
        columns={
            "prompt": "prompt",
            "chosen": "chosen",
            "rejected": "rejected",
            "system": "system",
            "messages": "messages",
        },
    ),
)
