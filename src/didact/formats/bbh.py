"""BIG-Bench-Hard: a canary and examples of input and target; BIG-bench tasks with scored choices are read too."""

from __future__ import annotations

from typing import Any

from didact.errors import NoPlace, RowError
from didact.formats.draft import Draft
from didact.formats.fields import Fields, kind_of
from didact.formats.registry import Adapter, Reading
from didact.formats.sni import stem
from didact.records import Header, Task


def _fits(file: Any) -> float:
    examples = file.get("examples") if isinstance(file, dict) else None
    if not isinstance(examples, list):
        return 0.0
    sample = examples[:20]
    alike = sum(
        isinstance(item, dict) and "input" in item and ("target" in item or "target_scores" in item) for item in sample
    )
    return alike / len(sample) if sample else 0.5 * ("canary" in file)


def _header(file: dict[str, Any], path: str) -> Header:
    """The task is named by the file, or after it; its description is the definition."""
    name, description, canary = file.get("name"), file.get("description"), file.get("canary")
    kept = {
        key
        for key, value in (("name", name), ("description", description), ("canary", canary))
        if isinstance(value, str)
    }
    return Header(
        task=name if isinstance(name, str) else stem(path),
        definition=[description] if isinstance(description, str) else [],
        canary=canary if isinstance(canary, str) else None,
        extra={key: value for key, value in file.items() if key not in kept},
    ).with_id()


def _read(row: Any, header: Header | None) -> Reading:
    fields = Fields(row)
    given = fields.text("input")
    choices = _choices(fields)
    outputs = fields.texts(fields.value("target"), "/target") if "target" in fields else choices[: _best(fields)]
    if not outputs:
        raise RowError("SC001", "no target", "/target")
    task = Task(
        input=given,
        outputs=outputs,
        choices=sorted(choices, key=list(row["target_scores"]).index) if choices else [],
        task=header.task if header else None,
        header=header.id if header else None,
        origin=fields.origin("bbh"),
    )
    return Reading(task, fields.notes)


def _scores(fields: Fields) -> dict[str, float]:
    """How right each choice is, kept verbatim beside the record. Raises RowError SC002."""
    scores = fields.row.get("target_scores")
    if scores is None:
        return {}
    if not isinstance(scores, dict) or not all(isinstance(score, int | float) for score in scores.values()):
        raise RowError("SC002", f"{kind_of(scores)} where scores by choice belong", "/target_scores")
    return scores


def _choices(fields: Fields) -> list[str]:
    """The choices, the best scored first."""
    scores = _scores(fields)
    return sorted(scores, key=lambda choice: -scores[choice])


def _best(fields: Fields) -> int:
    """How many choices share the best score."""
    scores = list(_scores(fields).values())
    return scores.count(max(scores)) if scores else 0


def _write(draft: Draft) -> None:
    record = draft.record
    assert isinstance(record, Task)
    draft.put("input", lambda task: "\n\n".join(part for part in (task.definition, task.input) if part))
    scores = draft.row.get("target_scores")
    if record.choices and draft.changed(lambda task: (task.choices, task.outputs)):
        draft.row["target_scores"] = _rescored(record, list(scores.values()) if isinstance(scores, dict) else [])
    elif not record.choices:
        alone = len(record.outputs) == 1 and not isinstance(draft.row.get("target"), list)
        draft.put("target", lambda task: task.outputs[0] if alone else task.outputs)
    if "target" in draft.row and record.choices:
        draft.put("target", lambda task: task.outputs[0] if len(task.outputs) == 1 else task.outputs)


def _rescored(task: Task, scores: list[Any]) -> dict[str, Any]:
    """Scores by choice: the author's, when each choice still has one, else 1 for the right ones."""
    stray = next((i for i, output in enumerate(task.outputs) if output not in task.choices), None)
    if stray is not None or len(set(task.choices)) < len(task.choices):
        raise NoPlace("outputs must be among the choices, and no choice may be there twice", f"/outputs/{stray or 0}")
    if len(scores) != len(task.choices):
        scores = [int(choice in task.outputs) for choice in task.choices]
    return dict(zip(task.choices, scores, strict=True))


def _write_header(header: Header, file: dict[str, Any]) -> dict[str, Any]:
    """The author's object as it is; a new one holds name, description and canary."""
    if file:
        return file
    own = {
        "name": header.task,
        "description": header.definition[0] if header.definition else None,
        "canary": header.canary,
    }
    return {key: value for key, value in own.items() if value is not None} | header.extra


ADAPTERS = (
    Adapter(
        name="bbh",
        description="BIG-Bench-Hard task file: canary, examples of input and target (BIG-bench: target_scores)",
        example='{"canary": "canary GUID ...", "examples": [{"input": "not True is", "target": "False"}]}',
        fits=_fits,
        read=_read,
        list_key="examples",
        header=_header,
        write=_write,
        kinds=("task",),
        write_header=_write_header,
    ),
)
