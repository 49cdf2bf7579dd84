"""The JSON report of a validation: its published form."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from didact.records.base import Strict

_COUNTS = "records = valid + rejected."


class LocatedFinding(Strict):
    """One finding and where it stands."""

    code: str = Field(description="Code of the catalogue; `didact codes CODE` explains it.", examples=["RO003"])
    severity: Literal["error", "warning"] = Field(
        description="An error rejects its row, a warning does not.", examples=["warning"]
    )
    path: str = Field(
        description="The file, relative to the folder that all given paths have in common.", examples=["chat.jsonl"]
    )
    line: int = Field(
        ge=0, description="Physical line at which the row begins, from 1; in columnar files its row.", examples=[12]
    )
    offset: int = Field(
        ge=0, description="Byte at which the row begins in the decompressed file, from 0.", examples=[4096]
    )
    pointer: str = Field(
        description="JSON pointer into the row or its record; empty for the whole row or file.",
        examples=["/messages/2"],
    )
    message: str = Field(description="What was found there.", examples=["the assistant speaks first"])


class FileCounts(Strict):
    """The rows and findings of one file."""

    path: str = Field(description="As in a finding.", examples=["chat.jsonl"])
    format: str = Field(description="Name of the adapter that read it.", examples=["alpaca"])
    records: int = Field(ge=0, description=f"Rows of the file that were looked at; {_COUNTS}", examples=[100])
    valid: int = Field(ge=0, description="Rows that are records without an error.", examples=[97])
    rejected: int = Field(ge=0, description="Rows that are not.", examples=[3])
    findings: dict[str, int] = Field(description="How often each code was found.", examples=[{"CO002": 3}])


class ValidationReport(Strict):
    """What `didact validate --json` prints and `--report FILE.json` writes."""

    files: list[FileCounts] = Field(
        description="Every file in reading order.",
        examples=[
            [
                {
                    "path": "chat.jsonl",
                    "format": "openai",
                    "records": 100,
                    "valid": 97,
                    "rejected": 3,
                    "findings": {"SC001": 3},
                }
            ]
        ],
    )
    records: int = Field(ge=0, description=f"Rows of all files; {_COUNTS}", examples=[100])
    valid: int = Field(ge=0, description="Valid rows of all files.", examples=[97])
    rejected: int = Field(ge=0, description="Rejected rows of all files.", examples=[3])
    findings: dict[str, int] = Field(description="How often each code was found in all files.", examples=[{"SC001": 3}])
    located: list[LocatedFinding] = Field(
        description="Of each file and code the first findings, as many as `--max-findings` says, in reading order.",
        examples=[
            [
                {
                    "code": "SC001",
                    "severity": "error",
                    "path": "chat.jsonl",
                    "line": 12,
                    "offset": 4096,
                    "pointer": "/messages",
                    "message": "no field 'messages'",
                }
            ]
        ],
    )
