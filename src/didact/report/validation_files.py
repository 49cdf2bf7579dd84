"""Validation reports as files: JSON, SARIF or a web page, as the file's name says."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from didact.durable import write_atomic, write_json
from didact.errors import CallError
from didact.report.sarif import published_documentation, sarif_log
from didact.report.validation_page import validation_page

if TYPE_CHECKING:
    from didact.validate import Report

SUFFIXES = (".json", ".sarif", ".html")


def require_writable(path: Path, inputs: Iterable[Path]) -> None:
    """Raises CallError when a report cannot be written there: before hours of work, not after."""
    if path.suffix.lower() not in SUFFIXES:
        raise CallError(f"{path}: a report's name ends in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
    if not path.absolute().parent.is_dir():
        raise CallError(f"{path}: the folder {path.parent} is not there; create it first")
    if path.is_dir():
        raise CallError(f"{path}: is a folder; name a file for the report")
    if path.exists() and any(path.samefile(given) for given in inputs):
        raise CallError(f"{path}: is one of the files to validate; write the report elsewhere")


def write_report(path: Path, report: Report) -> None:
    """Write a report, whole or not at all. Raises StoreError when the disk refuses."""
    suffix = path.suffix.lower()
    if suffix == ".html":
        write_atomic(path, validation_page(report).encode())
    else:
        write_json(path, sarif_log(report, published_documentation()) if suffix == ".sarif" else report.as_json())
