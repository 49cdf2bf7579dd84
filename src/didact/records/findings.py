"""Findings: coded, located statements about rows and files, and the catalogue of the codes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Code:
    """One entry of the catalogue. An error rejects its row; a warning is counted and the row is kept."""

    code: str
    severity: Severity
    title: str
    about: str
    """What it means and what to do, for `didact codes CODE`."""
    row: bool = True
    """False for statements about a whole file, which cost no row."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A code at a place: file, row index, physical line (1-based), byte offset in the decompressed file, JSON pointer
    in the row.
    """

    code: str
    path: str
    index: int
    line: int
    offset: int
    pointer: str
    message: str
    excerpt: str = ""
    """What stands there, shortened and without control characters; only findings that a report keeps have it."""

    @property
    def severity(self) -> Severity:
        """Error or warning, as the catalogue says."""
        return CODES[self.code].severity

    def __str__(self) -> str:
        where = f" at {self.pointer}" if self.pointer else ""
        return f"{self.path}:{self.line}: {self.code} {self.severity}{where}: {self.message}"


_CATALOGUE = (
    Code(
        "IO001",
        "warning",
        "empty file",
        "The file holds no row at all. Often a failed download; the build goes on with the other files.",
        row=False,
    ),
    Code(
        "IO002",
        "error",
        "not UTF-8",
        "The row's bytes are not valid UTF-8. Convert the file's encoding; the other rows are read.",
    ),
    Code(
        "IO003",
        "warning",
        "byte order mark",
        "The file starts with a UTF-8 byte order mark, which is skipped.",
        row=False,
    ),
    Code(
        "IO004",
        "error",
        "damaged compression",
        "The compressed stream ends early or is corrupt. Rows before the place are read; what follows is lost and "
        "counts as one row.",
    ),
    Code(
        "JS001",
        "error",
        "not valid JSON",
        "The row, or the span of an array between two readable elements, is not valid JSON.",
    ),
    Code("JS002", "error", "not an object", "The row is valid JSON but no object, so it has no fields."),
    Code(
        "JS003",
        "warning",
        "broken array",
        "Between the elements of a JSON array stands what should not, such as a comma before the closing bracket. No "
        "element is lost by it.",
        row=False,
    ),
    Code(
        "JS007", "error", "oversize row", "The row is longer than the limit (32 MiB unless set) and is skipped unread."
    ),
    Code("CS001", "error", "wrong number of cells", "A CSV or TSV row has more or fewer cells than the header."),
    Code("SC001", "error", "missing field", "A field the format requires is absent from the row."),
    Code("SC002", "error", "wrong type", "A field holds a value of a type the format does not allow there."),
    Code(
        "SC003",
        "warning",
        "number for text",
        "A number or boolean stands where text belongs; it is read as its spelling.",
    ),
    Code("SC006", "error", "shape of another format", "The row lacks the shape of the format its file was read as."),
    Code("RO001", "error", "unknown role", "A message's speaker is none that the format knows."),
    Code(
        "RO002",
        "warning",
        "turns do not alternate",
        "Two neighbouring messages come from the same side of the conversation.",
    ),
    Code(
        "RO003", "warning", "starts with the assistant", "The first message after the system prompt is the assistant's."
    ),
    Code(
        "RO004",
        "warning",
        "ends with the user",
        "The last message is not the assistant's; nothing after it is trained on.",
    ),
    Code("RO005", "error", "no assistant turn", "No message is the assistant's, so there is nothing to learn."),
    Code("RO006", "warning", "system message not first", "A system message stands inside the conversation."),
    Code("CO001", "warning", "empty prompt", "All the user's texts are empty."),
    Code(
        "CO002",
        "warning",
        "empty response",
        "The text to learn is empty. Filter it with `response.words`, or correct it.",
    ),
    Code("CO003", "warning", "placeholder input", "The input is a spelling of `no input`, read as an empty text."),
    Code("QA001", "error", "no answer", "The question is not marked as unanswerable, yet has no answer."),
    Code("QA002", "error", "key is no choice", "The answer names a choice that is not there."),
    Code("TK001", "error", "no instance", "The task file defines a task without an instance."),
    Code("PR001", "warning", "identical pair", "Chosen and rejected answers are the same text."),
    Code(
        "MM001",
        "warning",
        "media part",
        "The row refers to a picture or sound; the reference is carried, not trained on.",
    ),
    Code("UN003", "error", "lone surrogate", "A text holds half of a surrogate pair, which is not valid Unicode."),
)

CODES: dict[str, Code] = {code.code: code for code in _CATALOGUE}
"""The catalogue by code."""
