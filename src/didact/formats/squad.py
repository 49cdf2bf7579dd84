"""SQuAD as its authors nest it: articles hold paragraphs, a paragraph holds its passage once and questions on it.

A row is one question, flattened: its own keys, and `title` and `context` from the levels above. What else these levels
hold is in the row under `article` and `paragraph`, so that it is carried into other formats.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import partial
from itertools import groupby
from typing import Any

from didact.canonical import content_hash
from didact.errors import NoPlace, RowError
from didact.formats.draft import Draft
from didact.formats.fields import Fields, kind_of, pointer
from didact.formats.registry import Adapter, Reading
from didact.records import QA, Answer, Header, Record

_ABOVE = ("title", "context", "paragraph", "article")
"""Keys of a row that stand above the question in the file."""


def _is_paragraph(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("qas"), list)


def _is_article(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("paragraphs"), list)


def _fits_element(element: Any) -> float:
    if _is_paragraph(element):
        return 1.0 if "context" in element else 0.6
    return float(_is_article(element) and all(map(_is_paragraph, element["paragraphs"][:3])))


def _fits_file(file: Any) -> float:
    articles = file.get("data") if isinstance(file, dict) else None
    if not isinstance(articles, list) or not articles:
        return 0.0
    return sum(map(_fits_element, articles[:20])) / len(articles[:20])


def _header(file: dict[str, Any], path: str) -> Header:
    del path
    return Header(extra=file).with_id()


def _write_header(header: Header, file: dict[str, Any]) -> dict[str, Any]:
    return file or dict(header.extra)


def unfold(element: Any) -> list[tuple[str, Any]]:
    """The questions of an article or a paragraph. Raises RowError SC002 or SC001 when it is neither."""
    if _is_paragraph(element):
        return list(_questions(element, {}, ""))
    if not _is_article(element):
        raise RowError("SC001", f"neither 'paragraphs' nor 'qas' in {kind_of(element)}")
    above = _rest(element, "paragraphs", "title")
    shared = ({"title": element["title"]} if "title" in element else {}) | ({"article": above} if above else {})
    found: list[tuple[str, Any]] = []
    for i, paragraph in enumerate(element["paragraphs"]):
        where = pointer("paragraphs", i)
        if not _is_paragraph(paragraph):
            raise RowError("SC001", f"no list 'qas' in {kind_of(paragraph)}", where)
        found += _questions(paragraph, shared, where)
    return found


def _questions(paragraph: dict[str, Any], shared: dict[str, Any], where: str) -> Iterator[tuple[str, Any]]:
    rest = _rest(paragraph, "qas", "context")
    passage = {"context": paragraph["context"]} if "context" in paragraph else {}
    for i, question in enumerate(paragraph["qas"]):
        own = question if isinstance(question, dict) else {"question": question}
        yield f"{where}/qas/{i}", shared | passage | own | ({"paragraph": rest} if rest else {})


def _rest(level: dict[str, Any], *taken: str) -> dict[str, Any]:
    return {key: value for key, value in level.items() if key not in taken}


def fold(element: Any, rows: list[tuple[str, Any]]) -> list[Any]:
    """The element with its questions replaced; where neighbours no longer share their passage, it is split."""
    changed = copy.deepcopy(element)
    by_place = dict(rows)
    if _is_paragraph(changed):
        return _split(changed, "", by_place)
    changed["paragraphs"] = [
        part
        for i, paragraph in enumerate(changed["paragraphs"])
        for part in _split(paragraph, pointer("paragraphs", i), by_place)
    ]
    return [changed]


def _split(paragraph: dict[str, Any], where: str, rows: dict[str, Any]) -> list[dict[str, Any]]:
    """A paragraph with its questions replaced: one, or several when its questions' passages differ."""
    paired = [(question, rows[f"{where}/qas/{i}"]) for i, question in enumerate(paragraph["qas"])]
    if not paired:
        return [paragraph]
    parts = []
    for _, run in groupby(paired, key=lambda pair: pair[1].get("context")):
        members = list(run)
        part = dict(paragraph)
        part["qas"] = [_own(question, row) for question, row in members]
        if "context" in members[0][1]:
            part["context"] = members[0][1]["context"]
        parts.append(part)
    return parts


def _own(question: Any, row: dict[str, Any]) -> Any:
    """A question with the row's values under its own keys, in its own order."""
    if not isinstance(question, dict):
        return row["question"]
    return {key: row.get(key, value) for key, value in question.items()} | {
        key: value for key, value in row.items() if key not in _ABOVE and key not in question
    }


def gather(rows: list[Any]) -> list[Any]:
    """Articles made of new rows; neighbours with one title share an article, those with one passage a paragraph."""
    return [
        ({"title": title} if title is not None else {})
        | {"paragraphs": list(map(_paragraph, _runs(members, "context")))}
        for title, members in ((run[0].get("title"), run) for run in _runs(rows, "title"))
    ]


def _runs(rows: list[Any], key: str) -> list[list[Any]]:
    by_key: Callable[[Any], Any] = lambda row: row.get(key)  # noqa: E731
    return [list(run) for _, run in groupby(rows, key=by_key)]


def _paragraph(rows: list[Any]) -> dict[str, Any]:
    return {"context": rows[0].get("context", ""), "qas": [_rest(row, *_ABOVE) for row in rows]}


def _read(name: str, row: Any, header: Header | None) -> Reading:
    """An empty list of answers says that the passage does not answer the question."""
    fields = Fields(row)
    question, context = fields.text("question"), fields.text("context")
    if "answers" not in fields:
        fields.text("answers")
    given = fields.value("answers")
    if not isinstance(given, list):
        raise RowError("SC002", f"{kind_of(given)} where a list of answers belongs", "/answers")
    answers = [_answer(fields, item, f"/answers/{i}") for i, item in enumerate(given)]
    if "is_impossible" in fields:
        fields.held_as("is_impossible", fields.value("is_impossible"))
    record = QA(
        question=question,
        context=context,
        answers=answers,
        answerable=bool(answers) and row.get("is_impossible") is not True,
        group=content_hash(context) if context.strip() else None,
        header=header.id if header else None,
        origin=fields.origin(name),
    )
    return Reading(record, fields.notes)


def _answer(fields: Fields, item: Any, where: str) -> Answer:
    if isinstance(item, str):
        return Answer(text=item)
    if not isinstance(item, dict) or "text" not in item:
        raise RowError("SC002", f"{kind_of(item)} where an answer with a text belongs", where)
    for key in item.keys() - {"text", "answer_start"}:
        fields.keep(f"{where}/{key}".removeprefix("/"), item[key])
    start = item.get("answer_start")
    if "answer_start" in item and not _is_start(start):
        fields.held_as(f"{where}/answer_start".removeprefix("/"), start)
    return Answer(text=fields.spelt(item["text"], f"{where}/text"), start=start if _is_start(start) else None)


def _is_start(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _write(draft: Draft) -> None:
    record = draft.record
    if isinstance(record, QA) and record.choices:
        raise NoPlace("choices, which SQuAD has no place for", "/choices")
    draft.put("context", lambda qa: qa.context or "")
    draft.put("question", lambda qa: qa.question)
    if draft.changed(_answers):
        draft.row["answers"] = _put_answers(draft)
    if draft.was is None and not _answerable(record):
        draft.row["is_impossible"] = True


def _answers(record: Record) -> list[dict[str, Any]]:
    return [_spelt_answer(answer) for answer in record.answers] if isinstance(record, QA) else []


def _answerable(record: Record) -> bool:
    return isinstance(record, QA) and record.answerable


def _put_answers(draft: Draft) -> list[Any]:
    """The answers, each in its author's spelling as far as it is still his."""
    new, given = _answers(draft.record), draft.row.get("answers")
    was = _answers(draft.was) if draft.was is not None else []
    if not isinstance(given, list) or len(given) != len(new) or len(was) != len(new):
        return new
    return [_merged(*answer) for answer in zip(given, new, was, strict=True)]


def _spelt_answer(answer: Answer) -> dict[str, Any]:
    return {"text": answer.text} | ({"answer_start": answer.start} if answer.start is not None else {})


def _merged(item: Any, new: dict[str, Any], was: dict[str, Any]) -> Any:
    """An author's answer with what changed in it."""
    changed = {key: value for key, value in new.items() if value != was.get(key)}
    if isinstance(item, dict):
        return item | changed
    return changed.get("text", item)


_KNOWN = {"question": "question", "context": "context"}
_DESCRIPTION = "questions inside paragraphs inside articles, with answers of text and answer_start"
_ARTICLE = (
    '{"title": "Emma", "paragraphs": [{"context": "Emma is by Jane Austen.", "qas": [{"id": "q1", '
    '"question": "Who wrote Emma?", "answers": [{"text": "Jane Austen", "answer_start": 11}]}]}]}'
)
ADAPTERS = (
    Adapter(
        name="squad",
        description=f"SQuAD file: {_DESCRIPTION}",
        example=f'{{"version": "v2.0", "data": [{_ARTICLE}]}}',
        fits=_fits_file,
        read=partial(_read, "squad"),
        columns=_KNOWN,
        list_key="data",
        header=_header,
        write=_write,
        kinds=("qa",),
        write_header=_write_header,
        unfold=unfold,
        fold=fold,
        gather=gather,
    ),
    Adapter(
        name="squad_articles",
        description=f"articles or paragraphs of SQuAD in lines or an array: {_DESCRIPTION}",
        example=_ARTICLE,
        fits=_fits_element,
        read=partial(_read, "squad_articles"),
        columns=_KNOWN,
        write=_write,
        kinds=("qa",),
        unfold=unfold,
        fold=fold,
        gather=gather,
    ),
)
