"""Training of a classifier: an encoder learns the labels of short texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from didact.canonical import content_hash
from didact.errors import CallError
from didact.model.attention import attend_within
from didact.model.batches import Batch, BatchPlan, Policy, Shards
from didact.model.checkpoint import check_vocabulary, load_model, resolve, weights_digest
from didact.model.classifier import Classifier
from didact.model.documents import DocumentPlan, gather_tokens
from didact.model.encoder import encoder_config
from didact.model.fit import FitResult, OnProgress
from didact.model.optim import default_learning_rate
from didact.model.phases import compute_threads, train_phase
from didact.model.precision import autocast, choose_device
from didact.model.pretrain import PretrainTokenizer
from didact.model.sinks import WATCHED_BY_NOBODY, Watch
from didact.model.transformer import Decoder
from didact.model.validation import Labels, Measured
from didact.model.world import World
from didact.recipe.training import ClassifierSettings, ModelSettings

TEXTS_AT_ONCE = 256


@dataclass(frozen=True)
class LabelledShards:
    """Tokenised texts with labels, in memory.

    ids, weights, bounds: as of any shards. labels: (texts,) int64, -1 for one that is not among the classifier's.
    sources, source_names: where each text comes from.
    """

    ids: NDArray[np.int32]
    weights: NDArray[np.uint8]
    bounds: NDArray[np.int64]
    labels: NDArray[np.int64]
    sources: NDArray[np.int32]
    source_names: list[str]


@dataclass(frozen=True)
class LabelledBatch(Batch):
    """A batch of D whole texts; labels: (D,) int64."""

    labels: NDArray[np.int64]

    @property
    def weight(self) -> float:
        """Number of texts: what the loss sum is divided by."""
        return float(len(self.labels))


class LabelledPlan(DocumentPlan):
    """Steps over texts, each with one target, its label; texts whose label the classifier lacks are left out."""

    def _targets(
        self, first: NDArray[np.int64], document: NDArray[np.int64], length: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        del first
        assert isinstance(self.shards, LabelledShards)
        return ((self.shards.labels[document] >= 0) & (length > 0)).astype(np.int64)

    def _gather(self, entries: NDArray[np.void], epoch: int) -> LabelledBatch:
        del epoch
        assert isinstance(self.shards, LabelledShards)
        batch = gather_tokens(self.shards, entries)
        values = {f.name: getattr(batch, f.name) for f in fields(batch)}
        return LabelledBatch(**values, labels=self.shards.labels[batch.documents])


def label_scores(model: Decoder, batch: Batch) -> Tensor:
    """Logits of the labels of each text, (D, labels)."""
    assert isinstance(model, Classifier)
    device = model.classifier.weight.device
    ids, positions = (torch.from_numpy(array).to(device)[None] for array in (batch.ids, batch.positions))
    attend = attend_within(batch.lengths, device, both_ways=True)
    return model.scores(ids, positions, attend, torch.from_numpy(batch.lengths).to(device)).float()


class Classification:
    """Cross entropy of each text's label."""

    unit = "text"

    def plan(
        self, shards: Shards, context: int, batch_tokens: int, micro_tokens: int, policy: Policy, seed: int
    ) -> BatchPlan:
        """Packed texts."""
        return LabelledPlan(shards, context, batch_tokens, micro_tokens, policy, seed)

    def loss(self, model: Decoder, batch: Batch) -> Tensor:
        """Cross entropy summed over texts."""
        assert isinstance(batch, LabelledBatch)
        scores = label_scores(model, batch)
        return F.cross_entropy(scores, torch.from_numpy(batch.labels).to(scores.device), reduction="sum")

    @torch.no_grad()
    def measure(self, model: Decoder, batches: list[Batch], labels: Labels | None, world: World | None) -> Measured:
        """Mean loss of a text, in all and by source, and accuracy and macro-F1 over all texts."""
        assert isinstance(model, Classifier)
        world = world or World()
        share = world.share(range(len(batches)))
        names = labels.source_names if labels is not None else []
        count, kinds = max(1, len(names)), len(model.labels)
        by_source, by_label = np.zeros((2, count)), np.zeros((3, kinds))
        model.eval()
        with autocast(model.classifier.weight.device):
            for batch in batches[share.start : share.stop]:
                assert isinstance(batch, LabelledBatch)
                scores = label_scores(model, batch)
                nats = F.cross_entropy(scores, torch.from_numpy(batch.labels).to(scores.device), reduction="none")
                source = np.zeros(len(nats), np.int64) if labels is None else labels.sources[batch.documents]
                by_source[0] += np.bincount(source, nats.cpu().numpy(), minlength=count)
                by_source[1] += np.bincount(source, minlength=count)
                by_label += label_counts(batch.labels, scores.argmax(-1).cpu().numpy(), kinds)
        model.train()
        total = np.array(world.sums(*by_source.ravel(), *by_label.ravel()))
        loss, texts = total[: 2 * count].reshape(2, count)
        counts = total[2 * count :].reshape(3, kinds)
        return Measured(
            float(loss.sum() / texts.sum()),
            {name: float(loss[at] / texts[at]) for at, name in enumerate(names) if texts[at]},
            {"accuracy": float(counts[0].sum() / texts.sum()), "macro_f1": macro_f1(counts)},
        )


def label_counts(true: NDArray[np.int64], said: NDArray[np.int64], kinds: int) -> NDArray[np.float64]:
    """Of each label: how often it was said rightly, how often it was true, how often it was said; (3, kinds)."""
    parts = (true[true == said], true[true >= 0], said)
    return np.stack([np.bincount(part, minlength=kinds).astype(np.float64) for part in parts])


def macro_f1(counts: NDArray[np.float64]) -> float:
    """Mean F1 over the labels that are true or said at least once; counts as of `label_counts`.

    >>> macro_f1(np.array([[1.0, 1.0], [2.0, 1.0], [1.0, 2.0]]))
    0.6666666666666666
    """
    right, true, said = counts
    there = (true + said) > 0
    return float((2 * right[there] / (true[there] + said[there])).mean()) if there.any() else 0.0


@torch.inference_mode()
def predict(model: Classifier, ids: NDArray[np.int32], bounds: NDArray[np.int64]) -> NDArray[np.int64]:
    """The likeliest label of each text, (texts,); a text longer than the model's context is judged by its head."""
    most = model.config.max_position_embeddings
    starts, lengths = bounds[:-1], np.minimum(np.diff(bounds), most)
    order, said = np.argsort(lengths, kind="stable"), np.empty(len(starts), np.int64)
    model.eval()
    for at in range(0, len(order), TEXTS_AT_ONCE):
        some = order[at : at + TEXTS_AT_ONCE]
        said[some] = label_scores(model, laid_out(ids, starts[some], lengths[some])).argmax(-1).cpu().numpy()
    return said


def laid_out(ids: NDArray[np.int32], starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> Batch:
    """Texts laid end to end: `lengths` ids from each of `starts`."""
    positions = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    own = ids[np.repeat(starts, lengths) + positions].astype(np.int64)
    return Batch(own, own, np.zeros(len(own), np.float32), positions, lengths, np.arange(len(lengths)))


def train_classifier(
    settings: ClassifierSettings,
    labels: Sequence[str],
    init: Path | None,
    shape: ModelSettings,
    train: LabelledShards,
    validation: LabelledShards | None,
    tokenizer: PretrainTokenizer,
    folder: Path,
    seed: int,
    on_progress: OnProgress | None = None,
    threads: int | None = None,
    device: str = "cpu",
    watch: Watch = WATCHED_BY_NOBODY,
) -> FitResult:
    """Train an encoder and a head on labels, from an encoder's checkpoint or, without one, from fresh weights.

    Raises CallError when the checkpoint is no encoder or has another tokenizer, and what `fine-tuning` raises.
    """
    with compute_threads(threads):
        model, origin = _start(init, labels, shape, tokenizer, seed)
        rate = settings.learning_rate or default_learning_rate(model.config.hidden_size) / 2
        known = [train.labels.tolist(), None if validation is None else validation.labels.tolist()]
        return train_phase(
            "classifier",
            model.to(choose_device(device)),
            settings,
            rate,
            settings.over_long,
            train,
            validation,
            tokenizer,
            folder,
            seed,
            content_hash([origin, list(labels), known]),
            on_progress,
            watch=watch,
            objective=Classification(),
        )


def _start(
    init: Path | None, labels: Sequence[str], shape: ModelSettings, tokenizer: PretrainTokenizer, seed: int
) -> tuple[Classifier, str]:
    """The classifier before its first step, and the identity of what it starts from."""
    if init is None:
        config = encoder_config(shape, tokenizer)
        model = Classifier(config, tuple(labels))
        model.initialise(seed)
        return model.initialise_head(seed), f"seed {seed}"
    start = resolve(init)
    encoder = load_model(start)
    if not encoder.config.bidirectional:
        raise CallError(f"{start}: is a decoder; a classifier starts from an encoder, such as RUN/encoder")
    check_vocabulary(encoder.config, tokenizer, start)
    model = Classifier(encoder.config, tuple(labels)).initialise_head(seed)
    model.model.load_state_dict(encoder.model.state_dict())
    return model, weights_digest(start)
