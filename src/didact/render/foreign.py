"""Dialogues rendered by a chat template of others: its own text, cut into turns by its marks or by prefixes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import tokenizers
from numpy.typing import NDArray

from didact.errors import RenderError
from didact.render.byte_pairs import Encoded
from didact.render.chat_template import JinjaTemplate
from didact.render.dialogue import ROLES, Dialogue, Message, Turns
from didact.render.renderer import Lengths, Refused, RenderedBatch, Renderer, message_weight
from didact.render.sandbox import BREAK, END, START, BoundedEnvironment
from didact.render.tokenizer import Tokenizer

_HIDDEN = re.compile(f"[{START}{END}{BREAK}]")
_NAMED = ("name", "tool_call_id")


class _Cut(NamedTuple):
    """A dialogue as text, with the bounds of its turns in characters.

    starts: (messages,), where each begins, marks included. said: (messages, 2), what is told of each. roles: numbers.
    """

    text: str
    starts: list[int]
    said: list[tuple[int, int]]
    roles: list[int]


class ForeignRenderer(Renderer):
    """Renders by a `JinjaTemplate`; a text's reserved strings are encoded as the characters they are made of."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        if not isinstance(tokenizer.template, JinjaTemplate):
            raise TypeError(f"template '{tokenizer.template.name}' is not one of others")
        self.tokenizer, self.template = tokenizer, tokenizer.template
        self.world = BoundedEnvironment()
        added: list[dict[str, Any]] = tokenizer.description["added_tokens"]
        self._special = _any_of([token["content"] for token in added if token["special"]])
        self._added = _any_of([token["content"] for token in added])
        self._ids = {token["content"]: token["id"] for token in added}
        self._whole, self._plain = (
            tokenizers.Tokenizer.from_str(orjson.dumps(_bare(tokenizer.description, tokens)).decode())
            for tokens in (added, [])
        )

    def render_batch(
        self,
        dialogues: Sequence[Dialogue],
        tools: Sequence[str | None] = (),
        threads: int = 1,
        refused: Refused | None = None,
    ) -> RenderedBatch:
        """Many dialogues, one after the other. A refused one raises RenderError, or is left empty and told."""
        del threads
        records: list[tuple[list[int], NDArray[np.float32], _Cut, NDArray[np.int64], NDArray[np.int64]]] = []
        for at, dialogue in enumerate(dialogues):
            try:
                records.append(self._one(dialogue, tools[at] if tools else None))
            except RenderError as error:
                if refused is None:
                    raise
                refused.append((at, str(error)))
                none = np.zeros(0, np.int64)
                records.append(([], np.zeros(0, np.float32), _Cut("", [], [], []), none.reshape(0, 2), none))
        bounds = np.cumsum([0, *(len(ids) for ids, *_ in records)], dtype=np.int64)
        spans = [said + start for (_, _, _, said, _), start in zip(records, bounds[:-1], strict=True)]
        roles = np.array([role for _, _, cut, _, _ in records for role in cut.roles], np.uint8)
        counts = np.cumsum([0, *(starts.size for *_, starts in records)], dtype=np.int64)
        return RenderedBatch(
            ids=np.array([token for ids, *_ in records for token in ids], np.int32),
            weights=np.concatenate([np.zeros(0, np.float32), *(weights for _, weights, *_ in records)]),
            bounds=bounds,
            spans=np.concatenate([np.zeros((0, 2), np.int64), *spans]),
            turns=Turns(np.concatenate([np.zeros(0, np.int64), *(starts for *_, starts in records)]), roles, counts),
        )

    def lengths(
        self, messages: pa.ListArray, tools: pa.StringArray | None = None, refused: Refused | None = None
    ) -> Lengths:
        """Tokens and trained tokens of each dialogue."""
        batch = self.render_batch(messages.to_pylist(), [] if tools is None else tools.to_pylist(), refused=refused)
        trained = np.concatenate([[0], np.cumsum(batch.weights > 0)])[batch.bounds]
        return Lengths(np.diff(batch.bounds).astype(np.int32), np.diff(trained).astype(np.int32))

    def prompt(self, dialogue: Dialogue, tools: str | None = None) -> list[int]:
        """Ids of a dialogue and of what stands before the assistant's next turn."""
        return self._encode(self._written(dialogue, tools, prompt=True)).ids.tolist()

    def text(self, dialogue: Dialogue, tools: str | None = None, prompt: bool = False) -> str:
        """What the template writes."""
        return _HIDDEN.sub("", self._written(dialogue, tools, prompt))

    def _one(
        self, dialogue: Dialogue, tools: str | None
    ) -> tuple[list[int], NDArray[np.float32], _Cut, NDArray[np.int64], NDArray[np.int64]]:
        self._require(dialogue, tools)
        cut = self._cut(dialogue, tools)
        ids, offsets = self._encode_located(cut.text)
        said = np.array([self._places(offsets, *span) for span in cut.said], np.int64).reshape(-1, 2)
        starts = np.array([self._places(offsets, start, start)[0] for start in cut.starts], np.int64)
        weights = np.zeros(len(ids), np.float32)
        for message, (first, last) in zip(dialogue, said.tolist(), strict=True):
            if message["role"] == "assistant":
                weights[first:last] = message_weight(message)
        return ids, weights, cut, said, starts

    def _require(self, dialogue: Dialogue, tools: str | None) -> None:
        needs = {"system" for message in dialogue if message["role"] in ("system", "developer")}
        needs |= {"results" for message in dialogue if message["role"] == "tool"}
        needs |= {"tools" for message in dialogue if message.get("tool_calls")} | ({"tools"} if tools else set())
        if missing := sorted(needs - set(self.template.takes)):
            raise RenderError("RE001", f"template '{self.template.name}' has no place for {', '.join(missing)}")

    def _cut(self, dialogue: Dialogue, tools: str | None) -> _Cut:
        """The dialogue's text, and where its turns are: each one's beginning of the dialogue begins the whole."""
        marked = self._written(dialogue, tools)
        text = marked.replace(START, "").replace(END, "")
        generated = _generated(marked)
        opening = self.template.named.get("bos_token", "")
        place = len(opening) if text.startswith(opening) else 0  # of the dialogue, not of its first turn
        starts: list[int] = []
        said: list[tuple[int, int]] = []
        roles: list[int] = []
        for at, message in enumerate(dialogue):
            role, own = message["role"], message["role"] == "assistant"
            end = len(text) if at + 1 == len(dialogue) else self._end(text, dialogue[: at + 1], tools, own)
            begin = self._end(text, dialogue[:at], tools, True, prompt=True) if own else place
            starts.append(place)
            # Where a turn's end is not to be told, as of a system prompt written into the user's turn, the next turn
            # belongs to it, and keeps with the system prompt.
            joined = at > 0 and starts[-2] == place and roles[-1] < ROLES.index("user")
            roles.append(roles[-1] if joined and not own else ROLES.index(role))
            end = place if end is None else end
            said.append(self._answer(text, begin or 0, end, generated, at) if own else (place, end))
            place = end
        if self.template.marked and generated:
            raise RenderError("RE002", "the template marks more answers than the dialogue has")
        return _Cut(text, starts, said, roles)

    def _end(self, text: str, dialogue: Dialogue, tools: str | None, needed: bool, prompt: bool = False) -> int | None:
        """Where a beginning of the dialogue ends in its text; None where that is not needed and cannot be told."""
        try:
            part = self._written(dialogue, tools, prompt).replace(START, "").replace(END, "")
        except RenderError:
            if needed:
                raise
            return None
        if text.startswith(part):
            return len(part)
        if not needed:
            return None
        same = next((i for i, (a, b) in enumerate(zip(part, text, strict=False)) if a != b), min(len(part), len(text)))
        what = "before answer" if prompt else "of"
        raise RenderError(
            "RE002",
            f"what the template writes {what} message {len(dialogue) + int(prompt)} changes when more follows: "
            f"{part[same : same + 40]!r} becomes {text[same : same + 40]!r}",
        )

    def _answer(self, text: str, begin: int, end: int, generated: list[tuple[int, int]], at: int) -> tuple[int, int]:
        """Bounds of what is trained of an assistant's turn: by the template's marks, else up to the end of turn."""
        token = self.template.end_of_turn
        if self.template.marked:
            first, last = generated.pop(0) if generated else (begin, begin)
            if not (begin <= first < last <= end and text[first:last].endswith(token)):
                raise RenderError("RE004", f"the template's marks of message {at + 1} do not end with {token}")
            return first, last
        found = text.rfind(token, begin, end)
        if found < 0 or text[found + len(token) : end].strip():
            raise RenderError("RE004", f"message {at + 1} does not end with {token}")
        return begin, found + len(token)

    def _places(self, offsets: NDArray[np.int64], start: int, end: int) -> tuple[int, int]:
        """First and one past the last token of a stretch of characters."""
        first, last = (int(np.searchsorted(offsets[:, 0], place)) for place in (start, end))
        for place, index in ((start, first), (end, last)):
            if index > 0 and offsets[index - 1, 1] > place:
                raise RenderError("RE002", "a token crosses the border between two turns")
        return first, last

    def _written(self, dialogue: Dialogue, tools: str | None, prompt: bool = False) -> str:
        messages = [self._message(message) for message in dialogue]
        definitions = None if tools is None else self._literal(orjson.loads(tools))
        given = {"messages": messages, "tools": definitions, "add_generation_prompt": prompt}
        return self.world.written(self.template.source, given | self.template.named)

    def _message(self, message: Message) -> dict[str, Any]:
        """A message as Hugging Face's templates expect it: calls as objects, their arguments too."""
        made: dict[str, Any] = {"role": message["role"], "content": message.get("content") or ""}
        made |= {name: message[name] for name in _NAMED if message.get(name) is not None}
        if message.get("tool_calls"):
            made["tool_calls"] = [_parsed_call(call) for call in orjson.loads(message["tool_calls"])]
        literal: dict[str, Any] = self._literal(made)
        return literal

    def _literal(self, value: Any) -> Any:
        """A value whose reserved strings are broken up, so that what the template writes itself can be told apart."""
        if isinstance(value, str):
            if _HIDDEN.search(value):
                raise RenderError("RE001", "a text holds a code point that Unicode keeps from text")
            return self._special.sub(lambda found: f"{found[0][0]}{BREAK}{found[0][1:]}", value)
        if isinstance(value, dict):
            return {key: self._literal(inner) for key, inner in value.items()}
        return [self._literal(inner) for inner in value] if isinstance(value, list) else value

    def _encode(self, marked: str) -> Encoded:
        ids, _ = self._encode_located(marked.replace(START, "").replace(END, ""))
        return Encoded(np.array(ids, np.int32), np.array([0, len(ids)]))

    def _encode_located(self, text: str) -> tuple[list[int], NDArray[np.int64]]:
        """Ids of a written dialogue, and the (T, 2) characters each stands for."""
        if BREAK not in text:
            whole = self._whole.encode(text, add_special_tokens=False)
            return list(whole.ids), np.array(whole.offsets, np.int64).reshape(-1, 2)
        ids: list[int] = []
        offsets: list[tuple[int, int]] = []
        place = 0
        for mark in [*self._added.finditer(text), None]:
            stop = len(text) if mark is None else mark.start()
            kept = [at for at in range(place, stop) if text[at] != BREAK]
            encoded = self._plain.encode("".join(text[at] for at in kept), add_special_tokens=False)
            ids += encoded.ids
            offsets += [(kept[first], kept[last - 1] + 1) for first, last in encoded.offsets]
            if mark is not None:
                ids.append(self._ids[mark[0]])
                offsets.append(mark.span())
                place = mark.end()
        return ids, np.array(offsets, np.int64).reshape(-1, 2)


def _any_of(tokens: list[str]) -> re.Pattern[str]:
    """Finds any of some tokens, the longest where several begin; nothing where there are none."""
    return re.compile("|".join(map(re.escape, sorted(tokens, key=len, reverse=True))) or r"(?!)")


def _bare(description: dict[str, Any], added: list[dict[str, Any]]) -> dict[str, Any]:
    return description | {"added_tokens": added, "post_processor": None, "truncation": None, "padding": None}


def _generated(marked: str) -> list[tuple[int, int]]:
    """Bounds of what stands between the marks, in the text without them."""
    found, begin = [], 0
    for before, character in enumerate(re.finditer(f"[{START}{END}]", marked)):
        at = character.start() - before
        if character[0] == START:
            begin = at
        else:
            found.append((begin, at))
    return found


def _parsed_call(call: dict[str, Any]) -> dict[str, Any]:
    function = call.get("function") or {}
    try:
        arguments = orjson.loads(function.get("arguments") or "{}")
    except (orjson.JSONDecodeError, TypeError):
        arguments = function.get("arguments")
    return call | {"function": function | {"arguments": arguments}}
