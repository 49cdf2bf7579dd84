"""A task instance: what to do, on what, and the right outputs."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from didact.records.base import Common, Header, Text, Turn, besides_texts, text_of


class Task(Common):
    """One instance of a task; a definition shared by a whole file lives in its header."""

    kind: Literal["task"] = Field("task", description="Discriminates the union of records.", examples=["task"])
    definition: str | None = Field(
        None,
        description="What to do, when the row says it itself; a file's shared definition is in the header.",
        examples=["Sort the numbers."],
    )
    input: str = Field("", description="What to do it on; empty when the definition says all.", examples=["3 1 2"])
    outputs: list[str] = Field(
        min_length=1, description="Accepted outputs, the first is trained on.", examples=[["1 2 3"]]
    )
    choices: list[str] = Field(
        default_factory=list,
        description="The outputs to choose from, when the task has a fixed set.",
        examples=[["yes", "no"]],
    )

    texts_are: ClassVar[str] = "definition, input, choices/N, outputs/N"

    def texts(self) -> list[Text]:
        """Definition, input and choices are the user's; outputs the assistant's."""
        found = [] if self.definition is None else [text_of(("definition", "user", self.definition))]
        found.append(text_of(("input", "user", self.input)))
        for i, choice in enumerate(self.choices):
            found.append(text_of((f"choices/{i}", "user", choice)))
        if len(self.outputs) == 1:  # nearly always; this runs several times for every record
            found.append(text_of(("outputs/0", "assistant", self.outputs[0])))
            return found
        return found + [text_of((f"outputs/{i}", "assistant", output)) for i, output in enumerate(self.outputs)]

    def put_texts(self, texts: Sequence[str]) -> None:
        """Take texts back in the order of `texts()`."""
        rest = iter(texts)
        definition = None if self.definition is None else next(rest)
        own = next(rest)
        choices = [next(rest) for _ in self.choices]
        self.assign(definition=definition, input=own, choices=choices, outputs=list(rest))

    def outline(self) -> Hashable | None:
        """All but the texts."""
        return self._outline(_REST)

    def structure(self) -> Any:
        """Nothing: fields and texts say all."""
        return None

    def dialogue(self, header: Header | None = None) -> list[Turn]:
        """One turn with definition, input and choices, and one with the first output."""
        shared = header.definition[0] if header and header.definition else ""
        asked = [part for part in (shared, self.definition, self.input, "\n".join(self.choices)) if part]
        return [{"role": "user", "content": "\n\n".join(asked)}, {"role": "assistant", "content": self.outputs[0]}]


_REST = besides_texts(Task, "definition", "input", "outputs", "choices")
