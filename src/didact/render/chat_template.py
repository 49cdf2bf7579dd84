"""Chat templates of others: where they stand in a folder, and which built-in one writes the same."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field

from didact.errors import CallError, RenderError
from didact.render.template import TEMPLATES, Template

_DIALOGUE = (("system", "Be brief."), ("user", "One?"), ("assistant", "Two."), ("user", "Three?"))
"""With a system prompt: without one, many templates write a greeting of their own in its place."""
_TOKENS = ("bos_token", "eos_token", "pad_token", "unk_token")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class JinjaTemplate(BaseModel):
    """A chat template of others that has passed the probes, as it stands beside its tokenizer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="Name in reports.")
    source: str = Field(description="The template's text, values given for it included.")
    named: dict[str, str] = Field(description="Special tokens under the names the template knows, such as bos_token.")
    takes: tuple[str, ...] = Field(description="What it writes beside users and assistants: system, tools, results.")
    marked: bool = Field(description="Whether it marks by generation tags what a model is to write.")
    end_of_turn: str = Field(description="Reserved token that ends an assistant's turn; it is trained.")
    start_of_text: str = Field(description="Reserved token before a plain document.")
    end_of_text: str = Field(description="Reserved token after a plain document.")
    pad: str = Field(description="Reserved token that fills up a batch.")

    @property
    def reserved(self) -> tuple[str, ...]:
        """Reserved tokens that the trainer itself writes."""
        return tuple(dict.fromkeys((self.pad, self.start_of_text, self.end_of_text, self.end_of_turn)))

    def jinja(self) -> str:
        """The template's text."""
        return self.source

    def tokens(self) -> dict[str, str]:
        """Special tokens by the names Hugging Face gives them."""
        return self.named


@dataclass(frozen=True)
class OwnTemplate:
    """The chat template of a Hugging Face folder, and the special tokens it knows by name."""

    folder: Path
    source: str
    named: dict[str, str]

    def recognised(self) -> Template | None:
        """The built-in template that writes a trial dialogue as this one does; None where none does, or it fails."""
        from didact.render.sandbox import END, START, BoundedEnvironment

        messages = [{"role": role, "content": text} for role, text in _DIALOGUE]
        try:
            written = BoundedEnvironment().written(
                self.source, {"messages": messages, "add_generation_prompt": True} | self.named
            )
        except RenderError:
            return None
        text = written.replace(START, "").replace(END, "").strip()
        return next((known for known in TEMPLATES.values() if text == _expected(known).strip()), None)

    def with_values(self, values: Mapping[str, str | int | bool]) -> str:
        """The template's text with some of its variables set. Raises CallError for a name that is none."""
        for name in values:
            if not _NAME.fullmatch(name):
                raise CallError(f"template_values: '{name}' is not a name of a template's variable")
        lines = [f"{{%- set {name} = {_literal(value)} -%}}" for name, value in sorted(values.items())]
        return "".join(lines) + self.source


def _literal(value: str | int | bool) -> str:
    """A value as Jinja spells it; JSON's escapes are Jinja's too."""
    return json.dumps(value)


def own_template(folder: Path) -> OwnTemplate:
    """The chat template of a folder. Raises CallError when there is none."""
    config = _tokenizer_config(folder)
    source = _chat_template(folder, config)
    if source is None:
        raise CallError(f"{folder}: has no chat template; name the template to use, for example 'chatml'")
    named = {name: token for name in _TOKENS if (token := _token(config.get(name)))}
    return OwnTemplate(folder, source, named)


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


def _token(value: Any) -> str:
    """A special token's text, spelt as such or as an object with a content."""
    content = value.get("content") if isinstance(value, dict) else value
    return content if isinstance(content, str) else ""


def _expected(template: Template) -> str:
    turns = (f"{template.turns[role].prefix}{text}{template.turns[role].suffix}" for role, text in _DIALOGUE)
    return template.opening + "".join(turns) + template.generation_prompt
