"""Measure a checkpoint: bits per byte of held-out text, and the recipe's tasks answered by generation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from didact.errors import EmptySplit
from didact.evaluate.held_out import held_out_texts, model_nats, ngram_bits
from didact.evaluate.items import Item, item_from_record, items_from_split, limited
from didact.evaluate.tasks import TaskResult, answer_items, score_tasks
from didact.model.checkpoint import resolve
from didact.model.phases import compute_threads
from didact.model.speak import Speaker
from didact.recipe.sources import Source
from didact.recipe.training import EvaluateSettings, EvaluationTask
from didact.sources.blocks import Block
from didact.sources.read import plan_source, read_block, source_blocks
from didact.store.version import Version

BASELINE_ITEMS = 20_000
"""Most training prompts the baselines learn from; more hardly changes the nearest neighbour and costs minutes."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was measured on one checkpoint. bits_per_byte: by mix, of its test split (its validation split where there
    is no test). ngram_bits: the same of n-gram models of the mix's training split, by mix and name.
    """

    checkpoint: Path
    bits_per_byte: dict[str, float]
    ngram_bits: dict[str, dict[str, float]]
    tasks: tuple[TaskResult, ...]

    @property
    def mean_score(self) -> float | None:
        """Mean of the tasks' scores, each task weighing the same."""
        return sum(task.score.mean for task in self.tasks) / len(self.tasks) if self.tasks else None

    def as_json(self, samples: int = 5) -> dict[str, Any]:
        """The evaluation as plain values, with the first few answers of each task."""
        return {
            "checkpoint": str(self.checkpoint),
            "bits_per_byte": self.bits_per_byte,
            "ngram_bits": self.ngram_bits,
            "mean_score": self.mean_score,
            "tasks": [task.to_json(samples) for task in self.tasks],
        }


def evaluate_checkpoint(
    checkpoint: Path,
    version: Version,
    settings: EvaluateSettings,
    tokens: Path,
    base: Path,
    seed: int,
    threads: int | None = None,
) -> Evaluation:
    """Measure a checkpoint on a version's held-out text and on the recipe's tasks; deterministic for one machine.

    tokens: folder of the version's token shards under the checkpoint's tokenizer.
    Raises EmptySplit for a task without items, UnknownName for a metric, InputMissing for a task's file.
    """
    path = resolve(checkpoint)
    speaker = Speaker.load(path)
    with compute_threads(threads):
        training = _training_items(version, seed) if settings.tasks else []
        results: list[TaskResult] = []
        for task in settings.tasks:
            items = task_items(task, version, base, task.limit or settings.limit, seed)
            answers = answer_items(
                items, speaker, speaker.tokenizer, task.max_tokens, batch=settings.batch, context=speaker.context
            )
            results += score_tasks(items, answers, task.metric, training, seed)
        held = held_out_texts(version, tokens, speaker.model.config.max_position_embeddings)
        widths = speaker.tokenizer.token_bytes()
        return Evaluation(
            path,
            {text.mix: text.bits(model_nats(speaker.model, text), widths) for text in held},
            {text.mix: ngram_bits(text, tokens, widths) for text in held},
            tuple(results),
        )


def finetune_mixes(version: Version) -> list[str]:
    """Mixes of a version that hold dialogues."""
    return [name for name, mix in version.manifest.mixes.items() if mix.purpose == "finetune"]


def task_items(task: EvaluationTask, version: Version, base: Path, limit: int | None, seed: int) -> list[Item]:
    """What a task asks: a split of the version, or a file of any format."""
    if task.path is None:
        split = task.split or "test"
        mixes = finetune_mixes(version)
        found = [item for mix in mixes for item in items_from_split(version.path, mix, split, limit, seed)]
    else:
        found = limited(_file_items(task.name, task.path, task.format, base), limit, seed)
    if not found:
        raise EmptySplit(f"evaluate task '{task.name}': nothing to ask; no record in its input has an answer")
    return found


def _file_items(name: str, path: str, form: str, base: Path) -> Iterator[Item]:
    """Items of the files of a task; rows that are no records are left out, as in a build."""
    source = Source(path=path, format=form)
    for file, block in source_blocks(plan_source(name, source, base), source):
        if isinstance(block, Block):
            read = read_block(block, file, source)
            for record in read.records:
                item = item_from_record(record, name, read.headers.get(record.header or ""))
                if item is not None:
                    yield item


def _training_items(version: Version, seed: int) -> list[Item]:
    items = [
        item for mix in finetune_mixes(version) for item in items_from_split(version.path, mix, "train", None, seed)
    ]
    return items[:BASELINE_ITEMS]
