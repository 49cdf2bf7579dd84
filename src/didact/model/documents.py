"""Batches for objectives that do not predict the next token: all tokens of a document go in, and none is shifted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from didact.errors import DataError, NoTrainedTokens
from didact.model.batches import Batch, BatchPlan, Pieces, Policy, Shards, cut_each, cut_report


class DocumentPlan(BatchPlan):
    """Steps over whole documents, or over their parts where they are longer than the context."""

    def _targets(
        self, first: NDArray[np.int64], document: NDArray[np.int64], length: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Number of targets of each part, which is `length` tokens of a document from place `first` of the shards."""
        raise NotImplementedError

    def _cut(self, policy: Policy) -> Pieces:
        bounds = np.asarray(self.shards.bounds, np.int64)
        tokens = np.diff(bounds)
        over = tokens > self.context
        if policy == "error" and over.any():
            worst = int(tokens.argmax())
            raise DataError(
                f"document {worst} has {tokens[worst]} tokens and {over.sum()} exceed the context of {self.context}; "
                "raise model.context or set over_long"
            )
        cut = cut_each(self.shards, bounds, tokens, self.context, policy)
        targets = self._targets(bounds[cut[0]] + cut[2], cut[0], cut[3])
        kept = targets > 0
        if not kept.any():
            raise NoTrainedTokens(f"none of {len(tokens)} documents has anything to learn from; look at the mix")
        document, head, start, length = cut[:, kept]
        return Pieces(document, head, start, length, cut_report(self.shards, tokens, over, policy, cut, targets))


def gather_tokens(shards: Shards, entries: NDArray[np.void]) -> Batch:
    """Read the tokens of some plan entries; each is its own target, and none carries weight yet."""
    lengths = entries["length"].astype(np.int64)
    positions = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    first = np.asarray(shards.bounds)[entries["document"]] + entries["start"]
    ids = shards.ids[np.repeat(first, lengths) + positions].astype(np.int64)
    return Batch(
        ids=ids,
        targets=ids,
        weights=np.zeros(len(ids), np.float32),
        positions=positions,
        lengths=lengths,
        documents=entries["document"].astype(np.int64),
    )
