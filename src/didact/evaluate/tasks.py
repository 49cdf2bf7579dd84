"""Evaluation by generation: answer the prompts, score each task, and set the score beside two baselines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from didact.evaluate.baselines import NearestPrompt, constant_answer
from didact.evaluate.items import Item
from didact.evaluate.metrics import best_score, final_answer, metric
from didact.intervals import Estimate, estimate
from didact.render.renderer import render_prompt
from didact.render.tokenizer import Tokenizer


class Generator(Protocol):
    """Whatever continues prompts."""

    def generate(self, prompts: list[list[int]], max_tokens: int) -> list[list[int]]:
        """Ids after each prompt, in the order of the prompts, without the end token."""


@dataclass(frozen=True, slots=True)
class Answered:
    """One item with what was answered and its score."""

    id: str
    question: str
    references: tuple[str, ...]
    answer: str
    score: float


@dataclass(frozen=True, slots=True)
class TaskResult:
    """The score of one task; chance and neighbour are scores on the same items, None without anything to compare."""

    task: str
    metric: str
    score: Estimate
    chance: float | None
    neighbour: float | None
    over_long: int
    """Prompts that left no room for an answer and scored 0 unasked."""
    answers: tuple[Answered, ...]

    def to_json(self, samples: int = 5) -> dict[str, Any]:
        """The result as plain values, with the first few answers."""
        kept = asdict(self) | {"score": self.score._asdict()}
        return kept | {"answers": [asdict(answered) for answered in self.answers[:samples]]}


def answer_items(
    items: Sequence[Item],
    generator: Generator,
    tokenizer: Tokenizer,
    max_tokens: int,
    *,
    batch: int = 256,
    context: int | None = None,
) -> list[str | None]:
    """What a model answers to each item; None where the prompt leaves no room for one token within `context` ids.

    Prompts of similar length are answered together, so that little is padded.
    """
    prompts = [render_prompt(item.prompt, tokenizer, item.tools) for item in items]
    room = [place for place, prompt in enumerate(prompts) if context is None or len(prompt) < context]
    order = sorted(room, key=lambda place: (len(prompts[place]), place))
    answers: list[str | None] = [None] * len(items)
    for start in range(0, len(order), batch):
        places = order[start : start + batch]
        written = generator.generate([prompts[place] for place in places], max_tokens)
        for place, text in zip(places, tokenizer.decode_batch(written), strict=True):
            answers[place] = text
    return answers


def score_item(item: Item, answer: str, metric_name: str) -> float:
    """Score of an answer by the best of the item's references; worked answers are compared by their final ones."""
    if item.worked:
        return best_score(metric_name, final_answer(answer), [final_answer(accepted) for accepted in item.references])
    return best_score(metric_name, answer, item.references)


def score_tasks(
    items: Sequence[Item],
    answers: Sequence[str | None],
    metric_name: str,
    training: Sequence[Item] = (),
    seed: int = 0,
) -> list[TaskResult]:
    """Results of all tasks among the items, by name.

    training: items the baselines may learn from; a task is compared with training items of the same name, or, where
    there are none, with all. Raises UnknownName for the metric.
    """
    metric(metric_name)
    results = []
    for task in sorted({item.task for item in items}):
        asked = [(item, answer) for item, answer in zip(items, answers, strict=True) if item.task == task]
        known = [item for item in training if item.task == task] or list(training)
        results.append(_task_result(task, asked, metric_name, known, seed))
    return results


def _task_result(
    task: str, asked: list[tuple[Item, str | None]], metric_name: str, training: list[Item], seed: int
) -> TaskResult:
    scored = [
        Answered(item.id, item.question, item.references, answer or "", score_item(item, answer or "", metric_name))
        for item, answer in asked
    ]
    items = [item for item, _ in asked]
    return TaskResult(
        task=task,
        metric=metric_name,
        score=estimate([one.score for one in scored], seed),
        chance=_chance(items, training, metric_name),
        neighbour=_neighbour(items, training, metric_name),
        over_long=sum(answer is None for _, answer in asked),
        answers=tuple(scored),
    )


def _chance(items: list[Item], training: list[Item], metric_name: str) -> float | None:
    """The better of always giving training's most frequent answer and picking among the choices blindly."""
    guesses = []
    if training:
        constant = constant_answer([item.references[0] for item in training])
        guesses.append(_mean([score_item(item, constant, metric_name) for item in items]))
    if all(item.choices for item in items):
        guesses.append(_mean([1 / item.choices for item in items]))
    return max(guesses, default=None)


def _neighbour(items: list[Item], training: list[Item], metric_name: str) -> float | None:
    """Answering each prompt with the answer of the most similar training prompt."""
    if not training:
        return None
    index = NearestPrompt([item.question for item in training])
    found = [index.nearest(item.question) for item in items]
    copied = ["" if place is None else training[place].references[0] for place in found]
    return _mean([score_item(item, answer, metric_name) for item, answer in zip(items, copied, strict=True)])


def _mean(scores: list[float]) -> float:
    return sum(scores) / len(scores)
