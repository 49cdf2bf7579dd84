"""Checkpoints: each is a Hugging Face model directory that also holds what training needs to go on exactly.

    step-120/  config.json  generation_config.json  model.safetensors  tokenizer files
               optim/{state-0-of-1.safetensors,...,index.json}  state.json
    best, last      one line each: the name of a step folder beside them

A folder gets its name only when it is whole, and a pointer names a folder only when that is there.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from didact.durable import (
    atomic_dir,
    read_json,
    remove_asides,
    sha256_file,
    store_errors,
    sync_file,
    write_atomic,
    write_json,
)
from didact.errors import CallError, CheckpointError, InputMissing, StoreError
from didact.model.classifier import Classifier, labels_in
from didact.model.config import Adapted, DecoderConfig, from_hugging_face
from didact.model.lora import adapt, adapter_tensors, from_peft, load_adapters, merge, to_peft
from didact.model.sharding import fill
from didact.model.transformer import Decoder

_BEST_PHASES = ("preference", "finetune", "pretrain", "classifier", "encoder")
"""Phases of a run, that whose best checkpoint stands for it first."""

_STEP = re.compile(r"step-(\d+)")
_OS_ERROR = re.compile(r"\(os error (\d+)\)")
_OPTIM = "optim"
_ADAPTERS, _ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"


class Vocabulary(Protocol):
    """What a checkpoint asks of a tokenizer."""

    @property
    def vocab_size(self) -> int:
        """Number of token ids, unused ones included."""

    @property
    def digest(self) -> str:
        """Identity of its content."""


def save_checkpoint(
    folder: Path,
    step: int,
    model: Decoder,
    state: dict[str, Any],
    optimizer: dict[str, Tensor] | None = None,
    save_tokenizer: Callable[[Path], None] | None = None,
    parts: Sequence[Path] = (),
) -> Path:
    """Write `folder/step-N`, whole or not at all; returns its path.

    `state` must be JSON. parts: files that the processes wrote with `write_part`, in the order of their ranks, in place
    of `optimizer`. Raises CheckpointError beforehand when the disk has no room for it; older checkpoints stay then.
    """
    path = folder / f"step-{step}"
    check_room(folder, model, optimizer or {})
    with atomic_dir(path) as aside:
        write_model(aside, model)
        if save_tokenizer is not None:
            save_tokenizer(aside)
        if optimizer is not None:
            (aside / _OPTIM).mkdir()
            parts = [write_part(aside / _OPTIM, 0, 1, optimizer)]
        if parts:
            _write_index(aside / _OPTIM, parts)
        write_json(aside / "state.json", state)
    return path


def check_room(folder: Path, model: Decoder, optimizer: dict[str, Tensor]) -> None:
    """Half as much again as the tensors need, since a tokenizer and the file system want some too."""
    with store_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    needed = sum(t.numel() * t.element_size() for t in [*_written(model), *optimizer.values()]) * 3 // 2
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise CheckpointError(
            f"{folder}: a checkpoint needs {needed / 1e6:.0f} MB and {free / 1e6:.0f} MB are free; make room "
            "and run again"
        )


def _written(model: Decoder) -> list[Tensor]:
    return list(model.parameters() if model.adapted is None else adapter_tensors(model).values())


def write_model(folder: Path, model: Decoder) -> None:
    """Write the model's three files, which transformers opens as they are; weights in fp32.

    Of a decoder with adapters only those are written, as PEFT does, with a reference to their base.
    """
    config = model.described()
    write_json(folder / "config.json", config)
    ids = {key: config[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id") if config[key] is not None}
    if not model.config.bidirectional:
        write_json(folder / "generation_config.json", {"_from_model_config": True, **ids})
    if model.adapted is not None:
        _write_adapters(folder, model, model.adapted)
        return
    tied = model.config.tie_word_embeddings
    tensors = {
        name: t.detach().cpu().contiguous()
        for name, t in model.state_dict().items()
        if not (tied and name == "lm_head.weight")
    }
    save_tensors(tensors, folder / "model.safetensors", {"format": "pt"})


def save_tensors(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file. Raises OSError when the disk refuses: the library has an error of its own for it."""
    try:
        save_file(tensors, path, metadata=metadata)
    except SafetensorError as error:
        number = _OS_ERROR.search(str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error


def _write_adapters(folder: Path, model: Decoder, adapted: Adapted) -> None:
    """The base is named relative to the folder, so that a store can move as a whole."""
    base = os.path.relpath(adapted.base, folder.resolve())
    write_json(folder / _ADAPTER_CONFIG, to_peft(adapted, base))
    tensors = {name: t.cpu().contiguous() for name, t in adapter_tensors(model).items()}
    save_tensors(tensors, folder / _ADAPTERS, {"format": "pt"})


def write_part(folder: Path, rank: int, size: int, tensors: dict[str, Tensor]) -> Path:
    """Write what one of `size` processes holds of the optimiser's state: its rows of each tensor; returns the file."""
    path = folder / f"state-{rank}-of-{size}.safetensors"
    with store_errors(path):
        folder.mkdir(parents=True, exist_ok=True)
        save_tensors({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, path)
        sync_file(path)
    return path


def _write_index(folder: Path, parts: Sequence[Path]) -> None:
    """Bring the processes' files together and list the shape of what each holds of each tensor."""
    folder.mkdir(exist_ok=True)
    files = {}
    for part in parts:
        place = folder / part.name
        part.replace(place)
        with safe_open(place, "pt") as opened:
            files[place.name] = _shapes(opened)
    write_json(folder / "index.json", {"files": files})


def load_model(path: Path, device: torch.device | None = None) -> Decoder:
    """The model of a checkpoint, ours or a Llama- or Qwen3-type directory of others, in fp32; adapters are merged.

    Raises InputMissing when there is no such folder, CallError for another kind of model, CheckpointError for damage.
    """
    if not (path / "config.json").is_file():
        raise InputMissing(
            path / "config.json", "model configuration", "a checkpoint is a folder such as RUN/finetune/step-120"
        )
    given, origin = read_json(path / "config.json"), str(path / "config.json")
    config, labels = from_hugging_face(given, origin), labels_in(given, origin)
    if (path / _ADAPTER_CONFIG).is_file():
        model = _load_adapted(path, config)
        return model.to(device) if device is not None else model
    with torch.device("meta"):  # sizes without memory: the weights come from the file
        model = Decoder(config) if labels is None else Classifier(config, labels)
    tensors = _read_weights(path)
    if model.config.tie_word_embeddings:
        tensors["lm_head.weight"] = tensors.get("model.embed_tokens.weight", torch.empty(0))
    _check_names(path, model, tensors)
    model.load_state_dict(tensors, assign=True)
    if model.config.tie_word_embeddings:
        model.lm_head.weight = model.model.embed_tokens.weight
    return model.to(device) if device is not None else model


def is_classifier(path: Path) -> bool:
    """Whether a model folder holds a classifier."""
    config = path / "config.json"
    return config.is_file() and labels_in(read_json(config), str(config)) is not None


def load_decoder(path: Path, device: torch.device | None = None) -> Decoder:
    """As `load_model`, for what continues text. Raises CallError for an encoder too."""
    model = load_model(path, device)
    if model.config.bidirectional:
        kind = "a classifier" if isinstance(model, Classifier) else "an encoder"
        raise CallError(
            f"{path}: is {kind}, which reads text and writes none; `didact embed` makes vectors with it, and `didact "
            "evaluate` measures a classifier"
        )
    return model


def _load_adapted(path: Path, config: DecoderConfig) -> Decoder:
    """A base and the adapters on it as one plain model. Raises CheckpointError when the base has changed."""
    settings, reference = from_peft(read_json(path / _ADAPTER_CONFIG), str(path / _ADAPTER_CONFIG))
    base = path / reference  # an absolute reference stays as it is
    origin = read_state(path).get("origin") if (path / "state.json").is_file() else None
    if origin is not None and base.is_dir() and weights_digest(base) != origin:
        raise CheckpointError(f"{path}: its base {base} holds other weights than it was trained on; restore them")
    model = adapt(widen_vocabulary(load_model(base), config.vocab_size), settings, 0, str(base))
    load_adapters(model, _read_tensors(path / _ADAPTERS), str(path))
    return merge(model)


def restore(model: Decoder, path: Path) -> None:
    """Put a checkpoint's weights into the model that wrote it: all of them, or those of its adapters."""
    if model.adapted is not None:
        load_adapters(model, _read_tensors(path / _ADAPTERS), str(path))
    else:
        fill(model, load_model(path).state_dict())


def weights_digest(path: Path) -> str:
    """Identity of a model folder's weights."""
    return " ".join(sha256_file(file) for file in sorted(path.glob("*.safetensors")))


def _read_weights(path: Path) -> dict[str, Tensor]:
    index = path / "model.safetensors.index.json"
    names = sorted(set(read_json(index)["weight_map"].values())) if index.is_file() else ["model.safetensors"]
    return {name: tensor.float() for file in names for name, tensor in _read_tensors(path / Path(file).name).items()}


def _read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file, a format that can hold nothing but tensors."""
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}); use another checkpoint") from error
    return tensors


def _check_names(path: Path, model: Decoder, tensors: dict[str, Tensor]) -> None:
    expected = {name: tuple(t.shape) for name, t in model.state_dict().items()}
    found = {name: tuple(t.shape) for name, t in tensors.items()}
    odd = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    if odd:
        raise CheckpointError(
            f"{path}: {len(odd)} tensors do not fit config.json, for example {odd[0]}: expected "
            f"{expected.get(odd[0])}, found {found.get(odd[0])}"
        )


def load_optimizer(
    path: Path, take: Callable[[str, Tensor], Tensor] = lambda name, tensor: tensor
) -> dict[str, Tensor]:
    """The optimiser's tensors by name, each put together from the rows of the processes that wrote it.

    take: what to keep of a whole tensor, so that no process needs to hold all of them. Raises CheckpointError when they
    are incomplete.
    """
    folder = path / _OPTIM
    listed: dict[str, dict[str, list[int]]] = read_json(folder / "index.json")["files"]
    try:
        with ExitStack() as stack:
            files = {name: stack.enter_context(safe_open(folder / name, "pt")) for name in listed}
            if {name: _shapes(held) for name, held in files.items()} != listed:
                raise CheckpointError(f"{folder}: does not hold what index.json lists; use an older checkpoint")
            names = dict.fromkeys(name for held in listed.values() for name in held)
            return {name: take(name, _joined([held.get_tensor(name) for held in files.values()])) for name in names}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{folder}: cannot be read ({error}); use another checkpoint") from error


def _shapes(held: Any) -> dict[str, list[int]]:
    """Shape of each tensor in an open safetensors file."""
    return {name: held.get_slice(name).get_shape() for name in sorted(held.keys())}


def _joined(parts: list[Tensor]) -> Tensor:
    """Rows of all processes in order; what has no rows is the same in each."""
    return torch.cat(parts) if parts[0].dim() and len(parts) > 1 else parts[0]


def point(folder: Path, name: str, target: Path) -> None:
    """Let a pointer file (`best`, `last`) name a step folder beside it, in one step."""
    write_atomic(folder / name, (target.name + "\n").encode())


def follow(folder: Path, name: str) -> Path | None:
    """The step folder that a pointer file names; None without a pointer. Raises CheckpointError for a wrong one."""
    pointer = folder / name
    if not pointer.is_file():
        return None
    target = pointer.read_text().strip()
    if not _STEP.fullmatch(target) or not (folder / target / "state.json").is_file():
        raise CheckpointError(
            f"{pointer}: names '{target[:40]}', which is not a checkpoint beside it; delete the pointer or "
            "choose a step"
        )
    return folder / target


def resolve(path: Path) -> Path:
    """The checkpoint meant by a path: itself, what a pointer file names, or the best of a phase or a run."""
    if path.is_file() and path.name in ("best", "last"):
        return follow(path.parent, path.name) or path
    for folder in (path, *(path / phase for phase in _BEST_PHASES)):
        if (folder / "config.json").is_file():
            return folder
        best = follow(folder, "best") or follow(folder, "last")
        if best is not None:
            return best
    raise InputMissing(path, "checkpoint", "give a folder with a config.json, or a run")


def steps(folder: Path) -> list[int]:
    """Steps of the complete checkpoints in a folder, oldest first."""
    found = (_STEP.fullmatch(path.name) for path in folder.glob("step-*"))
    return sorted(int(match[1]) for match in found if match)


def prune(folder: Path, keep_last: int) -> None:
    """Delete checkpoints other than the newest `keep_last` and those that `best` and `last` name."""
    named = {target.name for target in (follow(folder, "best"), follow(folder, "last")) if target is not None}
    for step in steps(folder)[:-keep_last]:
        if f"step-{step}" not in named:
            shutil.rmtree(folder / f"step-{step}")


def newest(folder: Path, *, tidy: bool = True) -> Path | None:
    """The checkpoint to go on from, or None; with `tidy`, leftovers of a killed run are removed.

    That is the newest complete one: a run killed between writing a checkpoint and its pointer loses nothing.
    """
    if not folder.is_dir():
        return None
    if tidy:
        remove_asides(folder)
    found = steps(folder)
    return folder / f"step-{found[-1]}" if found else None


def read_state(path: Path) -> dict[str, Any]:
    """What `state.json` of a checkpoint says. Raises CheckpointError when it cannot be read."""
    try:
        state: dict[str, Any] = read_json(path / "state.json")
    except StoreError as error:
        raise CheckpointError(str(error)) from error
    return state


def check_vocabulary(config: DecoderConfig, tokenizer: Vocabulary, where: Path) -> None:
    """Refuse a tokenizer whose ids the model has no rows for, or that is not the one a checkpoint was trained with.

    Models of others may have more rows than their tokenizer has tokens; ours say which tokenizer they saw.
    """
    trained = read_state(where).get("tokenizer") if (where / "state.json").is_file() else None
    if trained is not None and trained != tokenizer.digest:
        raise CallError(f"{where}: was trained with another tokenizer; use the one in its folder")
    if tokenizer.vocab_size > config.vocab_size:
        raise CallError(
            f"{where}: the model has {config.vocab_size} token rows and the tokenizer {tokenizer.vocab_size}; use the "
            "tokenizer it was trained with"
        )


@torch.no_grad()
def widen_vocabulary(model: Decoder, rows: int) -> Decoder:
    """The same model with at least `rows` token rows; a new token starts as the mean of all, so that none stands out.

    Needed when a template brings reserved tokens that a model of others never saw. The model itself where it has them.
    """
    if model.config.vocab_size >= rows:
        return model
    wide = Decoder(replace(model.config, vocab_size=rows)).to(model.lm_head.weight.device)
    tensors = model.state_dict()
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        known = tensors[name]
        tensors[name] = torch.cat([known, known.mean(0, keepdim=True).expand(rows - len(known), -1)])
    wide.load_state_dict(tensors)
    return wide
