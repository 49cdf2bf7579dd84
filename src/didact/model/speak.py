"""A checkpoint that answers: text in, text out, for evaluation, the command line, the terminal chat and the server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from didact.model.checkpoint import check_vocabulary, load_decoder, read_state, resolve
from didact.model.generate import PROMPTS_AT_ONCE, Completion, generate, stream
from didact.model.phases import compute_threads
from didact.model.precision import choose_device
from didact.model.transformer import Decoder
from didact.recipe.training import GenerateSettings
from didact.render.renderer import render_prompt, render_text
from didact.render.tokenizer import Tokenizer

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True)
class Answer:
    """One generated text, the number of its tokens, and whether the model ended it or the length allowed did."""

    text: str
    tokens: int
    finish: Literal["stop", "length"]


@dataclass(frozen=True)
class Speaker:
    """A model with its tokenizer. `phase` is the training phase it comes from: pretrain, finetune, or "" if unknown."""

    model: Decoder
    tokenizer: Tokenizer
    phase: str = ""
    threads: int | None = None

    @classmethod
    def load(cls, path: Path, device: str = "cpu", threads: int | None = None) -> Speaker:
        """Open a checkpoint, or the best one of a phase or run. Raises InputMissing, CallError or CheckpointError."""
        folder = resolve(path)
        model, tokenizer = load_decoder(folder, choose_device(device)), Tokenizer.load(folder)
        check_vocabulary(model.config, tokenizer, folder)
        state = read_state(folder) if (folder / "state.json").is_file() else {}
        return cls(model, tokenizer, state.get("phase", ""), threads)

    @property
    def stop_ids(self) -> frozenset[int]:
        """Ids that end an answer or a document."""
        return frozenset({self.tokenizer.end_id, self.tokenizer.end_of_text_id})

    @property
    def context(self) -> int:
        """Most tokens of a prompt and its answer together."""
        return self.model.config.max_position_embeddings

    def generate(self, prompts: list[list[int]], max_tokens: int) -> list[list[int]]:
        """The likeliest answer to each rendered prompt, as ids without the stop token."""
        return [completion.ids for completion in self.complete(prompts, GenerateSettings(max_tokens=max_tokens))]

    def complete(
        self, prompts: Sequence[Sequence[int]], settings: GenerateSettings, at_once: int = PROMPTS_AT_ONCE
    ) -> list[Completion]:
        """Complete rendered prompts; see `generate`."""
        with compute_threads(self.threads):
            return generate(self.model, prompts, self.stop_ids, settings, at_once)

    def answer(
        self, messages: list[dict[str, Any]], settings: GenerateSettings | None = None, tools: str | None = None
    ) -> Answer:
        """The assistant's next turn in a dialogue."""
        return self._told(render_prompt(messages, self.tokenizer, tools), settings)

    def continue_text(self, text: str, settings: GenerateSettings | None = None) -> Answer:
        """What follows a plain text, as pre-training saw texts."""
        unfinished = render_text(text, self.tokenizer).ids[:-1]
        return self._told(unfinished.tolist(), settings)

    def _told(self, prompt: list[int], settings: GenerateSettings | None) -> Answer:
        completion = self.complete([prompt], settings or GenerateSettings())[0]
        return Answer(self.tokenizer.decode(completion.ids), len(completion.ids), completion.finish)

    def stream(self, messages: list[dict[str, Any]], settings: GenerateSettings | None = None) -> Iterator[str]:
        """The assistant's next turn piece by piece; a piece ends where a character is whole."""
        ids: list[int] = []
        said = ""
        for token in stream(self.model, render_prompt(messages, self.tokenizer), self.stop_ids, settings):
            ids.append(token)
            text = self.tokenizer.decode(ids)
            if not text.endswith(_REPLACEMENT):
                yield text[len(said) :]
                said = text
        rest = self.tokenizer.decode(ids)[len(said) :]
        if rest:
            yield rest


@dataclass
class Chat:
    """A conversation with a speaker; the oldest exchanges are forgotten when the context is full.

    The system message is kept. A question that alone fills the context keeps its end.
    """

    speaker: Speaker
    settings: GenerateSettings = field(default_factory=GenerateSettings)
    system: str | None = None
    history: list[dict[str, Any]] = field(default_factory=list)

    def ask(self, text: str) -> Iterator[str]:
        """Say something; yields the answer in pieces and remembers both once the answer is complete."""
        question = {"role": "user", "content": text}
        pieces = []
        for piece in self.speaker.stream(self._fitting(question), self.settings):
            pieces.append(piece)
            yield piece
        self.history += [question, {"role": "assistant", "content": "".join(pieces)}]

    def forget(self) -> None:
        """Start the conversation anew."""
        self.history.clear()

    def _fitting(self, question: dict[str, Any]) -> list[dict[str, Any]]:
        """The longest recent part of the conversation that leaves room for an answer."""
        head = [{"role": "system", "content": self.system}] if self.system else []
        room = self.speaker.context - min(self.settings.max_tokens, self.speaker.context // 2)
        for start in range(0, len(self.history), 2):
            messages = [*head, *self.history[start:], question]
            if len(render_prompt(messages, self.speaker.tokenizer)) <= room:
                return messages
        return [*head, question]
