"""Conversations: messages of typed parts, with tools, calls and results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from didact.canonical import canonical_json
from didact.records.base import Common, Header, Role, Strict, Text, Turn, Verbatim, Weight, always_spells, text_of


class _Part(Strict):
    """A part always spells its type, also where defaults are left out: the union is read by it."""

    model_config = ConfigDict(json_schema_extra=always_spells("type"))

    type: str

    @model_serializer(mode="wrap")
    def _spelled(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {"type": self.type, **serialize(self)}


class TextPart(_Part):
    """Words."""

    type: Literal["text"] = Field("text", description="Discriminates the union of parts.", examples=["text"])
    text: str = Field(description="The words.", examples=["Good morning."])
    label: bool | None = Field(
        None,
        description="Whether these words are a right step of an answer that is judged step by step; null elsewhere.",
        examples=[True],
    )


class ReasoningPart(_Part):
    """Thinking that precedes the answer."""

    type: Literal["reasoning"] = Field(
        "reasoning", description="Discriminates the union of parts.", examples=["reasoning"]
    )
    text: str = Field(description="The thinking, without its tags.", examples=["Six sevens are 42."])


class ToolCallPart(_Part):
    """The assistant asks for a tool."""

    type: Literal["tool_call"] = Field(
        "tool_call", description="Discriminates the union of parts.", examples=["tool_call"]
    )
    id: str | None = Field(None, description="Names the call, so that its result can refer to it.", examples=["call_1"])
    name: str = Field(description="The tool's name.", examples=["get_weather"])
    arguments: str = Field(
        description="The arguments as JSON text, verbatim: parsing them would merge types that differ per tool.",
        examples=['{"city": "Oslo"}'],
    )


class MediaPart(_Part):
    """A picture or sound by reference; carried along, never trained on."""

    type: Literal["media"] = Field("media", description="Discriminates the union of parts.", examples=["media"])
    uri: str = Field(description="Where the medium is.", examples=["images/cat.png"])
    mime: str | None = Field(
        None, description="Its media type, or a range such as `image/*` when no more is known.", examples=["image/png"]
    )


Part = Annotated[TextPart | ReasoningPart | ToolCallPart | MediaPart, Field(discriminator="type")]


class Message(Strict):
    """One turn of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"] = Field(
        description="Who speaks.", examples=["user"]
    )
    parts: list[Part] = Field(
        description="What is said, in order.", examples=[[{"type": "text", "text": "Good morning."}]]
    )
    name: str | None = Field(None, description="Name of the speaker or tool.", examples=["get_weather"])
    tool_call_id: str | None = Field(None, description="The call that a tool's message answers.", examples=["call_1"])
    weight: Weight | None = Field(
        None,
        description="Weight of the message's tokens in the loss; null leaves it to the role.",
        examples=[1.0],
    )

    def turn(self) -> Turn:
        """The message as the renderer reads it; reasoning stands in <think> tags before the words."""
        turn: Turn = {
            "role": "system" if self.role == "developer" else self.role,
            "content": _joined(self.parts),
        }
        calls = [part for part in self.parts if isinstance(part, ToolCallPart)]
        if calls:
            turn["tool_calls"] = canonical_json([_call(call) for call in calls]).decode()
        if self.weight is not None:
            turn["weight"] = self.weight
        elif self.parts and all(isinstance(part, MediaPart) for part in self.parts):
            turn["weight"] = 0.0  # nothing of it is rendered, and an empty turn is nothing to learn
        if self.name is not None:
            turn["name"] = self.name
        if self.tool_call_id is not None:
            turn["tool_call_id"] = self.tool_call_id
        return turn


def _joined(parts: Sequence[Part]) -> str:
    """What a message shows; each step of an answer that is judged in steps has its own lines."""
    shown = [_shown(part) for part in parts]
    steps = [isinstance(part, TextPart) and part.label is not None for part in parts]
    ended = [text + "\n" if step and not text.endswith("\n") else text for text, step in zip(shown, steps, strict=True)]
    return "".join([*ended[:-1], *shown[-1:]])


def _shown(part: TextPart | ReasoningPart | ToolCallPart | MediaPart) -> str:
    if isinstance(part, TextPart):
        return part.text
    return f"<think>\n{part.text}\n</think>\n\n" if isinstance(part, ReasoningPart) else ""


def _call(call: ToolCallPart) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"type": "function", "function": function} | ({"id": call.id} if call.id is not None else {})


def is_judged(message: Message) -> bool:
    """Whether a message is an answer that is judged step by step."""
    return any(isinstance(part, TextPart) and part.label is not None for part in message.parts)


def worded(messages: Sequence[Message], where: str) -> Iterator[tuple[str, Role, TextPart | ReasoningPart]]:
    """Every part that holds words, with its field name under `where` and its role."""
    for i, message in enumerate(messages):
        role: Role = "system" if message.role == "developer" else message.role
        for j, part in enumerate(message.parts):
            if isinstance(part, TextPart | ReasoningPart):
                yield f"{where}/{i}/{j}", role, part


def message_texts(messages: Sequence[Message], where: str) -> list[Text]:
    """The texts of messages, in order."""
    return [text_of((field, role, part.text)) for field, role, part in worded(messages, where)]


def message_structure(messages: Sequence[Message]) -> list[Any]:
    """Roles, calls, media, weights and verdicts on steps: all of a message but its words."""
    return [message.model_dump(exclude_defaults=True, exclude={"parts": {"__all__": {"text"}}}) for message in messages]


class Chat(Common):
    """A conversation, possibly with tools."""

    kind: Literal["chat"] = Field("chat", description="Discriminates the union of records.", examples=["chat"])
    messages: list[Message] = Field(
        min_length=1,
        description="The turns, oldest first.",
        examples=[[{"role": "user", "parts": [{"type": "text", "text": "Hi"}]}]],
    )
    tools: list[Verbatim] = Field(
        default_factory=list,
        description="Tool definitions; their parameters are JSON Schemas.",
        examples=[[{"type": "function", "function": {"name": "get_weather"}}]],
    )

    texts_are: ClassVar[str] = "messages/N/M for every text and reasoning part"

    def texts(self) -> list[Text]:
        """Words and reasoning of every message, by the message's role."""
        return message_texts(self.messages, "messages")

    def put_texts(self, texts: Sequence[str]) -> None:
        """Take texts back in the order of `texts()`."""
        for (_, _, part), text in zip(worded(self.messages, "messages"), texts, strict=True):
            part.text = text

    def structure(self) -> Any:
        """Roles, calls, media, weights and tools."""
        return [message_structure(self.messages), self.tools]

    def holds_texts_verbatim(self) -> bool:
        """Not where steps are judged: whether a line ends with a step hangs on its words."""
        return not any(map(is_judged, self.messages))

    def dialogue(self, header: Header | None = None) -> list[Turn]:
        """The messages as they are."""
        del header
        return [message.turn() for message in self.messages]
