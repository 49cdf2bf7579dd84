"""A checkpoint as a folder that others open: merged weights in the asked precision, tokenizer, template, model card."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from didact.durable import atomic_dir, read_json, write_json
from didact.errors import CallError
from didact.model.checkpoint import check_vocabulary, load_model, read_state, resolve, save_tensors
from didact.model.gguf_file import write_gguf
from didact.model.model_card import model_card
from didact.model.transformer import Decoder
from didact.render.tokenizer import Tokenizer
from didact.store.layout import TRAINED_ON, Store
from didact.store.manifest import Manifest

Precision = Literal["fp32", "bf16", "fp16"]
TORCH_TYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Origin:
    """What is known of where a checkpoint comes from: its state, its version's manifest, its phase's evaluation."""

    state: dict[str, Any]
    manifest: Manifest | None
    evaluation: dict[str, Any]


def export_model(checkpoint: Path, folder: Path, precision: Precision = "fp32", gguf: Path | None = None) -> Path:
    """Write a checkpoint, or the best one of a phase or run, as a Hugging Face model folder; returns the checkpoint.

    Adapters are merged; training state is left out. The folder appears when it is whole. With `gguf`, one more file for
    llama.cpp is written first. Raises CallError when something is in a place already, or weights leave the range of
    fp16, InputMissing, CheckpointError, StoreError.
    """
    source = resolve(checkpoint)
    for place in (folder, gguf):
        if place is not None and place.exists() and (place.is_file() or any(place.iterdir())):
            raise CallError(f"{place}: is there already; export to another place or delete it")
    model, tokenizer = load_model(source), Tokenizer.load(source)
    check_vocabulary(model.config, tokenizer, source)
    _check_range(model, precision)
    if gguf is not None:
        if model.config.bidirectional:
            raise CallError(f"{source}: is an encoder, and the GGUF file is for decoders; export without --gguf")
        write_gguf(gguf, model, tokenizer, precision)
    with atomic_dir(folder.resolve()) as aside:
        _write_weights(aside, model, tokenizer, precision)
        tokenizer.save(aside)
        (aside / "chat_template.jinja").write_text(tokenizer.template.jinja(), encoding="utf-8")
        found = origin_of(source)
        card = model_card(model, tokenizer, precision, found.state, found.manifest, found.evaluation)
        (aside / "README.md").write_text(card, encoding="utf-8")
    return source


def _check_range(model: Decoder, precision: Precision) -> None:
    largest = max(float(p.detach().abs().max()) for p in model.parameters())
    if largest > torch.finfo(TORCH_TYPES[precision]).max:
        raise CallError(f"a weight of {largest:.3g} does not fit {precision}; export as bf16 or fp32")


def _write_weights(folder: Path, model: Decoder, tokenizer: Tokenizer, precision: Precision) -> None:
    dtype = TORCH_TYPES[precision]
    name = str(dtype).removeprefix("torch.")
    special = {
        "bos_token_id": tokenizer.bos_id,
        "eos_token_id": tokenizer.end_id,
        "pad_token_id": tokenizer.pad_id,
    }
    write_json(folder / "config.json", model.described() | special | {"dtype": name, "torch_dtype": name})
    if not model.config.bidirectional:
        ends = sorted({tokenizer.end_id, tokenizer.end_of_text_id})
        write_json(folder / "generation_config.json", special | {"eos_token_id": ends, "do_sample": False})
    tied = model.config.tie_word_embeddings
    tensors = {
        name: t.detach().to(dtype).contiguous()
        for name, t in model.state_dict().items()
        if not (tied and name == "lm_head.weight")
    }
    save_tensors(tensors, folder / "model.safetensors", {"format": "pt"})


def origin_of(source: Path) -> Origin:
    """What the files around a checkpoint tell: its state, and what its run and store hold. Nothing is guessed."""
    state = read_state(source) if (source / "state.json").is_file() else {}
    run = source.resolve().parent.parent
    evaluated = run / f"evaluation-{state.get('phase')}.json"
    evaluation = read_json(evaluated)["evaluation"] if evaluated.is_file() else {}
    return Origin(state, _manifest(run), evaluation)


def _manifest(run: Path) -> Manifest | None:
    """The manifest of the version that a run (STORE/runs/NAME/RUN) was trained on, if both are still there."""
    if not (run / TRAINED_ON).is_file():
        return None
    store = Store(run.parents[2])
    path = store.version(run.parent.name, read_json(run / TRAINED_ON)["version"]).path / "manifest.json"
    return Manifest.model_validate(read_json(path)) if path.is_file() else None
