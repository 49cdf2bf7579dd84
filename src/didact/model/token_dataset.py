"""Token shards as a data set of PyTorch, for training loops of others."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from didact.render.token_shards import TokenShards

IGNORED = -100
"""The label that cross-entropy leaves out, as in PyTorch and transformers."""


class TokenDataset(Dataset[dict[str, Tensor]]):
    """The records of one split of a mix, in the order of training.

    Each is `input_ids` (L,) int64; `labels` (L,) int64, the same ids where they carry loss and -100 elsewhere, not
    shifted, as transformers' models take them; `loss_weights` (L,) float32, of each id as a target. A record of a mix
    of preferences is two documents, the chosen one first. The arrays are mapped, not loaded; a worker of a DataLoader
    gets the folder's name and maps them itself.

    folder: what `didact tokenize` prints. context: records keep at most so many of their first ids; `cut` counts those
    that lose some. Raises StoreError when the folder is incomplete or damaged, UnknownName for mix or split.
    """

    def __init__(self, folder: str | Path, mix: str, split: str = "train", context: int | None = None) -> None:
        self.folder, self.mix, self.split, self.context = Path(folder), mix, split, context
        self._count = len(self.shards)

    @cached_property
    def shards(self) -> TokenShards:
        """The mapped arrays."""
        return TokenShards.open(self.folder, self.mix, self.split)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "shards"}

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        if not -self._count <= index < self._count:
            raise IndexError(f"record {index} of {self._count}")
        place = index % self._count
        start, stop = self.shards.bounds[place : place + 2].tolist()
        ids = torch.from_numpy(self.shards.ids[start:stop][: self.context].astype(np.int64))
        weights = torch.from_numpy(self.shards.record_weights(place)[: self.context].astype(np.float32))
        return {"input_ids": ids, "labels": torch.where(weights > 0, ids, IGNORED), "loss_weights": weights}

    @property
    def cut(self) -> int:
        """Records longer than the context."""
        return 0 if self.context is None else int((self.shards.lengths > self.context).sum())

    def record_id(self, index: int) -> str:
        """Id of a record, as `didact explain` takes it."""
        return str(self.shards.record_ids[index].tobytes().hex())

    @staticmethod
    def collate(records: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Records as a batch (B, longest), padded on the right: ids 0, labels -100, weights 0; `attention_mask` is 0
        there.
        """
        fill = {"input_ids": 0, "labels": IGNORED, "loss_weights": 0}
        batch = {
            name: torch.nn.utils.rnn.pad_sequence([one[name] for one in records], batch_first=True, padding_value=value)
            for name, value in fill.items()
        }
        lengths = torch.tensor([len(one["input_ids"]) for one in records])
        longest = batch["input_ids"].shape[1]
        return batch | {"attention_mask": (torch.arange(longest) < lengths[:, None]).long()}
