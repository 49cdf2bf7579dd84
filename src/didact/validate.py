"""Validate: read every row of some files, and tell what is wrong with which."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from didact.engine.local import without_cycle_collector
from didact.recipe.sources import Source
from didact.records.findings import CODES, Finding
from didact.report.progress import Listener, Silent
from didact.sources.blocks import SourceFile
from didact.sources.excerpts import with_excerpts
from didact.sources.given import given_source
from didact.sources.memory import ROWS, as_paths
from didact.sources.read import plan_source, read_block, source_blocks
from didact.sources.spool import Spool
from didact.text.shown import spelt_path

_BLOCK_BYTES = 4 << 20


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


def validate(
    given: Any,
    format: str = "auto",
    *,
    query: str | None = None,
    columns: dict[str, str] | None = None,
    limit: int | None = None,
    where: dict[str, Any] | None = None,
    max_findings: int = 2,
    name: str = ROWS,
    tell: Listener | None = None,
) -> Report:
    """Check every row of files, folders or globs, or of rows in memory; in bounded memory.

    given, query, name: as for `read`.
    columns, limit, where: as for a recipe's source; rows that they leave out are not counted.
    max_findings: located findings kept per file and code; all are counted.
    Raises InputMissing for a path that is not there, CallError when a file's format cannot be told.
    """
    listener = tell if tell is not None else Silent()
    with Spool() as spool:
        paths = as_paths(given, spool, name)
        source = given_source(paths, format=format, query=query, columns=columns, limit=limit, where=where)
        files = plan_source("validate", source, Path.cwd(), spool)
        listener.stage("validate")
        report = Report([FileVerdict(file.relative, file.format) for file in files], root=_root(files))
        with without_cycle_collector():
            _check_all(report, files, source, max_findings, listener)
    return report


def _root(files: Sequence[SourceFile]) -> str:
    """The folder that the files' paths are relative to, from the current one."""
    parts = len(Path(files[0].relative).parts)
    return os.path.relpath(files[0].path.parents[parts - 1])


def _check_all(report: Report, files: Sequence[SourceFile], source: Source, max_findings: int, tell: Listener) -> None:
    verdicts = {file.relative: verdict for file, verdict in zip(files, report.files, strict=True)}
    done = 0
    for file, found in source_blocks(files, source, _BLOCK_BYTES):
        verdict = verdicts[file.relative]
        if isinstance(found, Finding):
            report.located += _note(verdict, [found], max_findings)
            lost = int(CODES[found.code].row)
            verdict.records += lost
            verdict.rejected += lost
            continue
        done += _check(report, verdict, file, found, source, max_findings)
        tell.advance(done, None, "rows")


def _check(report: Report, verdict: FileVerdict, file: SourceFile, block: Any, source: Source, most: int) -> int:
    """Check the rows of one block; how many there were."""
    read = read_block(block, file, source)
    verdict.records += read.rows - read.unselected
    verdict.valid += len(read.records)
    verdict.rejected += len(read.rejected)
    report.located += with_excerpts(_note(verdict, read.findings, most), block, file, source)
    return read.rows


def _note(verdict: FileVerdict, findings: Sequence[Finding], most: int) -> list[Finding]:
    """Count findings; those of them that are kept."""
    kept = []
    for finding in findings:
        if verdict.findings[finding.code] < most:
            kept.append(finding)
        verdict.findings[finding.code] += 1
    return kept
