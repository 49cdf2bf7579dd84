"""Question and answer: with a passage to read, with choices to pick from, or free."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from didact.records.base import Common, Header, Offset, Strict, Text, Turn, besides_texts, text_of


class Choice(Strict):
    """One option of a multiple-choice question."""

    label: str = Field(description="How the option is named, such as A.", examples=["A"])
    text: str = Field(description="The option itself.", examples=["Paris"])


class Answer(Strict):
    """One accepted answer."""

    text: str = Field(
        description="The answer; for a multiple-choice question, the label of the right choice.", examples=["42"]
    )
    start: Offset | None = Field(
        None, description="Where the answer begins in the context, in characters.", examples=[17]
    )


class QA(Common):
    """A question with its accepted answers."""

    kind: Literal["qa"] = Field("qa", description="Discriminates the union of records.", examples=["qa"])
    question: str = Field(description="What is asked.", examples=["What is six times seven?"])
    context: str | None = Field(
        None, description="The passage the question is about.", examples=["Seven rows of six chairs."]
    )
    choices: list[Choice] = Field(
        default_factory=list,
        description="Options to pick from; empty for a free question.",
        examples=[[{"label": "A", "text": "42"}]],
    )
    answers: list[Answer] = Field(
        default_factory=list,
        description="Accepted answers, the first is trained on; empty only when not answerable.",
        examples=[[{"text": "42"}]],
    )
    answerable: bool = Field(
        True, description="False when the author says that the context does not answer the question.", examples=[True]
    )
    final_answer: str | None = Field(
        None,
        description="The short answer inside a worked one, as GSM8K marks it after `####`; derived from the answer's "
        "text.",
        examples=["42"],
    )
    rationale: str | None = Field(
        None,
        description="The reasoning that leads to the answer, where the format keeps it apart.",
        examples=["6 * 7 = 42."],
    )

    texts_are: ClassVar[str] = "context, question, choices/N/text, rationale, answers/N/text"

    def texts(self) -> list[Text]:
        """Context, question and choices are the user's; rationale and answers the assistant's."""
        found = [] if self.context is None else [text_of(("context", "user", self.context))]
        found.append(text_of(("question", "user", self.question)))
        found += [text_of((f"choices/{i}", "user", choice.text)) for i, choice in enumerate(self.choices)]
        if self.rationale is not None:
            found.append(text_of(("rationale", "assistant", self.rationale)))
        return found + [text_of((f"answers/{i}", "assistant", answer.text)) for i, answer in enumerate(self.answers)]

    def put_texts(self, texts: Sequence[str]) -> None:
        """Take texts back in the order of `texts()`."""
        rest = iter(texts)
        context = None if self.context is None else next(rest)
        self.assign(context=context, question=next(rest))
        for choice in self.choices:
            choice.text = next(rest)
        self.assign(rationale=None if self.rationale is None else next(rest))
        for answer in self.answers:
            answer.text = next(rest)

    def outline(self) -> Hashable | None:
        """All but the texts; labels of choices and places of answers are not told at a glance."""
        if self.choices or any(answer.start is not None for answer in self.answers):
            return None
        return self._outline(_REST)

    def structure(self) -> Any:
        """Labels of the choices and whether there is an answer."""
        if not self.choices and self.answerable:
            return None
        return [[choice.label for choice in self.choices], self.answerable]

    def dialogue(self, header: Header | None = None) -> list[Turn]:
        """One turn that asks and one that answers; an unanswerable question has no second turn."""
        definition = header.definition[:1] if header else []
        options = "\n".join(f"{choice.label}. {choice.text}" for choice in self.choices)
        asked = [part for part in (*definition, self.context, self.question, options) if part]
        turns: list[Turn] = [{"role": "user", "content": "\n\n".join(asked)}]
        if self.answers:
            answered = [part for part in (self.rationale, self.answers[0].text) if part]
            turns.append({"role": "assistant", "content": "\n".join(answered)})
        return turns


_REST = besides_texts(QA, "question", "context", "choices", "answers", "rationale")
