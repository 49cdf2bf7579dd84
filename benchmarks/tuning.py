"""Fine-tuning a 14 M Llama on instructions: Didact's `finetune` and TRL's `SFTTrainer`, fp32 on the CPU.

Both start from the same checkpoint and take the same token ids with loss on the same ids, the same optimiser (fused
AdamW), clipping, and about the same number of tokens a step, without gradient checkpointing. Counted are trained
tokens, from the end of the first step to the end of the last, so that nobody pays for starting; starting is measured
apart.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.material import Row, write_jsonl
from benchmarks.rounds import Comparison, Stretch, compare
from didact.model.checkpoint import save_checkpoint
from didact.model.config import derive_config
from didact.model.finetune import finetune
from didact.model.transformer import Decoder
from didact.recipe.tokenizing import TokenizerSettings
from didact.recipe.training import FinetuneSettings, ModelSettings
from didact.render.renderer import render_batch
from didact.render.tokenizer import Tokenizer, train_tokenizer

RECORDS = 5000
CONTEXT = 512
_SHAPE = {"depth": 6, "width": 384, "heads": 6, "ffn": 1024, "context": CONTEXT, "qk_norm": False}
_VOCABULARY = 8192
_STEP_RECORDS = 32
"""Records a step where they are padded; packed they fill five rows of 512, so a step has as many tokens."""
_STEP_ROWS = 5
_STEPS = 3
_RATE = 1e-3


@dataclass
class _Shards:
    """Token shards in memory."""

    ids: NDArray[np.uint32]
    weights: NDArray[np.uint8]
    bounds: NDArray[np.int64]


@dataclass
class _Marks:
    """When each step ended, by wall clock and by the process's CPU time, and its trained tokens."""

    ends: list[tuple[float, float]] = field(default_factory=list)
    trained: list[int] = field(default_factory=list)

    def end(self) -> None:
        """A step ends now."""
        self.ends.append((time.perf_counter(), time.process_time()))

    def stretch(self) -> Stretch:
        """What was trained after the first step."""
        (wall, cpu), (last_wall, last_cpu) = self.ends[0], self.ends[-1]
        return Stretch(sum(self.trained[1:]), last_wall - wall, last_cpu - cpu)


class _Records:
    """Tokenised records; each call of `next` gives the following ones, from the start again at the end."""

    def __init__(self, rows: list[Row], made: Tokenizer) -> None:
        dialogues = [
            [
                {"role": "user", "content": "\n\n".join(filter(None, (row["instruction"], row["input"])))},
                {"role": "assistant", "content": row["output"]},
            ]
            for row in rows
        ]
        rendered = render_batch(dialogues, made)
        short = np.flatnonzero(np.diff(rendered.bounds) <= CONTEXT)
        self.items = [rendered.record(int(at)) for at in short]
        self.lengths = np.array([len(item.ids) for item in self.items])
        self.trained = np.array([int((item.weights > 0).sum()) for item in self.items])

    def part(self, turn: int) -> list[Any]:
        """The records of a round."""
        count = _STEP_RECORDS * _STEPS
        return [self.items[at % len(self.items)] for at in range(turn * count, (turn + 1) * count)]


def run(rows: list[Row], rounds: int) -> list[Comparison]:
    """Trained tokens a second beside TRL's, beside TRL as it comes, and the time from start to first step."""
    torch.manual_seed(0)
    rows = rows[:RECORDS]
    texts = [text for row in rows for text in (row["instruction"], row["input"], row["output"]) if text]
    made = train_tokenizer(texts, TokenizerSettings(vocab_size=_VOCABULARY, sample_bytes=2_000_000))
    records = _Records(rows, made)
    with tempfile.TemporaryDirectory() as folder:
        start = _checkpoint(Path(folder), made)
        own = partial(_didact, start, made, records, Path(folder))
        contenders = {"didact finetune": own()} | _trl_ways(start, records)
        found = compare("Fine-tuning", "trained tokens", contenders, rounds, processor_time=True)
        found.notes += _notes(records)
        return [found, *_as_it_comes(own, start, records), _first_step(rows, Path(folder), rounds)]


def _notes(records: _Records) -> list[str]:
    packages = ", ".join(f"{name} {version(name)}" for name in ("trl", "transformers", "accelerate", "torch"))
    return [
        f"{packages}; {torch.get_num_threads()} threads, fp32, completion-only loss, no gradient checkpointing",
        f"records of {np.median(records.lengths):.0f} tokens ({records.lengths.max()} at most), "
        f"{records.trained.sum() / records.lengths.sum():.0%} trained; {_STEP_RECORDS} records or {_STEP_ROWS} rows of "
        f"{CONTEXT} a step, {_STEPS} steps a round",
    ]


def _checkpoint(folder: Path, made: Tokenizer) -> Path:
    config = derive_config(ModelSettings.model_validate(_SHAPE), made.vocab_size, made.bos_id, made.end_id, made.pad_id)
    model = Decoder(config).initialise(0)
    return save_checkpoint(folder / "start", 0, model, {"tokenizer": made.digest}, save_tokenizer=made.save)


def _didact(start: Path, made: Tokenizer, records: _Records, folder: Path) -> Callable[[], Stretch]:
    turns = itertools.count()
    settings = FinetuneSettings(
        epochs=1, batch_tokens=_STEP_ROWS * CONTEXT, learning_rate=_RATE, log_every=1, warmup=0.0, decay=0.0
    )

    def train() -> Stretch:
        turn = next(turns)
        shards = _shards(records.part(turn))
        marks = _Marks()
        target = Path(tempfile.mkdtemp(dir=folder))
        finetune(settings, start, shards, None, made, target, 0, lambda progress: marks.end())
        marks.trained = _trained_by_step(shards, settings)
        return marks.stretch()

    return train


def _shards(items: list[Any]) -> _Shards:
    bounds = np.cumsum([0, *(len(item.ids) for item in items)]).astype(np.int64)
    ids = np.concatenate([item.ids for item in items]).astype(np.uint32)
    return _Shards(ids, np.concatenate([item.weights > 0 for item in items]).astype(np.uint8), bounds)


def _trained_by_step(shards: _Shards, settings: FinetuneSettings) -> list[int]:
    from didact.model.batches import BatchPlan

    plan = BatchPlan(shards, CONTEXT, settings.batch_tokens, settings.batch_tokens, "drop", 0)
    return [int(sum(batch.weight for batch in plan.step(step))) for step in range(plan.steps_per_epoch)]


def _trl_ways(start: Path, records: _Records) -> dict[str, Callable[[], Stretch]]:
    """Padded as records come, padded in groups of like length, and both kinds of packing."""
    padded = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": _STEP_RECORDS // 8}
    grouped = padded | {"train_sampling_strategy": "group_by_length"}
    isolated = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": _STEP_ROWS, "packing": True}
    wrapped = {"per_device_train_batch_size": _STEP_ROWS, "packing": True, "packing_strategy": "wrapped"}
    ways: dict[str, dict[str, Any]] = {
        "TRL, padded": padded,
        "TRL, padded, grouped by length": grouped,
        "TRL, packed (bfd: documents masked)": isolated,
        "TRL, packed (wrapped: documents see each other)": wrapped,
    }
    return {name: _trl(start, records, **way) for name, way in ways.items()}


def _trl(start: Path, records: _Records, as_it_comes: bool = False, **changes: Any) -> Callable[[], Stretch]:
    turns = itertools.count()
    own = {} if as_it_comes else {"bf16": False, "gradient_checkpointing": False, "optim": "adamw_torch_fused"}
    same = {"max_length": CONTEXT, "learning_rate": _RATE, "adam_beta2": 0.95, "weight_decay": 0.1}
    quiet = {"save_strategy": "no", "report_to": "none", "disable_tqdm": True, "use_cpu": True, "logging_steps": 1}
    once = {"num_train_epochs": 1}

    def train() -> Stretch:
        from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
        from trl import SFTConfig, SFTTrainer

        marks = _Marks()

        class Ends(TrainerCallback):  # type: ignore[misc]
            def on_step_begin(self, *args: Any, **rest: Any) -> None:
                marks.trained.append(0)

            def on_step_end(self, *args: Any, **rest: Any) -> None:
                marks.end()

        with tempfile.TemporaryDirectory() as folder:
            config = SFTConfig(output_dir=folder, completion_only_loss=True, **same, **quiet, **once, **own, **changes)
            trainer = SFTTrainer(
                model=AutoModelForCausalLM.from_pretrained(start, dtype=torch.float32),
                args=config,
                train_dataset=_data_set(records.part(next(turns))),
                processing_class=AutoTokenizer.from_pretrained(start),
                callbacks=[Ends()],
            )
            _count_targets(trainer, marks)
            trainer.train()
        return marks.stretch()

    return train


def _data_set(items: list[Any]) -> Any:
    from datasets import Dataset

    columns = {
        "input_ids": [item.ids.tolist() for item in items],
        "completion_mask": [(item.weights > 0).astype(int).tolist() for item in items],
    }
    return Dataset.from_dict(columns)


def _count_targets(trainer: Any, marks: _Marks) -> None:
    """Let the trainer tell how many labels each step has; the label of a place is the target of the place before."""
    step = trainer.training_step

    def counted(model: Any, inputs: dict[str, Any], *args: Any, **rest: Any) -> Any:
        marks.trained[-1] += int((inputs["labels"][:, 1:] != -100).sum())
        return step(model, inputs, *args, **rest)

    trainer.training_step = counted


def _as_it_comes(own: Callable[[], Callable[[], Stretch]], start: Path, records: _Records) -> list[Comparison]:
    """TRL's defaults (bf16, gradient checkpointing, eight records a step), where the processor can do bf16 at all."""
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return []
    contenders = {"didact finetune": own(), "TRL's own defaults": _trl(start, records, as_it_comes=True)}
    found = compare("Fine-tuning, TRL as it comes", "trained tokens", contenders, 1)
    found.notes.append("TRL: bf16, gradient checkpointing, 8 records a step; Didact: fp32 as above")
    return [found]


def _first_step(rows: list[Row], folder: Path, rounds: int) -> Comparison:
    """From calling `didact finetune` on a version that is built to the end of its first step."""
    recipe = {
        "name": "start",
        "store": str(folder / "store"),
        "sources": {"rows": {"path": str(write_jsonl(rows, folder / "rows.jsonl")), "format": "alpaca"}},
        "dedup": {"exact": False, "minhash": None},
        "tokenizer": {"vocab_size": _VOCABULARY},
        "model": _SHAPE,
        "finetune": {"epochs": 1, "batch_tokens": _STEP_ROWS * CONTEXT, "log_every": 1},
    }
    path = folder / "recipe.yaml"
    path.write_text(json.dumps(recipe), encoding="utf-8")
    _seconds_to_first_step(path, folder / "store")  # builds the version and its token shards
    seconds = [_seconds_to_first_step(path, folder / "store") for _ in range(min(3, rounds))]
    return Comparison(
        "Starting, from the call on a built version to the end of the first step", "thousandths of a start",
        {"didact finetune": [1000 / each for each in seconds]},
        notes=[f"seconds: {', '.join(f'{each:.1f}' for each in seconds)}"],
    )  # fmt: skip


def _seconds_to_first_step(recipe: Path, store: Path) -> float:
    runs = store / "runs"
    known = set(runs.rglob("metrics.jsonl")) if runs.is_dir() else set()
    for path in known:
        path.unlink()
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "didact", "finetune", str(recipe)], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    while process.poll() is None and not any(b'"step"' in path.read_bytes() for path in runs.rglob("metrics.jsonl")):
        time.sleep(0.05)
    seconds = time.perf_counter() - started
    if process.poll() not in (None, 0):
        raise SystemExit(f"didact finetune {recipe} failed")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    return seconds
