"""The decoder's shape: derived from the recipe, written to and read from a Hugging Face `config.json`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from didact.errors import CallError
from didact.recipe.training import LoraSettings, ModelSettings

NORM_EPSILON = 1e-6


@dataclass(frozen=True)
class RopeScaling:
    """Llama 3.1's stretching of the rotary angles, by Hugging Face's names (rope type `llama3`).

    Wavelengths longer than `original_max_position_embeddings / low_freq_factor` tokens are stretched by `factor`, those
    shorter than the same over `high_freq_factor` are left alone, and between the two the stretch grows.
    """

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_position_embeddings: int


@dataclass(frozen=True)
class DecoderConfig:
    """Sizes of a decoder, by Hugging Face's names; `qk_norm` tells Qwen3 (true) from Llama (false).

    bidirectional: an encoder, whose tokens see all of their document; `mask_token_id` stands for a hidden token then.
    """

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    max_position_embeddings: int
    bos_token_id: int | None = None
    eos_token_id: int | None = None
    pad_token_id: int | None = None
    rope_theta: float = 10_000.0
    rms_norm_eps: float = NORM_EPSILON
    qk_norm: bool = True
    tie_word_embeddings: bool = True
    rope_scaling: RopeScaling | None = None
    bidirectional: bool = False
    mask_token_id: int | None = None


@dataclass(frozen=True)
class Adapted:
    """What adapters a decoder carries, and the folder of the base they were put on."""

    settings: LoraSettings
    base: str


def _round_up(value: int, step: int) -> int:
    return -(-value // step) * step


def derive_config(
    settings: ModelSettings,
    vocab_size: int,
    bos_id: int | None = None,
    end_id: int | None = None,
    pad_id: int | None = None,
) -> DecoderConfig:
    """Every size of the decoder, those the recipe gives and those its depth implies (see ModelSettings).

    Raises CallError when the heads do not divide the width, or the key heads the heads, or the depth is still to be
    found.
    """
    depth = settings.depth
    if depth == "auto":
        raise CallError("model: depth auto becomes a number by pre-training with a limit in minutes; give a number")
    width = settings.width or max(128, _round_up(48 * depth, 64))
    heads = settings.heads or max(1, width // (32 if width <= 256 else 64))
    kv_heads = settings.kv_heads or heads
    if width % heads or (width // heads) % 2:
        raise CallError(
            f"model: width {width} does not divide into {heads} heads of an even size; change width or heads"
        )
    if heads % kv_heads:
        raise CallError(f"model: {heads} heads are not a multiple of {kv_heads} kv_heads; change one of them")
    return DecoderConfig(
        vocab_size=vocab_size,
        hidden_size=width,
        intermediate_size=settings.ffn or _round_up(-(-8 * width // 3), 64),
        num_hidden_layers=settings.layers or depth,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=width // heads,
        max_position_embeddings=settings.context,
        bos_token_id=bos_id,
        eos_token_id=end_id,
        pad_token_id=pad_id,
        rope_theta=settings.rope_theta,
        qk_norm=settings.qk_norm,
        tie_word_embeddings=settings.tie,
    )


_ARCHITECTURES = {"qwen3": "Qwen3ForCausalLM", "llama": "LlamaForCausalLM", "eurobert": "EuroBertForMaskedLM"}
"""By model type. EuroBERT (arXiv:2503.05500) is transformers' name for Llama's blocks without the causal mask."""


def to_hugging_face(config: DecoderConfig) -> dict[str, Any]:
    """The `config.json` under which transformers builds the same function.

    The rotary base is written in both spellings: older readers know only `rope_theta`, newer ones prefer
    `rope_parameters`, and a reader that finds neither computes other logits without complaint.
    """
    apart = ("qk_norm", "rope_scaling", "bidirectional", *(() if config.bidirectional else ("mask_token_id",)))
    same = {name: getattr(config, name) for name in DecoderConfig.__dataclass_fields__ if name not in apart}
    kind = "eurobert" if config.bidirectional else "qwen3" if config.qk_norm else "llama"
    scaling = {"rope_type": "llama3"} | asdict(config.rope_scaling) if config.rope_scaling else None
    rope = (scaling or {"rope_type": "default"}) | {"rope_theta": config.rope_theta}
    return (
        same
        | {
            "architectures": [_ARCHITECTURES[kind]],
            "model_type": kind,
            "rope_parameters": rope,
            "hidden_act": "silu",
            "attention_bias": False,
            "attention_dropout": 0.0,
            "initializer_range": 0.02,
            "use_cache": not config.bidirectional,
            "dtype": "float32",
            "torch_dtype": "float32",
        }
        | ({} if config.qk_norm else {"mlp_bias": False})
        | ({} if scaling is None else {"rope_scaling": scaling})
    )


def _require(origin: str, given: dict[str, Any], key: str, *allowed: Any) -> None:
    value = given.get(key)
    if value is not None and value not in allowed:
        raise CallError(
            f"{origin}: {key} is {value!r}, and only {' or '.join(map(repr, allowed))} can be loaded; use "
            "another checkpoint"
        )


def _check_supported(given: dict[str, Any], origin: str) -> None:
    """Refuse what this decoder would compute differently, rather than load it wrongly."""
    if given.get("model_type") not in _ARCHITECTURES:
        raise CallError(
            f"{origin}: model_type is {given.get('model_type')!r}, expected 'qwen3' or 'llama' (or 'eurobert', an "
            "encoder); use another checkpoint"
        )
    _require(origin, given, "hidden_act", "silu")
    _require(origin, given, "attention_bias", False)
    _require(origin, given, "mlp_bias", False)
    _require(origin, given, "use_sliding_window", False)
    _require(origin, given, "quantization_config")
    for kind in given.get("layer_types") or ():
        _require(origin, {"layer_types": kind}, "layer_types", "full_attention")
    _require(origin, _rope(given), "rope_type", "default", "llama3")
    _require(origin, _rope(given) | {"partial_rotary_factor": _partial(given)}, "partial_rotary_factor", 1, 1.0)


def _rope(given: dict[str, Any]) -> dict[str, Any]:
    """What is said about rotary positions, in the newer or the older spelling; the newer one counts."""
    spoken = (given.get("rope_scaling") or {}) | (given.get("rope_parameters") or {})
    return spoken | {"rope_type": spoken.get("rope_type", spoken.get("type"))}


def _partial(given: dict[str, Any]) -> Any:
    return _rope(given).get("partial_rotary_factor", given.get("partial_rotary_factor"))


def _rope_scaling(given: dict[str, Any]) -> RopeScaling | None:
    rope = _rope(given)
    if rope["rope_type"] != "llama3":
        return None
    return RopeScaling(**{name: rope[name] for name in RopeScaling.__dataclass_fields__})


def _single_id(value: Any) -> int | None:
    return value[0] if isinstance(value, list) and value else value if isinstance(value, int) else None


def from_hugging_face(given: dict[str, Any], origin: str = "config.json") -> DecoderConfig:
    """The shape of a Llama- or Qwen3-type checkpoint. Raises CallError for a feature this decoder does not have."""
    _check_supported(given, origin)
    try:
        heads = given["num_attention_heads"]
        return DecoderConfig(
            vocab_size=given["vocab_size"],
            hidden_size=given["hidden_size"],
            intermediate_size=given["intermediate_size"],
            num_hidden_layers=given["num_hidden_layers"],
            num_attention_heads=heads,
            num_key_value_heads=given.get("num_key_value_heads") or heads,
            head_dim=given.get("head_dim") or given["hidden_size"] // heads,
            max_position_embeddings=given["max_position_embeddings"],
            bos_token_id=_single_id(given.get("bos_token_id")),
            eos_token_id=_single_id(given.get("eos_token_id")),
            pad_token_id=_single_id(given.get("pad_token_id")),
            rope_theta=float(_rope(given).get("rope_theta") or given.get("rope_theta") or 10_000.0),
            rms_norm_eps=given.get("rms_norm_eps", NORM_EPSILON),
            qk_norm=given["model_type"] == "qwen3",
            tie_word_embeddings=bool(given.get("tie_word_embeddings", False)),
            rope_scaling=_rope_scaling(given),
            bidirectional=given["model_type"] == "eurobert",
            mask_token_id=_single_id(given.get("mask_token_id")),
        )
    except KeyError as error:
        raise CallError(f"{origin}: has no {error}; it does not describe a Llama- or Qwen3-type model") from error
