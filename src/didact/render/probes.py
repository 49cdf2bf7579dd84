"""The trials a chat template of others has to pass before anything is trained with it."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from typing import Any

import orjson

from didact.errors import CallError, RenderError
from didact.render.chat_template import JinjaTemplate
from didact.render.dialogue import Dialogue
from didact.render.foreign import ForeignRenderer
from didact.render.sandbox import START, BoundedEnvironment
from didact.render.tokenizer import Tokenizer

_OTHER_DAY = datetime.date(2031, 11, 23)


def _turn(role: str, content: str, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content} | more


_ASKED, _SAID = _turn("user", "What is a fox?"), _turn("assistant", "An animal.")
_MORE, _LAST = _turn("user", "And 12 hens,\n狐狸 🙂?"), _turn("assistant", "Birds, \n\n  they say.")
_TOOLS = orjson.dumps(
    [{"type": "function", "function": {"name": "get_fox", "parameters": {"type": "object"}}}]
).decode()
_CALL = orjson.dumps([{"type": "function", "id": "abcdefghi", "function": {"name": "get_fox", "arguments": "{}"}}])
_CALLED = _turn("assistant", "", tool_calls=_CALL.decode())
_RESULT = _turn("tool", "red fox", tool_call_id="abcdefghi", name="get_fox")
_PLAIN: Dialogue = [_ASKED, _SAID, _MORE, _LAST]
_THOUGHTFUL: Dialogue = [
    _ASKED,
    _turn("assistant", "<think>\nhm\n</think>\n\nAn animal."),
    _MORE,
    _turn("assistant", "<think>\nso\n</think>\n\nBirds."),
]
_OPTIONAL: dict[str, tuple[Dialogue, str | None, tuple[str, ...]]] = {
    "system": ([_turn("system", "Be a zoologist."), *_PLAIN], None, ("Be a zoologist.",)),
    "tools": ([_ASKED, _CALLED], _TOOLS, ("get_fox",)),
    "results": ([_ASKED, _CALLED, _RESULT, _SAID, _MORE, _LAST], _TOOLS, ("red fox",)),
}
"""What a template may lack: a dialogue that needs it, and texts that have to be in what is written."""


def accepted(tokenizer: Tokenizer, source: str, named: Mapping[str, str], where: str) -> JinjaTemplate:
    """The template as one to train with, once it has passed.

    Two exchanges, with thoughts and without, must render so that every beginning of the dialogue begins the whole, in
    text and in ids; each answer must be found in what is trained, with a reserved token after it; the date must not
    matter, and there must be one beginning. A system prompt, tools and their results are tried too: a template that
    refuses or leaves them out is taken without them, and dialogues that need them are refused then.
    `tokenizer` has any template of its special tokens. Raises CallError with the code of the trial that failed.
    """
    try:
        found = _described(tokenizer, source, dict(named))
        renderer = ForeignRenderer(tokenizer.with_template(found))
        _same_on_any_day(renderer)
        for name, dialogue in (("two exchanges", _PLAIN), ("thoughts", _THOUGHTFUL)):
            _try(renderer, name, dialogue, None)
        takes = tuple(name for name in _OPTIONAL if _takes(renderer, name))
        return found.model_copy(update={"takes": takes})
    except RenderError as error:
        raise CallError(
            f"{where}: its chat template cannot be trained with, {error}; name the template to use instead, such as "
            "`template: chatml`"
        ) from error


def _described(tokenizer: Tokenizer, source: str, named: dict[str, str]) -> JinjaTemplate:
    """The template with the token that ends its turns, which is read off what it writes after an answer."""
    world = BoundedEnvironment()
    text = world.written(source, {"messages": list(_PLAIN[:2]), "add_generation_prompt": False, "tools": None} | named)
    marked = START in text
    text = re.sub("[\U000f0000-\U0010ffff]", "", text)
    if "An animal." not in text:
        raise RenderError("RE003", "what it writes does not hold the answer 'An animal.'")
    special = [token["content"] for token in tokenizer.description["added_tokens"] if token["special"]]
    after = text.partition("An animal.")[2].strip()
    end = next((token for token in sorted(special, key=len, reverse=True) if after.startswith(token)), None)
    if end is None:
        raise RenderError("RE004", f"after an answer it writes {after[:40]!r}, which begins with no special token")
    start, stop = named.get("bos_token"), named.get("eos_token", end)
    return JinjaTemplate(
        name="own",
        source=source,
        named=named,
        takes=tuple(_OPTIONAL),
        marked=marked,
        end_of_turn=end,
        start_of_text=start or named.get("pad_token") or stop,
        end_of_text=stop,
        pad=named.get("pad_token") or stop,
    )


def _same_on_any_day(renderer: ForeignRenderer) -> None:
    one = renderer.text(_PLAIN)
    renderer.world, kept = BoundedEnvironment(_OTHER_DAY), renderer.world
    other = renderer.text(_PLAIN)
    renderer.world = kept
    if one != other:
        at = next(i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
        raise RenderError(
            "RE002",
            f"it writes the day's date ({one[max(0, at - 20) : at + 12]!r}), so that ids change from day to day; give "
            "a fixed one by `template_values`, such as {date_string: 26 Jul 2024}",
        )


def _try(renderer: ForeignRenderer, name: str, dialogue: Dialogue, tools: str | None) -> None:
    """Every beginning of a dialogue renders to a beginning of the whole's ids, and answers are what is trained."""
    try:
        whole = renderer.render(dialogue, tools)
        ids = whole.ids.tolist()
        for at, message in enumerate(dialogue):
            if message["role"] != "assistant":
                continue
            part, asked = renderer.render(dialogue[: at + 1], tools), renderer.prompt(dialogue[:at], tools)
            if part.ids.tolist() != ids[: part.ids.size] or asked != ids[: len(asked)]:
                raise RenderError("RE002", f"ids up to message {at + 1} are others when more follows")
            if part.weights.tolist() != whole.weights[: part.ids.size].tolist():
                raise RenderError("RE002", f"other tokens of message {at + 1} are trained when more follows")
            first, last = whole.spans[at].tolist()
            said = renderer.tokenizer.decode(ids[first:last], reserved=True)
            answer = str(message["content"]).rpartition("</think>")[2].strip()
            if answer not in said or not whole.weights[first:last].all():
                raise RenderError("RE003", f"of message {at + 1} {said!r} is trained, which is not {answer!r}")
            if not said.endswith(renderer.template.end_of_turn):
                raise RenderError("RE004", f"of message {at + 1} {said!r} is trained, without its end of turn")
        start = renderer.tokenizer.reserved.get(renderer.template.named.get("bos_token", ""))
        if start is not None and ids[:2] == [start, start]:
            raise RenderError("RE005", "it begins a dialogue twice")
    except RenderError as error:
        raise RenderError(error.code, f"{error.message} (trial: {name})") from error


def _takes(renderer: ForeignRenderer, name: str) -> bool:
    dialogue, tools, needed = _OPTIONAL[name]
    try:
        text = renderer.text(dialogue, tools)
    except RenderError:
        return False
    if any(part not in text for part in needed):
        return False
    _try(renderer, name, dialogue, tools)
    return True
