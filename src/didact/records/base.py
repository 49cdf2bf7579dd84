"""What all records share: the common fields, where a record came from, and its texts handed out and taken back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, NamedTuple, NotRequired, Self, TypedDict

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from didact.canonical import canonical_json, content_hash

Role = Literal["system", "user", "assistant", "tool", "text"]
"""Who speaks a text. `text` is plain text that nobody speaks."""

ROLES: tuple[Role, ...] = ("system", "user", "assistant", "tool", "text")


class Text(NamedTuple):
    """One text of a record: the field it stands in (a JSON pointer without its first slash), its role, and the text."""

    field: str
    role: Role
    text: str


class Turn(TypedDict):
    """One message of a dialogue as the renderer and Hugging Face's conversational format read it."""

    role: str
    content: str
    weight: NotRequired[float]
    name: NotRequired[str]
    tool_calls: NotRequired[str]
    tool_call_id: NotRequired[str]


class Strict(BaseModel):
    """A model that refuses keys it does not know."""

    model_config = ConfigDict(extra="forbid")


class Origin(Strict):
    """What the author's row held beyond the record, so that nothing is lost."""

    format: str = Field(description="Name of the adapter that read the row, such as `alpaca`.", examples=["alpaca"])
    key: str | None = Field(None, description="The author's own identifier of the row.", examples=["seed_task_0"])
    extra: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="Every key of the row that the record has no field for, verbatim.",
        examples=[{"most_similar": 0.4}],
    )
    spelt: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="Values of the row that the record holds in another form, such as a number that stood for text, by "
        "JSON pointer without its first slash.",
        examples=[{"input": "<noinput>", "conversations/0/from": "gpt"}],
    )
    absent: list[str] = Field(
        default_factory=list,
        description="Optional fields of the format that the row did not have; the record holds an empty text there.",
        examples=[["input"]],
    )
    null: list[str] = Field(
        default_factory=list,
        description="Fields that were `null` in the row; the record holds an empty text there.",
        examples=[["input"]],
    )
    row: str | None = Field(
        None,
        description="The author's row as JSON text, when the reader was asked to keep it; never in a version.",
        examples=['{"instruction": "Sort.", "output": "1 2 3"}'],
    )


class Common(Strict):
    """The fields every kind of record has."""

    kind: str
    id: str = Field(
        "",
        pattern=r"^([0-9a-f]{32})?$",
        examples=["0f8fad5bd9cb469fa16570867728950e"],
        description="128-bit hash of the content as ingested (kind, texts with field and role, structure; no "
        "metadata), 32 hex digits.",
    )
    source: str = Field("", description="Name of the recipe's source the record came from.", examples=["alpaca"])
    license: str | None = Field(
        None, description="SPDX expression of the licence; null when nobody stated one.", examples=["CC-BY-4.0"]
    )
    language: str | None = Field(
        None, description="BCP 47 tag of the main language, when known.", examples=["en", "zh"]
    )
    split: str | None = Field(
        None, description="The split the author put the record in, when stated.", examples=["train"]
    )
    group: str | None = Field(None, description="Records of one group never part in a split.", examples=["passage-17"])
    task: str | None = Field(None, description="Name of the task the record belongs to.", examples=["word_sorting"])
    tags: list[str] = Field(
        default_factory=list, description="Free labels, such as the author's categories.", examples=[["open_qa"]]
    )
    header: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{32}$",
        examples=["7c9e6679742540de944be07fc1f90ae7"],
        description="Id of the header that holds what the file says once for all its records (a task's definition and "
        "examples, a canary).",
    )
    origin: Origin | None = Field(
        None, description="What the author's row held beyond this record.", examples=[{"format": "alpaca"}]
    )

    texts_are: ClassVar[str] = ""
    """One line on which fields hand out texts, for the schema page."""

    def texts(self) -> list[Text]:
        """The record's own texts in reading order; `with_texts` takes the same number back."""
        raise TypeError(f"{type(self).__name__} is not a kind of record")

    def put_texts(self, texts: Sequence[str]) -> None:
        """Replace the record's texts in place, in the order of `texts()`."""
        raise TypeError(f"{type(self).__name__} is not a kind of record")

    def structure(self) -> Any:
        """What besides the texts makes the record what it is (labels, tools, calls); part of its id."""
        return None

    def dialogue(self, header: Header | None = None) -> list[Turn]:
        """The record as messages. Plain text and records that are no dialogue give an empty list."""
        del header
        return []

    def assign(self, **values: Any) -> None:
        """Set fields to values that are known to be valid; pydantic's own assignment takes a microsecond for each."""
        self.__dict__.update(values)

    def with_texts(self, texts: Sequence[str]) -> Self:
        """A copy with other texts. Raises ValueError when their number differs.

        >>> from didact.records import PlainText
        >>> PlainText(text="a").with_texts(["b"]).text
        'b'
        """
        expected = len(self.texts())
        if len(texts) != expected:
            raise ValueError(f"{self.kind} record {self.id or '(no id)'} has {expected} texts, got {len(texts)}")
        copy = self.model_copy(deep=True)
        copy.put_texts(texts)
        return copy

    def content_id(self, texts: Sequence[Text] | None = None) -> str:
        """The id this content has: equal contents have equal ids, whatever their metadata.

        `texts` are the record's texts, for callers that have them at hand.
        """
        given = self.texts() if texts is None else texts
        return content_hash([self.kind, [[*text] for text in given], self.structure(), self.header])

    def canonical(self) -> bytes:
        """Canonical JSON: sorted keys, defaults left out, `kind` always there."""
        content = self.model_dump(exclude_defaults=True)
        content["kind"] = self.kind
        return canonical_json(content)


class Example(Strict):
    """A worked example inside a task's definition."""

    input: str = Field(description="What the example asks.", examples=["Sort: 3 1 2"])
    outputs: list[str] = Field(
        description="Right answers (positive example) or wrong ones (negative example).", examples=[["1 2 3"]]
    )
    explanation: str | None = Field(
        None, description="Why the outputs are right or wrong.", examples=["Smallest first."]
    )


class Header(Strict):
    """What a file says once for all its records; records refer to it by id instead of copying it."""

    id: str = Field(
        "",
        pattern=r"^([0-9a-f]{32})?$",
        description="Hash of the header's content, 32 hex digits.",
        examples=["7c9e6679742540de944be07fc1f90ae7"],
    )
    task: str | None = Field(None, description="Name of the task.", examples=["task001_sorting"])
    definition: list[str] = Field(
        default_factory=list,
        description="What to do, in one or several wordings; the first is rendered.",
        examples=[["Sort the numbers."]],
    )
    positive_examples: list[Example] = Field(
        default_factory=list, description="Right examples.", examples=[[{"input": "2 1", "outputs": ["1 2"]}]]
    )
    negative_examples: list[Example] = Field(
        default_factory=list, description="Wrong examples, with why.", examples=[[{"input": "2 1", "outputs": ["2 1"]}]]
    )
    categories: list[str] = Field(default_factory=list, description="The author's categories.", examples=[["Sorting"]])
    canary: str | None = Field(
        None, description="Canary string that marks benchmark data; never dropped.", examples=["canary GUID ..."]
    )
    extra: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="Every other top-level key of the file, verbatim.",
        examples=[{"Source": ["handmade"]}],
    )

    def with_id(self) -> Header:
        """The header under the id its content has."""
        content = self.model_dump(exclude_defaults=True, exclude={"id"})
        return self.model_copy(update={"id": content_hash(content)})
