"""Verdicts: what validation found, file by file."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from didact.records.findings import CODES, Finding
from didact.text.shown import spelt_path


@dataclass
class FileVerdict:
    """One file: its rows, those that became records, those that did not, and its findings by code."""

    path: str
    format: str
    records: int = 0
    valid: int = 0
    rejected: int = 0
    findings: Counter[str] = field(default_factory=Counter)

    def as_json(self) -> dict[str, Any]:
        """The verdict as plain values."""
        counts = {"records": self.records, "valid": self.valid, "rejected": self.rejected}
        return {
            "path": spelt_path(self.path),
            "format": self.format,
            **counts,
            "findings": dict(sorted(self.findings.items())),
        }


@dataclass
class Report:
    """All files, and located findings: of each file and code the first few."""

    files: list[FileVerdict] = field(default_factory=list)
    located: list[Finding] = field(default_factory=list)
    root: str = "."
    """Folder that the paths are relative to, as seen from where the call was made."""

    @property
    def findings(self) -> Counter[str]:
        """Findings of all files by code."""
        return sum((file.findings for file in self.files), Counter())

    def clean(self, strict: bool = False) -> bool:
        """Whether nothing is wrong; with `strict`, warnings are wrong too."""
        return not any(strict or CODES[code].severity == "error" for code in self.findings)

    def as_json(self) -> dict[str, Any]:
        """The report as plain values; records = valid + rejected, unreadable rows counted among the rejected."""
        totals = {name: sum(getattr(file, name) for file in self.files) for name in ("records", "valid", "rejected")}
        return {
            "files": [file.as_json() for file in self.files],
            **totals,
            "findings": dict(sorted(self.findings.items())),
            "located": [_located(finding) for finding in self.located],
        }


def _located(finding: Finding) -> dict[str, Any]:
    names = ("code", "severity", "path", "line", "offset", "pointer", "message")
    return {name: getattr(finding, name) for name in names} | {"path": spelt_path(finding.path)}
