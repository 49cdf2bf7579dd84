"""A validation report as SARIF 2.1.0 (OASIS), the form in which code hosts and editors show findings in place."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from importlib.metadata import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from didact.records.findings import CODES, Code, Finding
from didact.report.verdicts import by_weight
from didact.text.shown import visible

if TYPE_CHECKING:
    from didact.validate import FileVerdict, Report

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_BASE = "INPUT"
_HERE = "HERE"
_COMPRESSED = (".gz", ".zst", ".bz2", ".xz")
_FINGERPRINT = "didactFinding/v1"


def sarif_log(report: Report, documentation: str | None = None) -> dict[str, Any]:
    """The report as one SARIF run: a rule per code found, a result per located finding.

    documentation: address under which the pages of `docs/` are published, for links from rules; None: no links, as
    SARIF allows none that are relative.
    """
    codes = by_weight(report.findings)
    places = {file.path: place for place, file in enumerate(report.files)}
    rules = {code: place for place, code in enumerate(codes)}
    run = {
        "tool": {"driver": _driver(codes, documentation)},
        "originalUriBaseIds": {
            _HERE: {"description": {"text": "The folder in which didact was started."}},
            _BASE: _base(report.root),
        },
        "artifacts": [_artifact(file) for file in report.files],
        "results": _results(report, rules, places),
        "columnKind": "unicodeCodePoints",
        "properties": {"findings": dict(sorted(report.findings.items()))},
    }
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def published_documentation() -> str | None:
    """Where the package's metadata says its documentation is; None when it does not say."""
    urls = (entry.partition(", ") for entry in metadata("didact").get_all("Project-URL") or [])
    return next((url for label, _, url in urls if label.lower() == "documentation"), None)


def _driver(codes: list[str], documentation: str | None) -> dict[str, Any]:
    return {
        "name": "didact",
        "version": metadata("didact")["Version"],
        "rules": [_rule(CODES[code], documentation) for code in codes],
    }


def _rule(entry: Code, documentation: str | None) -> dict[str, Any]:
    rule = {
        "id": entry.code,
        "name": "".join(word[:1].upper() + word[1:] for word in entry.title.replace("-", " ").split()),
        "shortDescription": {"text": f"{entry.title[:1].upper()}{entry.title[1:]}."},
        "fullDescription": {"text": entry.about},
        "help": {"text": _help(entry), "markdown": _markdown(entry)},
        "defaultConfiguration": {"level": entry.severity},
        "properties": {"tags": ["data"], "page": f"docs/codes.md#{entry.code.lower()}"},
    }
    if documentation is not None:
        rule["helpUri"] = f"{documentation.rstrip('/')}/codes.md#{entry.code.lower()}"
    return rule


def _help(entry: Code) -> str:
    fix = f"`didact validate --fix` mends it ({entry.fix})." if entry.fix else "No fix is safe: look at the row."
    return f"{entry.about}\n\n{fix}\n\nExample:\n{entry.example}"


def _markdown(entry: Code) -> str:
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", entry.example)), default=0))
    told, _, example = _help(entry).partition("Example:\n")
    return f"**{entry.code}, {entry.title}** ({entry.severity}). {told}Example:\n\n{fence}\n{example}\n{fence}\n"


def _artifact(file: FileVerdict) -> dict[str, Any]:
    made: dict[str, Any] = {
        "location": _location(file.path),
        "properties": {
            "format": file.format,
            "records": file.records,
            "valid": file.valid,
            "rejected": file.rejected,
            "findings": dict(sorted(file.findings.items())),
        },
    }
    if file.path.lower().endswith(_COMPRESSED):
        made["description"] = {"text": "Lines and byte offsets are those of the decompressed file."}
    return made


def _results(report: Report, rules: dict[str, int], places: dict[str, int]) -> list[dict[str, Any]]:
    seen: Counter[str] = Counter()
    results = []
    for finding in report.located:
        identity = _identity(finding)
        results.append(_result(finding, rules, places, f"{identity}:{seen[identity]}"))
        seen[identity] += 1
    return results


def _result(finding: Finding, rules: dict[str, int], places: dict[str, int], identity: str) -> dict[str, Any]:
    region: dict[str, Any] = {"byteOffset": finding.offset}
    if finding.line > 0:
        region["startLine"] = finding.line
    made: dict[str, Any] = {
        "ruleId": finding.code,
        "ruleIndex": rules[finding.code],
        "level": finding.severity,
        "message": {"text": _plain(finding.message)},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {**_location(finding.path), "index": places[finding.path]},
                    "region": region,
                }
            }
        ],
        "partialFingerprints": {_FINGERPRINT: identity},
        "properties": {"row": finding.index, "pointer": visible(finding.pointer)},
    }
    if finding.pointer:
        logical = {"fullyQualifiedName": visible(finding.pointer), "kind": "value"}
        made["locations"][0]["logicalLocations"] = [logical]
    return made


def _identity(finding: Finding) -> str:
    """What stays the same when lines above the finding come or go."""
    # A statement about a row among others names the line of the other one.
    message = "" if CODES[finding.code].level == "set" else finding.message
    told = "\0".join((finding.code, finding.path, finding.pointer, message, finding.excerpt))
    return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _plain(message: str) -> str:
    """A message as SARIF's plain text, in which `{0}` would be a placeholder and `[text](place)` a link."""
    shown = visible(message).replace("{", "{{").replace("}", "}}")
    return shown.replace("[", "\\[").replace("]", "\\]") if "](" in shown else shown


def _location(path: str) -> dict[str, Any]:
    return {"uri": quote(os.fsencode(path), safe="/"), "uriBaseId": _BASE}


def _base(root: str) -> dict[str, Any]:
    """What paths are relative to: a folder below the one in which didact was started, else one that is not told."""
    if Path(root).parts[:1] == ("..",):
        return {"description": {"text": "The folder that all validated files have in common."}}
    uri = "./" if root == "." else f"{quote(os.fsencode(root), safe='/')}/"
    return {"uri": uri, "uriBaseId": _HERE}
