"""Chat templates as data: which marks stand around the turns of a dialogue, and the same as a Jinja template."""

from __future__ import annotations

import re
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from didact.errors import UnknownName


class Marks(BaseModel):
    """What stands before and after a text: reserved tokens and literal text, written as one string."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prefix: str = Field(description="Written before the text, for example '<|im_start|>user\\n'.")
    suffix: str = Field(description="Written after the text, for example '<|im_end|>\\n'.")


class Template(BaseModel):
    """How a dialogue becomes one string of reserved tokens and texts.

    Every text is encoded apart from the marks before it, so that a prompt's ids are a prefix of the whole dialogue's.
    For that to give the ids of encoding the whole string, a prefix ends with a reserved token, or with a line end while
    texts are trimmed; the suffix of a turn starts with a reserved token, and so do the marks before tool calls.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="Name in recipes and error messages.")
    reserved: tuple[str, ...] = Field(description="Reserved tokens in the order of their ids.")
    opening: str = Field(description="Marks before the first turn of a dialogue.")
    turns: dict[str, Marks] = Field(description="Marks of each role; a role that is absent cannot be rendered.")
    tools: Marks = Field(description="Marks around the tool definitions, which stand before the first turn.")
    calls: Marks = Field(description="Marks around the JSON of an assistant's tool calls, after its content.")
    end_of_turn: str = Field(description="Reserved token that ends an assistant's turn; it is trained.")
    start_of_text: str = Field(description="Reserved token before a plain document.")
    end_of_text: str = Field(description="Reserved token after a plain document.")
    pad: str = Field(description="Reserved token that fills up a batch.")
    trim: bool = Field(description="Whether white space around each text is removed.")

    @model_validator(mode="after")
    def _marks_keep_texts_apart(self) -> Self:
        for token in (self.end_of_turn, self.start_of_text, self.end_of_text, self.pad):
            if token not in self.reserved:
                raise ValueError(f"'{token}' is not among the reserved tokens")
        if not self.turns["assistant"].suffix.startswith(self.end_of_turn):
            raise ValueError("the assistant's suffix has to start with the token that ends its turn")
        for marks in self.turns.values():
            if not marks.suffix.startswith(self.reserved):
                raise ValueError(f"the suffix '{marks.suffix}' of a turn has to start with a reserved token")
        if not self.calls.prefix.startswith(self.reserved):
            raise ValueError(f"the prefix '{self.calls.prefix}' of tool calls has to start with a reserved token")
        for marks in (*self.turns.values(), self.tools, self.calls):
            if not marks.prefix.endswith((*self.reserved, *(["\n"] if self.trim else []))):
                raise ValueError(
                    f"the prefix '{marks.prefix}' has to end with a reserved token (trimming: or a line end)"
                )
        return self

    @property
    def generation_prompt(self) -> str:
        """What stands before the text a model is to write."""
        return self.turns["assistant"].prefix

    def tokens(self) -> dict[str, str]:
        """Special tokens by the names Hugging Face gives them."""
        return {"bos_token": self.start_of_text, "eos_token": self.end_of_turn, "pad_token": self.pad}

    def pieces(self, marks: str) -> list[str]:
        """Marks cut into reserved tokens and the literal text between them, none of it empty."""
        longest_first = sorted(self.reserved, key=len, reverse=True)
        return [piece for piece in re.split(f"({'|'.join(map(re.escape, longest_first))})", marks) if piece]

    def jinja(self) -> str:
        """The template in the form Hugging Face tokenizers carry, with generation tags around what is trained."""
        tests = [f"message.role == {_quoted(role)} %}}{self._jinja_turn(role)}" for role in self.turns]
        refuse = '{{- raise_exception("no marks for role " + message.role) }}'
        return "".join(
            [
                f"{{{{- {_quoted(self.opening)} }}}}",
                f"{{%- if tools %}}{{{{- {_around(self.tools, _json('tools'))} }}}}{{%- endif %}}",
                "{%- for message in messages %}{%- if " + "{%- elif ".join(tests),
                f"{{%- else %}}{refuse}{{%- endif %}}{{%- endfor %}}",
                f"{{%- if add_generation_prompt %}}{{{{- {_quoted(self.generation_prompt)} }}}}{{%- endif %}}",
            ]
        )

    def _jinja_turn(self, role: str) -> str:
        marks = self.turns[role]
        content = self._trimmed('(message.content or "")')
        if role != "assistant":
            return f"{{{{- {_around(marks, content)} }}}}"
        calls = _around(self.calls, self._trimmed(_json("message.tool_calls")))
        body = (
            f"{{{{- {content} }}}}{{%- if message.tool_calls %}}{{{{- {calls} }}}}{{%- endif %}}"
            f"{{{{- {_quoted(self.end_of_turn)} }}}}"
        )
        rest = _quoted(marks.suffix.removeprefix(self.end_of_turn))
        return (
            f"{{{{- {_quoted(marks.prefix)} }}}}{{%- if message.weight == 0 %}}{body}"
            f"{{%- else %}}{{%- generation %}}{body}{{%- endgeneration %}}{{%- endif %}}{{{{- {rest} }}}}"
        )

    def _trimmed(self, expression: str) -> str:
        return f"({expression} | trim)" if self.trim else expression


def _json(name: str) -> str:
    """A Jinja expression for JSON text: as it is when it is text already."""
    return f"({name} if {name} is string else ({name} | tojson))"


def _around(marks: Marks, expression: str) -> str:
    return f"{_quoted(marks.prefix)} + {expression} + {_quoted(marks.suffix)}"


def _quoted(text: str) -> str:
    """A text as a Jinja string literal."""
    return '"' + text.encode("unicode_escape").decode("ascii").replace('"', '\\"') + '"'


def template(name: str) -> Template:
    """The built-in template of that name. Raises UnknownName."""
    if name not in TEMPLATES:
        raise UnknownName("template", name, TEMPLATES)
    return TEMPLATES[name]


def _didact() -> Template:
    roles = ("system", "developer", "user", "assistant", "tool")
    return Template(
        name="didact",
        reserved=("<|pad|>", "<|begin|>", "<|end|>", *(f"<|{role}|>" for role in roles), "<|tools|>", "<|call|>"),
        opening="<|begin|>",
        turns={role: Marks(prefix=f"<|{role}|>", suffix="<|end|>") for role in roles},
        tools=Marks(prefix="<|tools|>", suffix="<|end|>"),
        calls=Marks(prefix="<|call|>", suffix=""),
        end_of_turn="<|end|>",
        start_of_text="<|begin|>",
        end_of_text="<|end|>",
        pad="<|pad|>",
        trim=False,
    )


def _chatml() -> Template:
    names = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
    return Template(
        name="chatml",
        reserved=("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>"),
        opening="",
        turns={role: Marks(prefix=f"<|im_start|>{name}\n", suffix="<|im_end|>\n") for role, name in names.items()},
        tools=Marks(prefix="<|im_start|>system\n# Tools\n\n", suffix="<|im_end|>\n"),
        calls=Marks(prefix="<tool_call>\n", suffix="\n</tool_call>"),
        end_of_turn="<|im_end|>",
        start_of_text="<|endoftext|>",
        end_of_text="<|endoftext|>",
        pad="<|endoftext|>",
        trim=True,
    )


def _llama3() -> Template:
    names = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "ipython"}
    head = "<|start_header_id|>{}<|end_header_id|>\n\n"
    reserved = ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
    return Template(
        name="llama3",
        reserved=(*reserved, "<|python_tag|>", "<|finetune_right_pad_id|>"),
        opening="<|begin_of_text|>",
        turns={role: Marks(prefix=head.format(name), suffix="<|eot_id|>") for role, name in names.items()},
        tools=Marks(prefix=head.format("system") + "Tools:\n\n", suffix="<|eot_id|>"),
        calls=Marks(prefix="<|python_tag|>", suffix=""),
        end_of_turn="<|eot_id|>",
        start_of_text="<|begin_of_text|>",
        end_of_text="<|end_of_text|>",
        pad="<|finetune_right_pad_id|>",
        trim=True,
    )


TEMPLATES: dict[str, Template] = {made.name: made for made in (_didact(), _chatml(), _llama3())}
"""The built-in templates by name."""
