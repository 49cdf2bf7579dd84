"""Plain text: nobody speaks, it is read."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import ClassVar, Literal

from pydantic import Field

from didact.records.base import Common, Text, besides_texts, text_of


class PlainText(Common):
    """A document or a piece of one."""

    kind: Literal["text"] = Field("text", description="Discriminates the union of records.", examples=["text"])
    text: str = Field(description="The text.", examples=["It was a dark night."])
    title: str | None = Field(None, description="Its title.", examples=["Night"])

    texts_are: ClassVar[str] = "title, text"

    def texts(self) -> list[Text]:
        """Title, if any, and text."""
        found = [] if self.title is None else [text_of(("title", "text", self.title))]
        return [*found, text_of(("text", "text", self.text))]

    def outline(self) -> Hashable | None:
        """All but the texts."""
        return self._outline(_REST)

    def put_texts(self, texts: Sequence[str]) -> None:
        """Take texts back in the order of `texts()`."""
        self.assign(title=None if self.title is None else texts[0], text=texts[-1])


_REST = besides_texts(PlainText, "text", "title")
