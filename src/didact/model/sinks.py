"""Where metrics go beside `metrics.jsonl`: TensorBoard event files, Weights & Biases runs kept on this disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from didact.errors import CallError

SinkName = Literal["tensorboard", "wandb"]
_NUMBERS = ("loss", "rate", "gradient_norm", "tokens_per_second", "flops_per_second")


class Sink(Protocol):
    """Takes the numbers of a step."""

    def write(self, step: int, numbers: dict[str, float]) -> None:
        """Record numbers by name."""

    def close(self) -> None:
        """Write what is buffered."""


@dataclass(frozen=True)
class Watch:
    """How a training is watched, which changes nothing about its result.

    peak_flops: what the device can compute per second, or None if unknown.
    on_data: is told a phase's name and what packing made of its data, before the first step.
    """

    sinks: tuple[SinkName, ...] = ()
    peak_flops: float | None = None
    on_data: Callable[[str, Mapping[str, Any]], None] | None = None


WATCHED_BY_NOBODY = Watch()


def numbers_of(line: dict[str, Any]) -> dict[str, float]:
    """The numbers in a line of metrics.jsonl, by name; validation losses apart from those of training."""
    if line["event"] == "step":
        return {name: line[name] for name in _NUMBERS if line.get(name) is not None}
    if line["event"] == "validation":
        by_source = {f"validation_loss/{name}": loss for name, loss in line.get("sources", {}).items()}
        measures = {f"validation/{name}": value for name, value in line.get("measures", {}).items()}
        return {"validation_loss": line["loss"]} | by_source | measures
    return {}


@contextmanager
def opened(names: Sequence[SinkName], folder: Path, phase: str, step: int) -> Iterator[list[Sink]]:
    """Sinks for a phase that goes on after `step`. Raises CallError when a package is missing."""
    with ExitStack() as stack:
        sinks: list[Sink] = []
        for name in dict.fromkeys(names):
            sink = _Wandb(folder, phase) if name == "wandb" else _TensorBoard(folder, step)
            stack.callback(sink.close)
            sinks.append(sink)
        yield sinks


class _TensorBoard:
    """Event files under `tensorboard/`; events of steps that a resumed run repeats are hidden."""

    def __init__(self, folder: Path, step: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise CallError("--log tensorboard needs the package tensorboard; install didact[tensorboard]") from error
        self._writer: Any = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def write(self, step: int, numbers: dict[str, float]) -> None:
        for name, number in numbers.items():
            self._writer.add_scalar(name, number, step)

    def close(self) -> None:
        self._writer.close()


class _Wandb:
    """A run under `wandb/` that never leaves this disk by itself: `wandb sync` is the user's to call."""

    def __init__(self, folder: Path, phase: str) -> None:
        try:
            import wandb
        except ImportError as error:
            raise CallError("--log wandb needs the package wandb; install didact[wandb]") from error
        name = f"{folder.resolve().parent.name}-{phase}"
        quiet = wandb.Settings(silent=True, console="off")
        self._run: Any = wandb.init(project="didact", name=name, dir=str(folder), mode="offline", settings=quiet)

    def write(self, step: int, numbers: dict[str, float]) -> None:
        self._run.log(numbers, step=step)

    def close(self) -> None:
        self._run.finish()
