"""Bits per byte: a loss that does not depend on the vocabulary."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray


def target_bytes(targets: NDArray[Any], weights: NDArray[Any], token_bytes: NDArray[np.int32]) -> int:
    """Bytes of text behind the trained targets.

    targets, weights: same shape; a target counts where its weight is above 0. token_bytes: from
    `Tokenizer.token_bytes`, so reserved ids count nothing.
    """
    return int(token_bytes[np.asarray(targets)[np.asarray(weights) > 0]].sum(dtype=np.int64))


def bits_per_byte(loss_sum: float, byte_count: int) -> float:
    """Bits the model needs for a byte of text.

    loss_sum: summed loss in nats over the same targets, ends of turns and texts included: to say where a text stops is
    part of saying it. Not a number when there is no byte.

    >>> bits_per_byte(8 * math.log(2), 4)
    2.0
    """
    return loss_sum / math.log(2) / byte_count if byte_count else math.nan
