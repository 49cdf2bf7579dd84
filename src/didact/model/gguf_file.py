"""GGUF: the one file llama.cpp runs, written directly from a decoder and its tokenizer (extra `gguf`).

llama.cpp's own converter knows byte-level vocabularies by a hash of what they do to one text, so it stops at every
vocabulary learned anew. Here the file names the way of cutting text that the tokenizer really has, one of those that
llama.cpp implements, and a tokenizer with another one is refused.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from didact.durable import write_with
from didact.errors import CallError
from didact.model.transformer import Decoder, plain_frequencies, stretched
from didact.render.pretokens import PATTERN
from didact.render.tokenizer import Tokenizer

if TYPE_CHECKING:
    from gguf import GGUFWriter

_BLOCK_NAMES = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm", "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}  # fmt: skip
_OTHER_NAMES = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
_SHORT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_CUTS = {
    PATTERN: "qwen2",
    rf"{_SHORT}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}|{_REST}": "qwen2",
    rf"{_SHORT}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{_REST}": "llama-bpe",
}
"""Patterns of Qwen2 and Llama 3 tokenizers, and ours, under llama.cpp's names for how it cuts text."""
_GENERATION = re.compile(r"\{%-?\s*(?:end)?generation\s*-?%\}")
NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5


def write_gguf(path: Path, model: Decoder, tokenizer: Tokenizer, precision: str) -> None:
    """Write a decoder for llama.cpp, whole or not at all; norms stay in fp32.

    Raises CallError without the package `gguf`, and for a tokenizer or rotary scaling that llama.cpp does not have.
    """
    if model.config.qk_norm and model.config.rope_scaling is not None:
        raise CallError("llama.cpp has no rotary scaling for models of the Qwen3 type; use the exported folder instead")
    try:
        import gguf
    except ImportError as error:
        raise CallError("GGUF files need the package gguf; install didact[gguf]") from error
    cut = cut_name(tokenizer.description)

    def write(aside: Path) -> None:
        writer = gguf.GGUFWriter(aside, "qwen3" if model.config.qk_norm else "llama")
        _add_shape(writer, model, precision)
        _add_vocabulary(writer, model.config.vocab_size, tokenizer, cut)
        for name, tensor in gguf_tensors(model).items():
            kind = _tensor_type(tensor, precision)
            values = tensor.numpy()
            writer.add_tensor(name, gguf.quantize(values, kind), raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()

    write_with(path, write)


def cut_name(description: dict[str, Any]) -> str:
    """llama.cpp's name for how a tokenizer.json cuts text. Raises CallError when it has none."""
    cut = description.get("pre_tokenizer") or {}
    parts = cut.get("pretokenizers", [cut])
    patterns = [part["pattern"].get("Regex") for part in parts if part.get("type") == "Split"]
    known = _CUTS.get(patterns[0]) if len(patterns) == 1 else None
    if known is None or description["model"].get("type") != "BPE" or parts[-1].get("type") != "ByteLevel":
        raise CallError(
            "this tokenizer cuts text in a way llama.cpp is not known to share, so a GGUF file would give other ids; "
            "use the exported folder instead"
        )
    return known


def gguf_tensors(model: Decoder) -> dict[str, torch.Tensor]:
    """Weights in fp32 under llama.cpp's names; queries and keys of a Llama in the order its rotation expects."""
    found = {}
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and model.config.tie_word_embeddings:
            continue
        value = tensor.detach().float().cpu().contiguous()
        if not model.config.qk_norm and re.search(r"\.[qk]_proj\.", name):
            value = _interleaved(value, model.config.head_dim)
        found[_gguf_name(name)] = value
    if model.config.rope_scaling is not None:
        plain = plain_frequencies(model.config, torch.device("cpu"))
        found["rope_freqs.weight"] = plain / stretched(plain, model.config.rope_scaling)
    return found


def _gguf_name(name: str) -> str:
    module = name.removesuffix(".weight")
    match = re.fullmatch(r"model\.layers\.(\d+)\.(.+)", module)
    return f"blk.{match[1]}.{_BLOCK_NAMES[match[2]]}.weight" if match else f"{_OTHER_NAMES[module]}.weight"


def _interleaved(matrix: torch.Tensor, size: int) -> torch.Tensor:
    """Rows of each head from halves (x_0.., x_{D/2}..) to pairs (x_0, x_{D/2}, x_1, ...); (H * D, C) in and out."""
    heads = matrix.view(-1, 2, size // 2, matrix.shape[1])
    return heads.transpose(1, 2).reshape(matrix.shape).contiguous()


def _tensor_type(tensor: torch.Tensor, precision: str) -> Any:
    from gguf import GGMLQuantizationType as Kind

    return Kind.F32 if tensor.dim() < 2 else {"fp32": Kind.F32, "bf16": Kind.BF16, "fp16": Kind.F16}[precision]


def _add_shape(writer: GGUFWriter, model: Decoder, precision: str) -> None:
    from gguf import LlamaFileType

    types = {"fp32": LlamaFileType.ALL_F32, "bf16": LlamaFileType.MOSTLY_BF16, "fp16": LlamaFileType.MOSTLY_F16}
    config = model.config
    writer.add_file_type(types[precision])
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)


def _add_vocabulary(writer: GGUFWriter, rows: int, tokenizer: Tokenizer, cut: str) -> None:
    """Tokens and merges; the template writes what starts a text, so llama.cpp is told to add nothing."""
    tokens, types = vocabulary(tokenizer, rows)
    merges = tokenizer.description["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(cut)
    writer.add_token_list(tokens)
    writer.add_token_types(types.tolist())
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    writer.add_bos_token_id(tokenizer.bos_id)
    writer.add_eos_token_id(tokenizer.end_id)
    writer.add_eot_token_id(tokenizer.end_id)
    writer.add_pad_token_id(tokenizer.pad_id)
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    writer.add_chat_template(_GENERATION.sub("", tokenizer.template.jinja()))


def vocabulary(tokenizer: Tokenizer, rows: int) -> tuple[list[str], NDArray[np.int32]]:
    """Spelling and type of each of the model's token rows."""
    tokens = [f"<|row_{row}|>" for row in range(rows)]
    types = np.full(rows, UNUSED, dtype=np.int32)
    for token, place in tokenizer.description["model"]["vocab"].items():
        tokens[place], types[place] = token, NORMAL
    for added in tokenizer.description["added_tokens"]:
        unused = added["content"].startswith("<|unused_")
        kind = UNUSED if unused else CONTROL if added["special"] else USER_DEFINED
        tokens[added["id"]], types[added["id"]] = added["content"], kind
    return tokens, types
