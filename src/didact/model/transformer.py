"""A Qwen3-type decoder: RMSNorm, rotary positions, normalised queries and keys, grouped heads, SwiGLU.

Modules carry the names of Hugging Face's Qwen3ForCausalLM and LlamaForCausalLM, so a state dict is a checkpoint of
theirs as it stands, and the forward arithmetic follows the same order, so fp32 logits are equal bit by bit. Shapes: B
rows, T tokens, C width, H query heads, K key heads, D head size.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from didact.model.attention import Attend, attend_both_ways, attend_causally
from didact.model.config import Adapted, DecoderConfig, RopeScaling, to_hugging_face
from didact.model.products import Linear

EMBEDDING_STD = 0.02
"""Spread of the initial embedding; small enough that a tied head starts near uniform predictions."""


class _Normalise(torch.autograd.Function):
    """x / rms(x) * weight with the backward pass written out: half the elementwise passes autograd would make."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        wide = x.float() if x.dtype == torch.bfloat16 else x
        scale = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + epsilon).to(x.dtype)
        normal = x * scale
        ctx.save_for_backward(normal, scale, weight)
        return weight * normal

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        normal, scale, weight = ctx.saved_tensors
        inner = grad * weight
        along = (inner * normal).mean(-1, keepdim=True)
        to_weight = (grad * normal).flatten(0, -2).sum(0)
        return inner.addcmul_(normal, along, value=-1).mul_(scale), to_weight, None


class RMSNorm(nn.Module):
    """Scale each vector to root mean square 1, then by a learned weight."""

    def __init__(self, size: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last dimension."""
        y: Tensor = _Normalise.apply(x, self.weight, self.epsilon)
        return y


class _Rotate(torch.autograd.Function):
    """Turn each pair (x_i, x_{i + D/2}) by its position's angle; the gradient is turned back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return (x * cos) + (_half_turn(x) * sin)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return (grad * cos).sub_(_half_turn(grad) * sin), None, None


def _half_turn(x: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return torch.cat((-second, first), dim=-1)


def rotate(x: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
    """Turn queries or keys (B, T, H, D) by their positions' angles, so that products depend on distance alone."""
    y: Tensor = _Rotate.apply(x, *angles)
    return y


def rotary_angles(config: DecoderConfig, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine of each position's angles, (B, T, 1, D): the same for every head and layer."""
    frequency = plain_frequencies(config, positions.device)
    if config.rope_scaling is not None:
        frequency = stretched(frequency, config.rope_scaling)
    angle = positions[..., None].float() * frequency  # (B, T) -> (B, T, D / 2)
    angle = torch.cat((angle, angle), dim=-1)[:, :, None]  # -> (B, T, 1, D)
    return angle.cos(), angle.sin()


def plain_frequencies(config: DecoderConfig, device: torch.device) -> Tensor:
    """Angle per token of each pair of a head, without scaling; (D / 2,)."""
    steps = torch.arange(0, config.head_dim, 2, dtype=torch.float32, device=device)
    return 1.0 / (config.rope_theta ** (steps / config.head_dim))


def stretched(frequency: Tensor, scaling: RopeScaling) -> Tensor:
    """Angles per token after Llama 3.1's scaling, in the order of operations its reference takes; (D / 2,)."""
    wavelength = 2 * math.pi / frequency
    longest = scaling.original_max_position_embeddings / scaling.low_freq_factor
    shortest = scaling.original_max_position_embeddings / scaling.high_freq_factor
    slow = torch.where(wavelength > longest, frequency / scaling.factor, frequency)
    kept = (scaling.original_max_position_embeddings / wavelength - scaling.low_freq_factor) / (
        scaling.high_freq_factor - scaling.low_freq_factor
    )
    between = ~(wavelength < shortest) * ~(wavelength > longest)
    return torch.where(between, (1 - kept) * slow / scaling.factor + kept * slow, slow)


class Attention(nn.Module):
    """Queries, keys and values of one layer, and the projection back; `attend` decides who sees whom."""

    def __init__(self, config: DecoderConfig, layer: int) -> None:
        super().__init__()
        self.layer, self.head_dim = layer, config.head_dim
        inner, shared = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
        self.q_proj = Linear(config.hidden_size, inner)
        self.k_proj = Linear(config.hidden_size, shared)
        self.v_proj = Linear(config.hidden_size, shared)
        self.o_proj = Linear(inner, config.hidden_size)
        self.q_norm: nn.Module = RMSNorm(config.head_dim, config.rms_norm_eps) if config.qk_norm else nn.Identity()
        self.k_norm: nn.Module = RMSNorm(config.head_dim, config.rms_norm_eps) if config.qk_norm else nn.Identity()

    def forward(self, x: Tensor, angles: tuple[Tensor, Tensor], attend: Attend, only: Tensor | None) -> Tensor:
        """Mix tokens, (B, T, C) -> (B, T, C); with `only`, the result for those tokens, (B, len(only), C)."""
        heads = (*x.shape[:2], -1, self.head_dim)
        q = self.q_norm(self.q_proj(x).view(heads))  # (B, T, C) -> (B, T, H, D)
        k = self.k_norm(self.k_proj(x).view(heads))  # (B, T, C) -> (B, T, K, D)
        v = self.v_proj(x).view(heads)  # (B, T, C) -> (B, T, K, D)
        q, k = rotate(q, angles), rotate(k, angles)
        y = attend(self.layer, q.to(v.dtype), k.to(v.dtype), v).flatten(2)  # (B, T, H, D) -> (B, T, H * D)
        mixed: Tensor = self.o_proj(y if only is None else y[:, only])
        return mixed


class FeedForward(nn.Module):
    """SwiGLU: down(silu(gate(x)) * up(x))."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.gate_proj = Linear(config.hidden_size, config.intermediate_size)
        self.up_proj = Linear(config.hidden_size, config.intermediate_size)
        self.down_proj = Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """Transform each token by itself, (B, T, C) -> (B, T, C)."""
        y: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return y


class Block(nn.Module):
    """One layer: attention, then feed-forward, each added to the stream it read."""

    def __init__(self, config: DecoderConfig, layer: int) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(config, layer)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = FeedForward(config)

    def forward(self, x: Tensor, angles: tuple[Tensor, Tensor], attend: Attend, only: Tensor | None = None) -> Tensor:
        """(B, T, C) -> (B, T, C), or (B, len(only), C) when only those tokens are asked for."""
        mixed = self.self_attn(self.input_layernorm(x), angles, attend, only)
        x = (x if only is None else x[:, only]) + mixed
        y: Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return y


class Stack(nn.Module):
    """Embedding, blocks and final norm; `model.` in every tensor's name."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Block(config, layer) for layer in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)


class Decoder(nn.Module):
    """The language model: token ids in, logits out. With `config.bidirectional` it is an encoder, whose logits name the
    token at each place instead of the next one.
    """

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.adapted: Adapted | None = None
        """What `lora.adapt` put on it; None for a plain decoder."""
        self.recompute = False
        """Whether blocks are computed again in the backward pass; training sets it."""
        self.model = Stack(config)
        self.lm_head = Linear(config.hidden_size, config.vocab_size)
        if config.tie_word_embeddings:
            self.lm_head.weight = self.model.embed_tokens.weight

    def hidden(
        self, ids: Tensor, positions: Tensor | None = None, attend: Attend | None = None, only: Tensor | None = None
    ) -> Tensor:
        """What the head reads: (B, T) ids -> (B, T, C), or (B, len(only), C).

        `only` lists the token places whose output is wanted: the last block computes no others.
        """
        if positions is None:
            positions = torch.arange(ids.shape[1], device=ids.device)[None]
        if attend is None:
            attend = attend_both_ways if self.config.bidirectional else attend_causally
        angles = rotary_angles(self.config, positions)
        x = self.model.embed_tokens(ids)  # (B, T) -> (B, T, C)
        last = len(self.model.layers) - 1
        again = self.recompute and torch.is_grad_enabled()
        for layer, block in enumerate(self.model.layers):
            given = (x, angles, attend, only if layer == last else None)
            x = checkpoint(block, *given, use_reentrant=False) if again else block(*given)
        y: Tensor = self.model.norm(x)
        return y

    def forward(self, ids: Tensor, positions: Tensor | None = None, attend: Attend | None = None) -> Tensor:
        """Logits of the token after each (in an encoder, at each place), (B, T) -> (B, T, vocabulary)."""
        logits: Tensor = self.lm_head(self.hidden(ids, positions, attend))
        return logits

    def described(self) -> dict[str, Any]:
        """Its `config.json`, under which transformers builds the same function."""
        return to_hugging_face(self.config)

    @torch.no_grad()
    def initialise(self, seed: int) -> Decoder:
        """Draw the first weights from a seed; each block starts as the identity, its two outputs being zero."""
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in self.named_parameters():
            if parameter.dim() < 2:
                parameter.fill_(1.0)
            elif name.endswith(("o_proj.weight", "down_proj.weight")):
                parameter.zero_()
            else:
                spread = EMBEDDING_STD if "proj" not in name else parameter.shape[1] ** -0.5
                parameter.normal_(0.0, spread, generator=generator)
        return self
