"""Preferences: one prompt, several candidate answers, and which is better."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from didact.records.base import Common, Finite, Header, Rank, Strict, Text, Turn, Verbatim
from didact.records.chat import Message, is_judged, message_structure, message_texts, worded


class Candidate(Strict):
    """One answer that was judged."""

    messages: list[Message] = Field(
        min_length=1,
        description="The answer's turns.",
        examples=[[{"role": "assistant", "parts": [{"type": "text", "text": "Yes."}]}]],
    )
    score: Finite | None = Field(None, description="The judge's score, higher is better.", examples=[4.5])
    rank: Rank | None = Field(None, description="1 is best.", examples=[1])
    label: bool | None = Field(None, description="Desirable or not, for unpaired judgements.", examples=[True])


class Preference(Common):
    """Candidates for one prompt, the best first."""

    kind: Literal["preference"] = Field(
        "preference", description="Discriminates the union of records.", examples=["preference"]
    )
    prompt: list[Message] = Field(
        min_length=1,
        description="The turns before the answer.",
        examples=[[{"role": "user", "parts": [{"type": "text", "text": "Is it late?"}]}]],
    )
    candidates: list[Candidate] = Field(
        min_length=1,
        description="Judged answers, best first: chosen, then rejected.",
        examples=[[{"messages": [{"role": "assistant", "parts": [{"type": "text", "text": "Yes."}]}]}]],
    )
    tools: list[Verbatim] = Field(
        default_factory=list, description="Tool definitions; their parameters are JSON Schemas.", examples=[[]]
    )

    texts_are: ClassVar[str] = "prompt/N/M, candidates/K/N/M"

    def texts(self) -> list[Text]:
        """Words of the prompt, then of each candidate."""
        found = message_texts(self.prompt, "prompt")
        for k, candidate in enumerate(self.candidates):
            found += message_texts(candidate.messages, f"candidates/{k}")
        return found

    def put_texts(self, texts: Sequence[str]) -> None:
        """Take texts back in the order of `texts()`."""
        spoken = [self.prompt, *(candidate.messages for candidate in self.candidates)]
        parts = [part for messages in spoken for _, _, part in worded(messages, "")]
        for part, text in zip(parts, texts, strict=True):
            part.text = text

    def structure(self) -> Any:
        """Roles, calls, judgements and tools."""
        judged = [[message_structure(c.messages), c.score, c.rank, c.label] for c in self.candidates]
        return [message_structure(self.prompt), judged, self.tools]

    def holds_texts_verbatim(self) -> bool:
        """Not where steps are judged, as in a conversation."""
        spoken = [self.prompt, *(candidate.messages for candidate in self.candidates)]
        return not any(is_judged(message) for messages in spoken for message in messages)

    def dialogue(self, header: Header | None = None) -> list[Turn]:
        """The prompt and the best candidate, for fine-tuning on what was chosen; nothing when it was undesirable."""
        del header
        if self.candidates[0].label is False:
            return []
        return self.prompt_turns() + self.candidate_turns(0)

    def prompt_turns(self) -> list[Turn]:
        """The turns before the answer."""
        return [message.turn() for message in self.prompt]

    def candidate_turns(self, place: int) -> list[Turn]:
        """The turns of the candidate at a place; 0 is the best, -1 the worst."""
        return [message.turn() for message in self.candidates[place].messages]
