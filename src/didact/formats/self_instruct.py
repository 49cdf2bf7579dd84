"""Self-Instruct's seed tasks: an instruction with several instances of input and output.

A row is one instance, flattened: its own keys, and those of the task above it.
"""

from __future__ import annotations

import copy
from itertools import groupby
from typing import Any

from didact.errors import RowError
from didact.formats.draft import ABSENT, Draft
from didact.formats.fields import Fields, kind_of
from didact.formats.recast import defined, only_output
from didact.formats.registry import Adapter, Reading
from didact.records import Header, Task


def _fits(element: Any) -> float:
    if not isinstance(element, dict) or "instruction" not in element or not isinstance(element.get("instances"), list):
        return 0.0
    return 1.0 if all(isinstance(item, dict) and "output" in item for item in element["instances"]) else 0.6


def unfold(element: Any) -> list[tuple[str, Any]]:
    """The instances of a task. Raises RowError when it has no list of them, TK001 when the list is empty."""
    instances = element.get("instances") if isinstance(element, dict) else None
    if not isinstance(instances, list):
        raise RowError("SC001", f"no list 'instances' in {kind_of(element)}", "/instances")
    if not instances:
        raise RowError("TK001", "a task without an instance", "/instances")
    above = {key: value for key, value in element.items() if key != "instances"}
    return [
        (f"/instances/{i}", above | (item if isinstance(item, dict) else {"output": item}))
        for i, item in enumerate(instances)
    ]


def fold(element: Any, rows: list[tuple[str, Any]]) -> list[Any]:
    """The task with its instances replaced; one for each wording when instances no longer share their instruction."""
    parts = []
    paired = zip(element["instances"], (row for _, row in rows), strict=True)
    for _, run in groupby(paired, key=lambda pair: pair[1].get("instruction")):
        members = list(run)
        part = copy.deepcopy(element)
        part["instruction"] = members[0][1].get("instruction")
        part["instances"] = [_own(item, row, element) for item, row in members]
        parts.append(part)
    return parts


def _own(item: Any, row: dict[str, Any], element: dict[str, Any]) -> Any:
    """An instance with the row's values under its own keys."""
    if not isinstance(item, dict):
        return row["output"]
    return {key: row.get(key, value) for key, value in item.items()} | {
        key: value for key, value in row.items() if key not in element and key not in item
    }


def gather(rows: list[Any]) -> list[Any]:
    """Tasks made of new rows; neighbours with one instruction are instances of one task."""
    tasks = []
    for instruction, run in groupby(rows, key=lambda row: row.get("instruction")):
        members = list(run)
        shared = {
            key: value
            for key, value in members[0].items()
            if key not in ("input", "output") and all(key in row and row[key] == value for row in members)
        }
        instances = [{key: value for key, value in row.items() if key not in shared} for row in members]
        tasks.append({"instruction": instruction} | shared | {"instances": instances})
    return tasks


def _read(row: Any, header: Header | None) -> Reading:
    del header
    fields = Fields(row)
    task = Task(
        definition=fields.text("instruction"),
        input=fields.optional("input"),
        outputs=[fields.text("output")],
        task=fields.text("name") if isinstance(row.get("name"), str) else None,
        origin=fields.origin("self_instruct"),
    )
    return Reading(task, fields.notes)


def _write(draft: Draft) -> None:
    draft.put("instruction", lambda task: defined(task, draft.header) or "")
    draft.put("input", lambda task: task.input)
    draft.put("output", only_output)
    draft.put("name", lambda task: ABSENT if task.task is None else task.task)


ADAPTERS = (
    Adapter(
        name="self_instruct",
        description="Self-Instruct seed tasks: an instruction with instances of input and output",
        example='{"id": "seed_task_0", "name": "sorting", "instruction": "Sort the numbers.", '
        '"instances": [{"input": "2 1", "output": "1 2"}], "is_classification": false}',
        fits=_fits,
        read=_read,
        columns={"instruction": "instruction", "input": "input", "output": "output"},
        write=_write,
        kinds=("task",),
        unfold=unfold,
        fold=fold,
        gather=gather,
    ),
)
