"""The depth dial, turned by time: the deepest model that the minutes a recipe allows can train well on this machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from didact.durable import read_json, write_json
from didact.model.config import DecoderConfig, derive_config
from didact.recipe.training import ModelSettings

TOKENS_PER_WEIGHT = 12
"""Tokens that each weight of the blocks should see: nanochat's ratio (scripts/base_train.py, July 2026), between the 20
of Hoffmann et al. (2022), who count all weights, and the 8 of its speed runs."""
REPEATS = 4
"""Passes over the same text that are worth nearly as much as new text (Muennighoff et al. 2023)."""
_FIRST = 2
_DEEPEST = 64
_TRIALS = 4


@dataclass(frozen=True, slots=True)
class Trial:
    """One depth that was tried: tokens a second, tokens it wants, and tokens it would see in the time."""

    depth: int
    tokens_per_second: float
    wanted_tokens: int
    seen_tokens: int


@dataclass(frozen=True, slots=True)
class Dial:
    """What bounds a model's depth. config: the shape of a depth.  seconds: the time allowed.  available_tokens: of the
    training text, repeats that are worth it included.
    """

    config: Callable[[int], DecoderConfig]
    seconds: float
    available_tokens: float

    def turned(self, speed: Callable[[int], float]) -> tuple[int, list[Trial]]:
        """The deepest model found whose weights see TOKENS_PER_WEIGHT tokens each, 1 without any; and what was tried.

        speed: measures the tokens a second that a depth trains on. Each trial tells the operations a second, and from
        them the next depth to try; a depth above 1 is the answer only when it has been tried.
        """
        trials: list[Trial] = []
        best, too_deep, depth = 1, _DEEPEST + 1, _FIRST
        while depth > best and len(trials) < _TRIALS:
            trial = self._trial(depth, speed)
            trials.append(trial)
            if trial.wanted_tokens <= trial.seen_tokens:
                best = depth
            else:
                too_deep = depth
            depth = min(self._guess(trial), too_deep - 1)
        return best, trials

    def _trial(self, depth: int, speed: Callable[[int], float]) -> Trial:
        found = speed(depth)
        return Trial(depth, found, self._wanted(depth), self._seen(found))

    def _guess(self, trial: Trial) -> int:
        """The deepest model that a machine as fast as in a trial has the time for."""
        operations = trial.tokens_per_second * operations_per_token(self.config(trial.depth))
        fitting = [
            depth
            for depth in range(1, _DEEPEST + 1)
            if self._wanted(depth) <= self._seen(operations / operations_per_token(self.config(depth)))
        ]
        return max(fitting, default=0)

    def _wanted(self, depth: int) -> int:
        return TOKENS_PER_WEIGHT * block_weights(self.config(depth))

    def _seen(self, tokens_per_second: float) -> int:
        return int(min(self.seconds * tokens_per_second, self.available_tokens))


def block_weights(config: DecoderConfig) -> int:
    """Weights of the matrices of all blocks; a small model's embedding is a table, which learns from every token."""
    heads = 2 * config.num_attention_heads + 2 * config.num_key_value_heads
    layer = config.hidden_size * (heads * config.head_dim + 3 * config.intermediate_size)
    return config.num_hidden_layers * layer


def operations_per_token(config: DecoderConfig) -> float:
    """Operations of training on a token: 6 for each weight of the blocks and the head."""
    return 6.0 * (block_weights(config) + config.hidden_size * config.vocab_size)


def resolved_depth(
    model: ModelSettings, vocab_size: int, minutes: float, tokens: float, file: Path, speed: Callable[[int], float]
) -> int:
    """The depth that `depth: auto` comes to; measured once, and kept in `file` for later resumes.

    tokens: of one pass over the training text.
    """
    if file.is_file():
        kept: int = read_json(file)["depth"]
        return kept
    dial = Dial(lambda depth: derive_config(with_depth(model, depth), vocab_size), 60 * minutes, REPEATS * tokens)
    depth, trials = dial.turned(speed)
    content: dict[str, Any] = {"depth": depth, "minutes": minutes, "available_tokens": REPEATS * int(tokens)}
    write_json(file, content | {"trials": [{name: getattr(t, name) for name in Trial.__slots__} for t in trials]})
    return depth


def with_depth(model: ModelSettings, depth: int) -> ModelSettings:
    """The same settings with a depth that is a number."""
    return model.model_copy(update={"depth": depth})
