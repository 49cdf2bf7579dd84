"""A classification head on an encoder: the mean of a text's outputs, a layer, a score for each label."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from didact.errors import CallError
from didact.model.attention import Attend
from didact.model.config import DecoderConfig
from didact.model.transformer import EMBEDDING_STD, Decoder

ARCHITECTURE = "EuroBertForSequenceClassification"


class Classifier(Decoder):
    """An encoder that says which label a text has; modules as in Hugging Face's EuroBertForSequenceClassification."""

    def __init__(self, config: DecoderConfig, labels: tuple[str, ...]) -> None:
        # The head over the vocabulary stays tied and unused, so that no weights are written that nothing reads.
        super().__init__(replace(config, tie_word_embeddings=True))
        self.labels = labels
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.classifier = nn.Linear(config.hidden_size, len(labels))

    def scores(self, ids: Tensor, positions: Tensor, attend: Attend, lengths: Tensor) -> Tensor:
        """Logits of the labels, (D, labels), of D texts laid end to end; ids, positions (1, N), lengths (D,)."""
        pooled = mean_by_text(self.hidden(ids, positions, attend)[0], lengths)  # (N, C) -> (D, C)
        logits: Tensor = self.classifier(F.gelu(self.dense(pooled)))  # -> (D, labels)
        return logits

    def described(self) -> dict[str, Any]:
        """Its `config.json`, with the labels by number."""
        return super().described() | {
            "architectures": [ARCHITECTURE],
            "id2label": {str(number): label for number, label in enumerate(self.labels)},
            "label2id": {label: number for number, label in enumerate(self.labels)},
            "classifier_pooling": "mean",
            "problem_type": "single_label_classification",
        }

    @torch.no_grad()
    def initialise_head(self, seed: int) -> Classifier:
        """Draw the head's first weights from a seed; it starts near uniform scores."""
        generator = torch.Generator().manual_seed(seed)
        for layer in (self.dense, self.classifier):
            spread = layer.in_features**-0.5 if layer is self.dense else EMBEDDING_STD
            layer.weight.normal_(0.0, spread, generator=generator)
            layer.bias.zero_()
        return self


def mean_by_text(outputs: Tensor, lengths: Tensor) -> Tensor:
    """The mean of each text's rows, (N, C) -> (D, C); lengths (D,) int64, all above 0."""
    text = torch.repeat_interleave(torch.arange(len(lengths), device=outputs.device), lengths)
    sums = outputs.new_zeros(len(lengths), outputs.shape[1]).index_add(0, text, outputs)
    return sums / lengths[:, None]


def labels_in(given: dict[str, Any], origin: str) -> tuple[str, ...] | None:
    """The labels a `config.json` names; None when it is of no classifier. Raises CallError for another kind of head."""
    if given.get("architectures") != [ARCHITECTURE]:
        return None
    names = given.get("id2label")
    if not isinstance(names, dict) or given.get("classifier_pooling") != "mean":
        raise CallError(f"{origin}: expected id2label and classifier_pooling 'mean'; use a classifier of Didact's")
    return tuple(str(names[key]) for key in sorted(names, key=int))
