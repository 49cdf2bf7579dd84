"""Several answers to one prompt, with scores or ranks: in lists side by side, or one object for each answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from didact.errors import RowError
from didact.formats.conversation import write_tools
from didact.formats.draft import Draft
from didact.formats.fields import Fields, pointer
from didact.formats.messages import is_message, read_tools
from didact.formats.new_messages import Spelling, own_spelling
from didact.formats.pairs import change_prompt, prompt_key_of, read_prompt
from didact.formats.turns import is_plain, new_turns, read_turns, written_turns
from didact.records import Candidate, Message, Preference

_LISTS = ("completions", "responses", "answers", "candidates")
_TEXTS = ("response", "completion", "answer", "text", "output", "messages", "content")
_SCORES, _RANKS = ("scores", "ratings"), ("ranks", "ranking", "rankings", "rank")
_SCORE, _RANK = ("overall_score", "score", "rating"), ("rank",)
"""Keys of one answer's score and rank, in its own object."""


def list_key_of(row: dict[str, Any]) -> str | None:
    """The key of a row's judged answers; None when it has no such list."""
    for key in _LISTS:
        items = row.get(key)
        if not isinstance(items, list) or not items:
            continue
        beside = any(isinstance(row.get(name), list) for name in (*_SCORES, *_RANKS))
        if beside or all(_text_key(item) and any(name in item for name in (*_SCORE, *_RANK)) for item in items):
            return key
    return None


def _text_key(item: Any) -> str | None:
    """The key of the answer in an answer's own object."""
    if not isinstance(item, dict) or is_message(item):
        return None
    return next((key for key in _TEXTS if item.get(key) is not None), None)


class _Ranked(NamedTuple):
    key: str
    answers: list[list[Message]]
    """In the row's order, like scores and ranks."""
    scores: list[float | None]
    ranks: list[int | None]
    order: list[int]
    """Places in the row, the best answer first."""


def _ranked(fields: Fields) -> _Ranked:
    """The judged answers of a row. Raises RowError."""
    key = list_key_of(fields.row)
    assert key is not None
    items = fields.value(key)
    judged = [own for lists, own in ((_SCORES, _SCORE), (_RANKS, _RANK)) if _beside(fields.row, lists) is None]
    answers = [_answer(fields, item, pointer(key, i), judged) for i, item in enumerate(items)]
    scores = [_number(value) for value in _judgements(fields, items, _SCORES, _SCORE)]
    ranks = [_rank(value) for value in _judgements(fields, items, _RANKS, _RANK)]
    if 0 in ranks:  # counted from 0
        ranks = [None if rank is None else rank + 1 for rank in ranks]
    order = sorted(range(len(items)), key=lambda i: _goodness(ranks[i], scores[i]))
    return _Ranked(key, answers, scores, ranks, order)


def _goodness(rank: int | None, score: float | None) -> tuple[float, float]:
    return (rank if rank is not None else float("inf"), -score if score is not None else float("inf"))


def _answer(fields: Fields, item: Any, where: str, judged: Sequence[Sequence[str]]) -> list[Message]:
    """One answer; what else its own object holds is kept."""
    key = _text_key(item)
    if key is None:
        return read_turns(fields, item, where, "assistant")
    used = {key, *(_own_key(item, own) for own in judged)}
    for other in item:
        if other not in used:
            fields.keep(f"{where}{pointer(other)}"[1:], item[other])
    return read_turns(fields, item[key], f"{where}/{key}", "assistant")


def _is_judgement(key: str, value: Any) -> bool:
    return (_rank(value) if key in _RANK else _number(value)) is not None


def _beside(row: dict[str, Any], lists: Sequence[str]) -> str | None:
    """The key of a list of scores or ranks beside the answers."""
    return next((name for name in lists if isinstance(row.get(name), list)), None)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _rank(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _judgements(fields: Fields, items: list[Any], lists: Sequence[str], own: Sequence[str]) -> list[Any]:
    """Scores or ranks, beside the answers or inside them. Raises RowError SC002."""
    beside = _beside(fields.row, lists)
    if beside is None:
        return [_own(item, own) for item in items]
    values = fields.value(beside)
    if len(values) != len(items) or not all(value is None or _number(value) is not None for value in values):
        raise RowError("SC002", f"{len(values)} {beside} where {len(items)} numbers belong", pointer(beside))
    return list(values)


def _own(item: Any, keys: Sequence[str]) -> Any:
    key = _own_key(item, keys)
    return None if key is None else item[key]


def _own_key(item: Any, keys: Sequence[str]) -> str | None:
    """The key in an answer's own object that judges it; another one beside it is kept, but says nothing."""
    if _text_key(item) is None:
        return None
    return next((key for key in keys if _is_judgement(key, item.get(key))), None)


def read_ranked(fields: Fields) -> Preference:
    """A row with several judged answers, the best first in the record. Raises RowError."""
    found = _ranked(fields)
    prompt_key = prompt_key_of(fields.row)
    if prompt_key is None:
        raise RowError("SC001", "no prompt before the judged answers", "/prompt")
    prompt = read_prompt(fields, prompt_key)
    inside = any(map(_text_key, fields.row[found.key]))
    fields.held_as("completions", [prompt_key, found.key, inside, *found.order])
    candidates = [Candidate(messages=found.answers[i], score=found.scores[i], rank=found.ranks[i]) for i in found.order]
    return Preference(
        prompt=prompt, candidates=candidates, tools=read_tools(fields, "tools"), origin=fields.origin("preference")
    )


# --- writing


def change_ranked(draft: Draft, was: Preference, now: Preference) -> None:
    """Change a row's judged answers where they would read as something else."""
    row = draft.row
    found, prompt_key = _ranked(Fields(row)), prompt_key_of(row)
    assert prompt_key is not None
    change_prompt(row, prompt_key, was.prompt, now.prompt)
    shift = int(any(value == 0 for value in _judgements(Fields(row), row[found.key], _RANKS, _RANK)))
    for i, old, new in zip(found.order, was.candidates, now.candidates, strict=True):
        items = row[found.key]
        key = _text_key(items[i])
        if key is None:
            items[i] = written_turns(items[i], old.messages, new.messages, "assistant")
        else:
            items[i][key] = written_turns(items[i][key], old.messages, new.messages, "assistant")
        if old.score != new.score:
            _judge(row, items[i], i, _SCORES, _SCORE, new.score)
        if old.rank != new.rank:
            _judge(row, items[i], i, _RANKS, _RANK, None if new.rank is None else new.rank - shift)
    write_tools(row, was.tools, now.tools)


def _judge(row: dict[str, Any], item: Any, place: int, lists: Sequence[str], own: Sequence[str], value: Any) -> None:
    """Set an answer's score or rank where the row has it."""
    beside = _beside(row, lists)
    if beside is not None:
        row[beside][place] = value
    elif isinstance(item, dict):
        item[_own_key(item, own) or own[0]] = value


def is_ranked_origin(record: Preference) -> bool:
    """Whether a record was read from a row of judged answers."""
    return isinstance(own_spelling(record, "preference", "role").remembered("/completions"), list)


def new_ranked(record: Preference) -> dict[str, Any]:
    """A row that no author wrote: prompt, completions, and scores or ranks, as far as there are any."""
    spelling = own_spelling(record, "preference", "role")
    told: Any = spelling.remembered("/completions")
    count = len(record.candidates)
    if not isinstance(told, list) or len(told) != count + 3:
        told = ["prompt", "completions", False, *range(count)]
    prompt_key, key, inside, *order = told
    candidates = [record.candidates[best] for best in sorted(range(count), key=lambda best: order[best])]
    plain = spelling.whole or (
        is_plain(record.prompt, "user") and all(is_plain(one.messages, "assistant") for one in candidates)
    )
    prompt = new_turns(record.prompt, f"/{prompt_key}", "user", spelling, plain=plain)
    row: dict[str, Any] = {prompt_key: prompt}
    row[key] = [_item(one, f"/{key}/{i}", spelling, plain, inside) for i, one in enumerate(candidates)]
    if not inside:
        scores, ranks = [one.score for one in candidates], [one.rank for one in candidates]
        lists: dict[str, list[Any]] = {"scores": scores, "ranks": ranks}
        told_of = {name: values for name, values in lists.items() if any(value is not None for value in values)}
        row |= told_of or {"scores": scores}
    write_tools(row, None, record.tools)
    return row


def _item(candidate: Candidate, where: str, spelling: Spelling, plain: bool, inside: bool) -> Any:
    """An answer: bare, or in an object with its score and rank."""
    if not inside:
        return new_turns(candidate.messages, where, "assistant", spelling, plain=plain)
    text, score, rank = (
        next(key for key in keys if not spelling.knows(f"{where}/{key}")) for keys in (_TEXTS, _SCORE, _RANK)
    )
    said = new_turns(candidate.messages, f"{where}/{text}", "assistant", spelling, plain=plain)
    judged = {score: candidate.score, rank: candidate.rank}
    return {text: said} | (
        {key: value for key, value in judged.items() if value is not None} or _unjudged(where, spelling)
    )


def _unjudged(where: str, spelling: Spelling) -> dict[str, Any]:
    """What stands in an answer's own object instead of a judgement."""
    extra = {} if spelling.origin is None else spelling.origin.extra
    key = next((key for key in (*_SCORE, *_RANK) if f"{where}/{key}"[1:] in extra), _SCORE[0])
    return {key: extra.get(f"{where}/{key}"[1:])}
