"""Labelled records: their texts for a classifier, and what a classifier is worth on held-out ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from didact.errors import DataError, EmptySplit
from didact.evaluate.baselines import NearestPrompt, constant_answer
from didact.evaluate.items import Item, items_from_split
from didact.evaluate.tasks import Answered, TaskResult
from didact.intervals import Estimate, estimate
from didact.model.checkpoint import load_model, resolve
from didact.model.classifier import Classifier
from didact.model.classify import LabelledShards, label_counts, macro_f1, predict
from didact.model.phases import compute_threads
from didact.render.renderer import Renderer
from didact.render.tokenizer import Tokenizer
from didact.store.version import Version

_RESAMPLES = 2000


@dataclass(frozen=True)
class Labelled:
    """Texts with their labels; each is one task or question record."""

    items: list[Item]

    @property
    def texts(self) -> list[str]:
        """What is asked."""
        return [item.question for item in self.items]

    @property
    def labels(self) -> list[str]:
        """The first accepted answer of each."""
        return [item.references[0] for item in self.items]


def labelled_split(version: Version, mix: str, split: str, sources: Sequence[str] | None) -> Labelled:
    """The labelled records of a split: task and question records with an answer, of some sources or all.

    Raises EmptySplit when there is none.
    """
    items = items_from_split(version.path, mix, split)
    found = [item for item in items if item.labelled and (sources is None or item.source in sources)]
    if not found:
        raise EmptySplit(f"{version.path}: mix '{mix}' has no labelled record in split '{split}'; name other sources")
    return Labelled(found)


def label_set(training: Labelled, most: int) -> tuple[str, ...]:
    """The labels of a training split, sorted. Raises DataError when there are fewer than 2 or more than `most`."""
    labels = tuple(sorted(set(training.labels)))
    if not 2 <= len(labels) <= most:
        raise DataError(
            f"the training split has {len(labels)} different answers, and a classifier wants 2 to {most} labels; name "
            "the sources that have some in classifier.sources"
        )
    return labels


def tokenised(labelled: Labelled, labels: Sequence[str], tokenizer: Tokenizer) -> LabelledShards:
    """Texts as a classifier reads them, each between the marks of a plain document, and their labels by number."""
    encoded = Renderer(tokenizer).render_texts(labelled.texts)
    number = {label: place for place, label in enumerate(labels)}
    names = sorted({item.source for item in labelled.items})
    source = {name: place for place, name in enumerate(names)}
    return LabelledShards(
        ids=encoded.ids,
        weights=np.zeros(encoded.ids.size, np.uint8),
        bounds=encoded.bounds,
        labels=np.array([number.get(label, -1) for label in labelled.labels], np.int64),
        sources=np.array([source[item.source] for item in labelled.items], np.int32),
        source_names=names,
    )


def measure_classifier(
    checkpoint: Path, training: Labelled, held_out: Labelled, seed: int, threads: int | None = None
) -> tuple[TaskResult, TaskResult]:
    """Accuracy and macro-F1 on held-out records, with 95 % intervals, beside the most frequent training label and the
    label of the most similar training text. A label that training never saw counts as wrong.
    """
    path = resolve(checkpoint)
    model, tokenizer = load_model(path), Tokenizer.load(path)
    assert isinstance(model, Classifier)
    shards = tokenised(held_out, model.labels, tokenizer)
    with compute_threads(threads):
        said = predict(model, shards.ids, shards.bounds)
    over_long = int((np.diff(shards.bounds) > model.config.max_position_embeddings).sum())
    number = {label: place for place, label in enumerate(model.labels)}
    majority = np.full(len(said), number.get(constant_answer(training.labels), -1))
    nearest = _nearest_labels(training, held_out, number)
    answers = tuple(
        Answered(item.id, item.question, item.references, model.labels[one], float(one == true))
        for item, one, true in zip(held_out.items, said.tolist(), shards.labels.tolist(), strict=True)
    )
    results = []
    for metric, score in (("accuracy", _accuracy), ("macro_f1", _macro_f1)):
        found = score(shards.labels, said, len(model.labels), seed)
        others = [score(shards.labels, guess, len(model.labels), None).mean for guess in (majority, nearest)]
        results.append(TaskResult("labels", metric, found, others[0], others[1], over_long, answers))
    return results[0], results[1]


def _accuracy(true: NDArray[np.int64], said: NDArray[np.int64], kinds: int, seed: int | None) -> Estimate:
    del kinds
    return estimate((true == said).astype(np.float64), seed or 0)


def _macro_f1(true: NDArray[np.int64], said: NDArray[np.int64], kinds: int, seed: int | None) -> Estimate:
    """Macro-F1 and, with a seed, its percentile interval over resamples of the records."""
    # One more label stands for what training never saw, true or said.
    kinds, true, said = kinds + 1, np.where(true < 0, kinds, true), np.where(said < 0, kinds, said)
    value = macro_f1(label_counts(true, said, kinds))
    if seed is None:
        return Estimate(value, value, value, len(true))
    random = np.random.Generator(np.random.PCG64(seed))
    values = []
    for _ in range(_RESAMPLES):
        some = random.integers(0, len(true), len(true))
        values.append(macro_f1(label_counts(true[some], said[some], kinds)))
    low, high = np.quantile(values, (0.025, 0.975))
    return Estimate(value, float(low), float(high), len(true))


def _nearest_labels(training: Labelled, held_out: Labelled, number: dict[str, int]) -> NDArray[np.int64]:
    """The label of each text's most similar training text; the most frequent one where nothing is shared."""
    index, labels = NearestPrompt(training.texts), training.labels
    usual = constant_answer(labels)
    found = [index.nearest(text) for text in held_out.texts]
    return np.array([number.get(usual if at is None else labels[at], -1) for at in found], np.int64)
