"""Settings of a source: a named input of a recipe."""

from __future__ import annotations

import re
from typing import Literal, Self

from pydantic import Field, JsonValue, field_validator, model_validator

from didact.recipe.quantity import Count
from didact.recipe.selection import Settings

Unit = Literal["paragraphs", "file", "line"]
COLUMNS = (
    "prompt", "response", "system", "context", "text", "question", "answer",
    "instruction", "input", "output", "messages", "chosen", "rejected",
)  # fmt: skip
"""What a column can mean whatever the format calls it; each adapter says which of them it has, and under which key."""


_DATABASE = re.compile(r"(?:sqlite|postgres(?:ql)?|mysql|mariadb|oracle|mssql|duckdb)(?:\+\w+)?://", re.IGNORECASE)
"""URLs that can be nothing but a database's."""


class Source(Settings):
    """A named input: where it is, how to read it, under which licence."""

    path: str | list[str] = Field(
        description="File, folder or glob, or a list of them, relative to the recipe. "
        "A folder means all its files, except hidden ones and, beside files of rows, README, LICENSE and the like; one "
        "written by `save_to_disk` is read as its data set. "
        "A URL that fsspec knows, such as `s3://bucket/data/*.jsonl`, is fetched; `storage` holds its options. "
        "`hf://owner/name?config=..&split=..&revision=..` is a data set of the Hugging Face hub. "
        "With `query`, the URL of a database.",
        examples=["data/alpaca_data.json.gz"],
    )
    query: str | None = Field(
        None,
        min_length=1,
        description="SQL query whose rows are read from the database at `path`, an SQLAlchemy URL. Rows come in the "
        "order of its ORDER BY, which should name a unique key; without one they are sorted by their content.",
        examples=["SELECT instruction, output FROM answers ORDER BY id"],
    )
    format: str = Field(
        "auto",
        description="Name of an adapter; `didact formats` lists them. "
        "`auto` scores all of them on the first rows of each file. A Python file, relative to the recipe, is your own: "
        "`FILE.py`, or `FILE.py:NAME` for one of several adapters in it.",
        examples=["alpaca"],
    )
    license: str | None = Field(
        None,
        description="SPDX expression of the licence; it stands in every record and in the data set card.",
        examples=["CC-BY-4.0"],
    )
    language: str | None = Field(
        None, description="BCP 47 tag of the main language, for records that do not say it themselves.", examples=["en"]
    )
    columns: dict[str, str] = Field(
        default_factory=dict,
        description="Which key of a row holds what, for rows that name their fields differently; a path such as "
        "`data/question` leads to a value inside.",
        examples=[{"prompt": "query", "response": "data/reply"}],
    )
    names: list[str] = Field(
        default_factory=list,
        max_length=1000,
        description="Names of the columns of CSV and TSV files that do not begin with them; every line is then a row.",
        examples=[["question", "answer", "rationale"]],
    )
    limit: Count | None = Field(
        None,
        ge=1,
        description="Read only the first rows, counted over the files in order and before `where`.",
        examples=[1000],
    )
    where: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="Read only rows that have these values under these keys or paths. A CSV cell equals the value it "
        "spells.",
        examples=[{"lang": "en"}],
    )
    system: str | None = Field(
        None,
        description="System prompt for records without one. Questions and tasks become conversations by it, "
        "as the prompt belongs to a conversation.",
        examples=["Answer briefly."],
    )
    unit: Unit = Field(
        "paragraphs",
        description="What one record of plain text is: "
        "paragraphs packed to at most 8,000 characters, a whole file, or a line.",
    )
    task: str | None = Field(
        None, description="Task name, for records that do not say it themselves.", examples=["sorting"]
    )
    group: str | None = Field(
        None,
        description="Key of the rows, or path in them, whose value ties records together: rows of equal value never "
        "part in a split.",
        examples=["passage_id"],
    )
    split: str | None = Field(
        None,
        description="The split under which the author published these files; "
        "kept with the records, it decides nothing.",
        examples=["train"],
    )

    @model_validator(mode="after")
    def _names_a_path(self) -> Self:
        if not self.path or (isinstance(self.path, list) and not all(self.path)):
            raise ValueError("path is empty; name a file, a folder or a glob")
        return self

    @model_validator(mode="after")
    def _queries_a_database(self) -> Self:
        paths = self.paths()
        is_url = len(paths) == 1 and re.match(r"(?!hf:)[a-z][a-z0-9_+]*://", paths[0], re.IGNORECASE) is not None
        if self.query is not None and not is_url:
            raise ValueError("query needs the URL of one database as its path, such as sqlite:///answers.db")
        if self.query is None and any(_DATABASE.match(path) for path in paths):
            raise ValueError("path is a database; say with 'query' which rows to read")
        return self

    @field_validator("columns")
    @classmethod
    def _are_generic(cls, columns: dict[str, str]) -> dict[str, str]:
        for name in columns:
            if name not in COLUMNS:
                raise ValueError(
                    f"'{name}' is none of {', '.join(COLUMNS)}; write what a column means first, then its key"
                )
        return columns

    @field_validator("names")
    @classmethod
    def _are_distinct(cls, names: list[str]) -> list[str]:
        for name in names:
            if not name or '"' in name or any(ord(character) < 32 for character in name):
                raise ValueError(f"{name!r} cannot name a column: it is empty or holds a quote or a control character")
        if len({*names}) < len(names):
            raise ValueError(f"a name stands twice in {', '.join(names)}")
        return names

    def paths(self) -> list[str]:
        """The path or paths as a list."""
        return [self.path] if isinstance(self.path, str) else list(self.path)
