"""Super-NaturalInstructions: one file is one task, with its definition, examples and instances."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from didact.errors import RowError
from didact.formats.draft import Draft
from didact.formats.fields import Fields, kind_of
from didact.formats.registry import Adapter, Reading
from didact.records import Example, Header, Task

_HEADER_KEYS = ("Definition", "Positive Examples", "Negative Examples", "Categories")


def _fits(file: Any) -> float:
    return 1.0 if isinstance(file, dict) and "Definition" in file and isinstance(file.get("Instances"), list) else 0.0


def _header(file: dict[str, Any], path: str) -> Header:
    """The task is named after its file, as the collection does."""
    return Header(
        task=stem(path),
        definition=_as_texts(file.get("Definition"), "/Definition"),
        positive_examples=_examples(file.get("Positive Examples"), "/Positive Examples"),
        negative_examples=_examples(file.get("Negative Examples"), "/Negative Examples"),
        categories=_as_texts(file.get("Categories"), "/Categories"),
        extra={key: value for key, value in file.items() if key not in _HEADER_KEYS},
    ).with_id()


def stem(path: str) -> str:
    """A file's name without folders and endings.

    >>> stem("tasks/task001_sorting.json.gz")
    'task001_sorting'
    """
    return PurePosixPath(path).name.partition(".")[0]


def _as_texts(value: Any, where: str) -> list[str]:
    """A list of texts, from a list or a single text. Raises RowError SC002."""
    texts = [] if value is None else value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) for text in texts):
        raise RowError("SC002", "something else than texts", where)
    return texts


def _examples(value: Any, where: str) -> list[Example]:
    """Worked examples; the placeholder `-` for a lacking list is no example. Raises RowError."""
    if value is None or value in ("-", ["-"]):
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise RowError("SC002", f"{kind_of(value)} where a list of examples belongs", where)
    return [_example(Fields(item)) for item in value]


def _example(fields: Fields) -> Example:
    explanation = fields.value("explanation")
    return Example(
        input=fields.text("input"),
        outputs=fields.texts(fields.value("output"), "/output"),
        explanation=explanation if isinstance(explanation, str) else None,
    )


def _read(row: Any, header: Header | None) -> Reading:
    """One instance; definition and examples stay in the header."""
    fields = Fields(row)
    given = fields.text("input")
    if "output" not in fields:
        fields.text("output")
    value = fields.value("output")
    outputs = fields.texts(value, "/output")
    if not outputs:
        raise RowError("SC002", "an empty list of outputs", "/output")
    if not isinstance(value, list):
        fields.held_as("output", value)
    task = Task(
        input=given,
        outputs=outputs,
        task=header.task if header else None,
        tags=list(header.categories) if header else [],
        header=header.id if header else None,
        origin=fields.origin("sni"),
    )
    return Reading(task, fields.notes)


def _write(draft: Draft) -> None:
    record = draft.record
    assert isinstance(record, Task)
    draft.put("input", lambda task: _asked(task, draft.header))
    alone = len(record.outputs) == 1 and not isinstance(draft.row.get("output", []), list)
    draft.put("output", lambda task: task.outputs[0] if alone else task.outputs)


def _asked(task: Task, header: Header | None) -> str:
    """The input; behind what the row itself says is to be done, unless the file says just that once."""
    own = task.definition if header is None or task.definition not in header.definition else None
    return "\n\n".join(part for part in (own, task.input) if part)


def _write_header(header: Header, file: dict[str, Any]) -> dict[str, Any]:
    """The author's object as it is; a new one holds all that a header can."""
    if file:
        return file
    return {
        "Definition": header.definition,
        "Categories": header.categories,
        "Positive Examples": list(map(_spelt_example, header.positive_examples)),
        "Negative Examples": list(map(_spelt_example, header.negative_examples)),
        **({"canary": header.canary} if header.canary is not None else {}),
        **header.extra,
    }


def _spelt_example(example: Example) -> dict[str, Any]:
    output = example.outputs[0] if len(example.outputs) == 1 else example.outputs
    told = {} if example.explanation is None else {"explanation": example.explanation}
    return {"input": example.input, "output": output} | told


ADAPTERS = (
    Adapter(
        name="sni",
        description="Super-NaturalInstructions task file: Definition, Positive Examples, Negative Examples, Instances",
        example='{"Definition": ["Sort the numbers."], "Positive Examples": [], '
        '"Instances": [{"input": "2 1", "output": ["1 2"]}]}',
        fits=_fits,
        read=_read,
        list_key="Instances",
        header=_header,
        write=_write,
        kinds=("task",),
        write_header=_write_header,
    ),
)
