"""What is asked in an evaluation: prompts with their accepted answers, from records or from a version's split."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from didact.canonical import keyed_hash
from didact.errors import EmptySplit
from didact.records import QA, AnyRecord, Header, Record, Task
from didact.render.dialogue import Message, split_last_answer

_BATCH_ROWS = 4096


@dataclass(frozen=True, slots=True)
class Item:
    """One prompt with what counts as a right answer."""

    task: str
    id: str
    prompt: tuple[Message, ...]
    references: tuple[str, ...]
    choices: int = 0
    """Number of answers to choose from; 0 when the answer is free."""
    worked: bool = False
    """Whether the references are final answers, to be compared with the final answer of what a model writes."""
    tools: str | None = None
    source: str = ""
    labelled: bool = False
    """Whether it is a task or a question, whose answer may be a label."""

    @property
    def question(self) -> str:
        """The prompt's texts in one, for people and for the baselines."""
        return "\n".join(str(message["content"]) for message in self.prompt if message.get("content"))


def item_from_record(record: Record, task: str, header: Header | None = None) -> Item | None:
    """A record as an item; None when it has no answer to compare with."""
    turns: list[Message] = [dict(turn) for turn in record.dialogue(header)]
    return _item(task, record.id, turns, record, None)


def items_from_split(version_dir: Path, mix: str, split: str, limit: int | None = None, seed: int = 0) -> list[Item]:
    """The items of a finetune mix's split, at most `limit` a task, named after the record's task or else its source.

    Which records are taken depends on the seed and their ids only, so two runs ask the same. Raises EmptySplit.
    """
    files = sorted((version_dir / "data" / mix).glob(f"{split}-*-of-*.parquet"))
    items = limited((item for file in files for item in _file_items(file)), limit, seed)
    if not items:
        raise EmptySplit(f"{version_dir}: mix '{mix}' has no record with an answer in split '{split}'")
    return items


def limited(items: Iterable[Item], limit: int | None, seed: int) -> list[Item]:
    """At most `limit` items of each task, those with the least keyed hash of their ids, in the order they came."""
    if limit is None:
        return list(items)
    # per task a heap with the greatest hash on top: memory is bounded by the items kept
    heaps: dict[str, list[tuple[int, int, Item]]] = {}
    for place, item in enumerate(items):
        heap = heaps.setdefault(item.task, [])
        heapq.heappush(heap, (-keyed_hash(f"evaluate-{seed}", item.id), -place, item))
        if len(heap) > limit:
            heapq.heappop(heap)
    kept = sorted((-place, item) for heap in heaps.values() for _, place, item in heap)
    return [item for _, item in kept]


def _file_items(file: Path) -> Iterator[Item]:
    present = pq.read_schema(file).names
    wanted = [name for name in ("id", "source", "task", "messages", "tools", "record") if name in present]
    with pq.ParquetFile(file) as parquet:
        for batch in parquet.iter_batches(_BATCH_ROWS, columns=wanted):
            for row in batch.to_pylist():
                record = AnyRecord.validate_json(row["record"])
                named = row.get("task") or row["source"]
                item = _item(named, row["id"], row["messages"], record, row.get("tools"), row["source"])
                if item is not None:
                    yield item


def _item(
    task: str, record_id: str, turns: Sequence[Message], record: Record, tools: str | None, source: str = ""
) -> Item | None:
    split = split_last_answer(turns)
    if split is None:
        return None
    prompt, answer = split
    references, worked = _references(record, answer)
    asked = isinstance(record, QA | Task)
    choices = len(record.choices) if isinstance(record, QA | Task) else 0
    return Item(task, record_id, tuple(_worded(prompt)), references, choices, worked, tools, source, asked)


def _references(record: Record, answer: str) -> tuple[tuple[str, ...], bool]:
    """Accepted answers, and whether they are final answers of worked ones."""
    if isinstance(record, Task):
        return tuple(record.outputs), False
    if isinstance(record, QA) and record.final_answer:
        return (record.final_answer,), True
    if isinstance(record, QA) and record.rationale is None:
        return tuple(accepted.text for accepted in record.answers), False
    return (answer,), False


def _worded(messages: Iterable[Message]) -> Iterator[dict[str, Any]]:
    """Messages without keys that say nothing."""
    for message in messages:
        yield {key: value for key, value in message.items() if value is not None}
