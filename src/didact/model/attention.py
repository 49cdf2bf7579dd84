"""Ways a token may look: back over its whole row, over its own document only, over a cache of keys and values, or, in
an encoder, both ways.

Each is a callable `attend(layer, q, k, v) -> y` on (batch, tokens, heads, head size), so that one decoder serves
training on packed documents, plain rows and generation.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from didact.model.config import DecoderConfig

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]


def _scaled_dot_product(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Softmax attention, causal unless a mask is given; (B, T, H, D) in and out."""
    y = F.scaled_dot_product_attention(
        q.transpose(1, 2),  # (B, T, H, D) -> (B, H, T, D)
        k.transpose(1, 2),
        v.transpose(1, 2),
        attn_mask=mask,
        is_causal=mask is None,
        enable_gqa=q.shape[2] != k.shape[2],
    )
    return y.transpose(1, 2)  # (B, H, T, D) -> (B, T, H, D)


def attend_causally(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Every token sees itself and all earlier tokens of its row."""
    return _scaled_dot_product(q, k, v)


def attend_both_ways(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Every token sees all tokens of its row."""
    return _scaled_dot_product(q, k, v, torch.ones(1, 1, 1, k.shape[1], dtype=torch.bool, device=k.device))


class _ToSlots(torch.autograd.Function):
    """Spread tokens (N, ...) over slots (S, ...); slots without a token hold zeros."""

    @staticmethod
    def forward(ctx: Any, tokens: Tensor, slots: Tensor, count: int) -> Tensor:
        ctx.save_for_backward(slots)
        return tokens.new_zeros(count, *tokens.shape[1:]).index_copy_(0, slots, tokens)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return grad.index_select(0, ctx.saved_tensors[0]), None, None


class _FromSlots(torch.autograd.Function):
    """Collect tokens (N, ...) from their slots (S, ...); nothing flows back into slots without a token."""

    @staticmethod
    def forward(ctx: Any, padded: Tensor, slots: Tensor) -> Tensor:
        ctx.save_for_backward(slots)
        ctx.count = padded.shape[0]
        return padded.index_select(0, slots)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        slots = ctx.saved_tensors[0]
        return grad.new_zeros(ctx.count, *grad.shape[1:]).index_copy_(0, slots, grad), None


def _widths(longest: int) -> NDArray[np.int64]:
    """Padded lengths: powers of two and the numbers half-way between, so padding stays below a third of a group."""
    powers = 8 * 2 ** np.arange(max(1, int(longest).bit_length()))
    return np.sort(np.concatenate([powers, powers * 3 // 2]))


class DocumentAttention:
    """Every token sees itself and the earlier tokens of its own document, and nothing else in the batch; with
    `both_ways`, the later ones of its document too.

    The batch is flat: documents of the given `lengths` one after the other, without padding. For attention alone they
    are laid out in groups of similar length, each group a plain causal attention. Beside one masked attention over
    rows of 256 tokens this takes half the time at 30 tokens per document and the same time at 120 (two cores, fp32).
    """

    def __init__(self, lengths: NDArray[np.int64], device: torch.device | None = None, both_ways: bool = False) -> None:
        widths = _widths(int(lengths.max()))
        group = np.searchsorted(widths, lengths)
        order = np.argsort(group, kind="stable")
        counts = np.bincount(group)
        used = np.flatnonzero(counts)
        self.groups: list[tuple[int, int]] = [(int(counts[g]), int(lengths[group == g].max())) for g in used]
        width = np.repeat([w for _, w in self.groups], [n for n, _ in self.groups])
        first = np.empty(len(lengths), np.int64)
        first[order] = np.cumsum(width) - width
        before = np.cumsum(lengths) - lengths
        slots = np.arange(int(lengths.sum())) + np.repeat(first - before, lengths)
        self.slots = torch.from_numpy(slots).to(device)
        self.masks: list[Tensor | None] = [None] * len(self.groups)
        if both_ways:
            # Behind a document's end its group's slots are empty; causal attention never looks there.
            by_group = (lengths[group == g] for g in used)
            self.masks = [
                _filled(inside, width, device) for inside, (_, width) in zip(by_group, self.groups, strict=True)
            ]
        self.count = int(width.sum())

    @torch.compiler.disable
    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend within documents; (1, N, H, D) in and out."""
        sizes = [count * width for count, width in self.groups]
        parts = zip(*(_ToSlots.apply(t[0], self.slots, self.count).split(sizes) for t in (q, k, v)), strict=True)
        outputs = [
            self._group(shape, mask, *part) for shape, mask, part in zip(self.groups, self.masks, parts, strict=True)
        ]
        y: Tensor = _FromSlots.apply(torch.cat(outputs), self.slots)
        return y[None]  # (N, H, D) -> (1, N, H, D)

    @staticmethod
    def _group(shape: tuple[int, int], mask: Tensor | None, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (
            t.view(*shape, *t.shape[1:]) for t in (q, k, v)
        )  # (documents * width, H, D) -> (documents, width, H, D)
        return _scaled_dot_product(q, k, v, mask).flatten(0, 1)


def _filled(lengths: NDArray[np.int64], width: int, device: torch.device | None) -> Tensor:
    """Which slots hold a token, (documents, 1, 1, width)."""
    return torch.from_numpy(np.arange(width) < lengths[:, None]).to(device)[:, None, None]


class VarlenAttention:
    """The same on GPUs by PyTorch's kernel for documents laid end to end: no padding and no groups, in bf16."""

    def __init__(self, lengths: NDArray[np.int64], device: torch.device | None = None, both_ways: bool = False) -> None:
        self.window = (-1, -1 if both_ways else 0)
        bounds = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        self.bounds, self.longest = torch.from_numpy(bounds).to(device), int(lengths.max())

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend within documents; (1, N, H, D) in and out."""
        attended = _varlen_kernel()(
            q[0], k[0], v[0], self.bounds, self.bounds, self.longest, self.longest,
            window_size=self.window, enable_gqa=q.shape[2] != k.shape[2],
        )  # fmt: skip
        y: Tensor = attended[None]  # (N, H, D) -> (1, N, H, D)
        return y


def _varlen_kernel() -> Callable[..., Tensor]:
    from torch.nn.attention.varlen import varlen_attn

    kernel: Any = varlen_attn
    return kernel


def attend_within(lengths: NDArray[np.int64], device: torch.device, both_ways: bool = False) -> Attend:
    """Attention within documents of these lengths, by what suits the device and its arithmetic.

    The GPU kernel knows 16-bit numbers only, and needs PyTorch 2.10 and a GPU of compute capability 8.
    """
    low = device.type == "cuda" and torch.is_autocast_enabled("cuda")
    if low and find_spec("torch.nn.attention.varlen") is not None and torch.cuda.get_device_capability(device)[0] >= 8:
        return VarlenAttention(lengths, device, both_ways)
    return DocumentAttention(lengths, device, both_ways)


class KeyValueCache:
    """Keys and values of the tokens so far, for rows that each have their own length.

    Rows are left-aligned: row b holds `lengths[b]` tokens at the front and free room behind. Use `prefill` once,
    then `step` for each new token; `keep` forgets finished rows.
    """

    def __init__(self, config: DecoderConfig, rows: int, room: int, device: torch.device, dtype: torch.dtype) -> None:
        shape = (config.num_hidden_layers, rows, room, config.num_key_value_heads, config.head_dim)
        self.keys = torch.zeros(shape, device=device, dtype=dtype)
        self.values = torch.zeros(shape, device=device, dtype=dtype)
        self.lengths = torch.zeros(rows, dtype=torch.int64, device=device)
        self._mask: Tensor | None = None

    def prefill(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend causally over right-padded prompts (B, T, H, D) and remember them; later steps overwrite padding."""
        self.keys[layer, :, : k.shape[1]] = k
        self.values[layer, :, : v.shape[1]] = v
        return _scaled_dot_product(q, k, v)

    def begin_step(self) -> None:
        """Make room for one token in every row; call before the decoder's forward pass of a step."""
        longest = int(self.lengths.max()) + 1
        self._mask = (torch.arange(longest, device=self.lengths.device) <= self.lengths[:, None])[
            :, None, None
        ]  # (B, 1, 1, S)

    def step(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Append one token per row, (B, 1, H, D), and attend over all of that row so far."""
        assert self._mask is not None, "begin_step was not called"
        rows = torch.arange(k.shape[0], device=k.device)
        self.keys[layer, rows, self.lengths] = k[:, 0]
        self.values[layer, rows, self.lengths] = v[:, 0]
        longest = self._mask.shape[-1]
        return _scaled_dot_product(q, self.keys[layer, :, :longest], self.values[layer, :, :longest], self._mask)

    def end_step(self) -> None:
        """Count the token that `step` appended in every layer."""
        self.lengths += 1

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows only."""
        self.keys, self.values = self.keys[:, rows], self.values[:, rows]
        self.lengths = self.lengths[rows]
