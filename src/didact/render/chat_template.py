"""Chat templates of others: which of the built-in ones writes the same marks, found by letting both write dialogues."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import orjson
from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from didact.errors import CallError
from didact.render.template import TEMPLATES, Template

_LARGEST = 1 << 17
"""Characters of a template that are looked at; those in use have a few thousand."""
_GENERATION = re.compile(r"\{%-?\s*(?:end)?generation\s*-?%\}")
_DIALOGUE = (("system", "Be brief."), ("user", "One?"), ("assistant", "Two."), ("user", "Three?"))
"""With a system prompt: without one, many templates write a greeting of their own in its place."""


def recognised(folder: Path) -> Template:
    """The built-in template that writes a dialogue as the chat template of a Hugging Face folder does.

    The folder's template runs in Jinja's sandbox. Raises CallError when there is none, it fails, or none is equal.
    """
    config = _tokenizer_config(folder)
    source = _chat_template(folder, config)
    if source is None:
        raise CallError(f"{folder}: has no chat template; name the template to use, for example 'chatml'")
    written = _rendered(source, config, folder)
    for known in TEMPLATES.values():
        if written.strip() == _expected(known).strip():
            return known
    raise CallError(
        f"{folder}: its chat template writes {written[:80]!r}…, as none of {', '.join(TEMPLATES)} does; name the "
        "template to use instead"
    )


def _tokenizer_config(folder: Path) -> dict[str, Any]:
    path = folder / "tokenizer_config.json"
    try:
        config = orjson.loads(path.read_bytes()) if path.is_file() else {}
    except orjson.JSONDecodeError as error:
        raise CallError(f"{path}: not valid JSON ({error})") from error
    return config if isinstance(config, dict) else {}


def _chat_template(folder: Path, config: dict[str, Any]) -> str | None:
    """The template's text: in a file of its own, in the tokenizer's configuration, or there in a list of named ones."""
    file = folder / "chat_template.jinja"
    found = file.read_text(encoding="utf-8") if file.is_file() else config.get("chat_template")
    if isinstance(found, list):
        found = {entry["name"]: entry["template"] for entry in found}.get("default")
    return found if isinstance(found, str) else None


def _rendered(source: str, config: dict[str, Any], folder: Path) -> str:
    """What a template writes for the trial dialogue and before an answer."""
    if len(source) > _LARGEST:
        raise CallError(f"{folder}: its chat template has {len(source)} characters, at most {_LARGEST} are read")
    world = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    given = {name: _token(config.get(name)) for name in ("bos_token", "eos_token", "pad_token", "unk_token")}
    try:
        return world.from_string(_GENERATION.sub("", source)).render(
            messages=[{"role": role, "content": text} for role, text in _DIALOGUE],
            add_generation_prompt=True,
            **given,
        )
    except (TemplateError, TypeError, ArithmeticError, LookupError, ValueError) as error:
        raise CallError(f"{folder}: its chat template fails ({error}); name the template to use instead") from error


def _token(value: Any) -> str:
    """A special token's text, spelt as such or as an object with a content."""
    content = value.get("content") if isinstance(value, dict) else value
    return content if isinstance(content, str) else ""


def _expected(template: Template) -> str:
    turns = (f"{template.turns[role].prefix}{text}{template.turns[role].suffix}" for role, text in _DIALOGUE)
    return template.opening + "".join(turns) + template.generation_prompt
