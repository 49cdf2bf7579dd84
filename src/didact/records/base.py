"""What all records share: the common fields, where a record came from, and its texts handed out and taken back."""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from operator import itemgetter
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, NotRequired, Self, TypedDict, TypeVar, cast

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, ValidationInfo

from didact.canonical import canonical_json, content_hash

Role = Literal["system", "user", "assistant", "tool", "text"]
"""Who speaks a text. `text` is plain text that nobody speaks."""

ROLES: tuple[Role, ...] = ("system", "user", "assistant", "tool", "text")


class Text(NamedTuple):
    """One text of a record: the field it stands in (a JSON pointer without its first slash), its role, and the text."""

    field: str
    role: Role
    text: str


text_of: Callable[[tuple[str, Role, str]], Text] = partial(tuple.__new__, Text)
"""A text of the tuple of its parts, in a third of the time; texts are made several times for every record."""


class Turn(TypedDict):
    """One message of a dialogue as the renderer and Hugging Face's conversational format read it."""

    role: str
    content: str
    weight: NotRequired[float]
    name: NotRequired[str]
    tool_calls: NotRequired[str]
    tool_call_id: NotRequired[str]


def _whole(value: Any) -> Any:
    """1.0 as 1: to JSON Schema they are the same integer."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Offset = Annotated[int, Field(ge=0, le=2**53), BeforeValidator(_whole)]
"""A whole number from 0 to 2^53, up to which every reader of JSON is exact."""
Rank = Annotated[int, Field(ge=1, le=2**53), BeforeValidator(_whole)]
"""A whole number from 1 to 2^53."""
Finite = Annotated[float, Field(ge=-1e308, le=1e308, allow_inf_nan=False)]
"""A number that is one: `1e400` is valid JSON and infinite in every reader that uses doubles."""
Weight = Annotated[float, Field(ge=0, le=1e308, allow_inf_nan=False)]
"""A finite number from 0."""


_LARGEST = sys.float_info.max


def _has_number_without_value(value: Any) -> bool:
    if isinstance(value, int | float):
        return not -_LARGEST <= value <= _LARGEST
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(map(_has_number_without_value, inner))


def _spellable(value: JsonValue, info: ValidationInfo) -> JsonValue:
    """Refuse what no double can hold in JSON text. Rows of files were parsed before and cannot hold it."""
    if info.mode == "json" and _has_number_without_value(value):
        raise ValueError("NaN, infinities and numbers beyond 1.8e308 are no JSON values")
    return value


Verbatim = Annotated[dict[str, JsonValue], AfterValidator(_spellable)]
"""An object as its author wrote it."""


class Strict(BaseModel):
    """A model that refuses keys it does not know and values of another type, as its published JSON Schema does."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @classmethod
    def made(cls, **values: Any) -> Self:
        """The model of values that were checked already, field by field, by who made them; half the time.

        Equal to the validated one when every required field is given and every value is what validation would give.
        """
        blank, fresh = _BLANKS.get(cls) or _blank(cls)
        content = {**blank, **values}
        for name, make in fresh:
            if name not in values:
                content[name] = make()
        return assembled(cls, content, set(values))


Made = TypeVar("Made", bound=Strict)
_NEW = object.__new__
_SETTERS = tuple(
    vars(BaseModel)[name].__set__
    for name in ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")
)
"""What pydantic itself does to a model that it makes, without a look-up of the name each time."""
_PUT_CONTENT, _PUT_NAMES, _PUT_EXTRA, _PUT_PRIVATE = _SETTERS


def assembled(kind: type[Made], content: dict[str, Any], given: set[str]) -> Made:
    """The model of that content, every field in its order; see `made`. given: the fields that are no defaults."""
    model = _NEW(kind)
    _PUT_CONTENT(model, content)
    _PUT_NAMES(model, given)
    _PUT_EXTRA(model, None)
    _PUT_PRIVATE(model, None)
    return model


def always_spells(name: str) -> Callable[[dict[str, Any]], None]:
    """For a model's JSON Schema: a key that Python code may leave out and that JSON must have."""

    def require(schema: dict[str, Any]) -> None:
        schema["required"] = sorted({name, *schema.get("required", ())})

    return require


_Blank = tuple[dict[str, Any], tuple[tuple[str, Callable[[], Any]], ...]]
"""A model's fields in order with their defaults, and the factories of those that need a new value each time."""
_BLANKS: dict[type[BaseModel], _Blank] = {}


def _blank(model: type[BaseModel]) -> _Blank:
    fields = model.model_fields
    fresh = tuple(
        (name, cast("Callable[[], Any]", field.default_factory))
        for name, field in fields.items()
        if field.default_factory is not None
    )
    blank = {name: None if field.is_required() else field.default for name, field in fields.items()}
    _BLANKS[model] = blank, fresh
    return blank, fresh


class Origin(Strict):
    """What the author's row held beyond the record, so that nothing is lost."""

    format: str = Field(description="Name of the adapter that read the row, such as `alpaca`.", examples=["alpaca"])
    key: str | None = Field(None, description="The author's own identifier of the row.", examples=["seed_task_0"])
    extra: Verbatim = Field(
        default_factory=dict,
        description="Every key of the row that the record has no field for, verbatim.",
        examples=[{"most_similar": 0.4}],
    )
    spelt: Verbatim = Field(
        default_factory=dict,
        description="Values of the row that the record holds in another form, such as a number that stood for text, by "
        "JSON pointer without its first slash; of long values only how they were spelt, such as the tags of a thought "
        "or the keys of a layout.",
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

    @classmethod
    def bare(cls, format_name: str) -> Self:
        """Of a row that the record holds whole, as most are."""
        content: dict[str, Any] = {"format": format_name, "key": None, "extra": {}, "spelt": {}}
        content |= {"absent": [], "null": [], "row": None}
        return assembled(cls, content, {"format"})


class Common(Strict):
    """The fields every kind of record has."""

    model_config = ConfigDict(json_schema_extra=always_spells("kind"))

    kind: str
    id: str = Field(
        "",
        pattern=r"^([0-9a-f]{32})?$",
        max_length=32,
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
        max_length=32,
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

    def outline(self) -> Hashable | None:
        """What its canonical JSON says beside its id and its texts, whose fields and roles say the rest; None where
        that is not told at a glance.
        """
        return None

    def _outline(self, rest: Callable[[dict[str, Any]], Hashable]) -> Hashable | None:
        """The outline where nothing was kept verbatim. rest: what `besides_texts` gave."""
        origin = self.origin
        if self.tags or (origin is not None and (origin.extra or origin.spelt or origin.key or origin.row)):
            return None
        named = None if origin is None else (origin.format, *origin.absent, None, *origin.null)
        return rest(self.__dict__), named

    def holds_texts_verbatim(self) -> bool:
        """Whether its dialogue holds its texts as they are, whatever they say; JSON always does."""
        return True

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

    def content(self, texts: Sequence[Text] | None = None) -> list[Any]:
        """What its id is a hash of. `texts` are the record's texts, for callers that have them at hand."""
        given = self.texts() if texts is None else texts
        return [self.kind, [[*text] for text in given], self.structure(), self.header]

    def content_id(self, texts: Sequence[Text] | None = None) -> str:
        """The id this content has: equal contents have equal ids, whatever their metadata. texts: as in `content`."""
        return content_hash(self.content(texts))

    def canonical(self) -> bytes:
        """Canonical JSON: sorted keys, defaults left out, `kind` always there."""
        content = self.model_dump(exclude_defaults=True)
        content["kind"] = self.kind
        return canonical_json(content)


def besides_texts(kind: type[Common], *texts: str) -> Callable[[dict[str, Any]], Hashable]:
    """Of a record's fields those that are plain values and no texts. texts: the fields that hold texts alone."""
    return itemgetter(*[name for name in kind.model_fields if name not in {*texts, "id", "tags", "origin"}])


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
        max_length=32,
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
    extra: Verbatim = Field(
        default_factory=dict,
        description="Every other top-level key of the file, verbatim.",
        examples=[{"Source": ["handmade"]}],
    )

    def with_id(self) -> Header:
        """The header under the id its content has."""
        content = self.model_dump(exclude_defaults=True, exclude={"id"})
        return self.model_copy(update={"id": content_hash(content)})
