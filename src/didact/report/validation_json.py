"""The JSON report of a validation: its published form."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from didact.records.base import Strict

_COUNTS = "records = valid + rejected."


class LocatedFinding(Strict):
    """One finding and where it stands."""

    code: str = Field(description="Code of the catalogue; `didact codes CODE` explains it.", examples=["RO003"])
    severity: Literal["error", "warning"] = Field(description="An error rejects its row, a warning does not.")
    path: str = Field(
        description="The file, relative to the folder that all given paths have in common.", examples=["chat.jsonl"]
    )
    line: int = Field(ge=0, description="Physical line at which the row begins, from 1; in columnar files its row.")
    offset: int = Field(ge=0, description="Byte at which the row begins in the decompressed file, from 0.")
    pointer: str = Field(description="JSON pointer into the row or its record; empty for the whole row or file.")
    message: str = Field(description="What was found there.")


class FileCounts(Strict):
    """The rows and findings of one file."""

    path: str = Field(description="As in a finding.", examples=["chat.jsonl"])
    format: str = Field(description="Name of the adapter that read it.", examples=["alpaca"])
    records: int = Field(ge=0, description=f"Rows of the file that were looked at; {_COUNTS}")
    valid: int = Field(ge=0, description="Rows that are records without an error.")
    rejected: int = Field(ge=0, description="Rows that are not.")
    findings: dict[str, int] = Field(description="How often each code was found.", examples=[{"CO002": 3}])


class ValidationReport(Strict):
    """What `didact validate --json` prints and `--report FILE.json` writes."""

    files: list[FileCounts] = Field(description="Every file in reading order.")
    records: int = Field(ge=0, description=f"Rows of all files; {_COUNTS}")
    valid: int = Field(ge=0, description="Valid rows of all files.")
    rejected: int = Field(ge=0, description="Rejected rows of all files.")
    findings: dict[str, int] = Field(description="How often each code was found in all files.")
    located: list[LocatedFinding] = Field(
        description="Of each file and code the first findings, as many as `--max-findings` says, in reading order."
    )
