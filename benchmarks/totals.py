"""Counts the records of a folder with the standard library alone, and compares with what `didact validate` says.

`python -m benchmarks.totals FOLDER` prints a Markdown table and ends with 1 when a count differs. Nothing of Didact is
imported: the command is run as a user would, and its report is read.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

_OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_LISTS = ("Instances", "examples")
"""Keys under which an object that is a whole file holds its rows."""


def counted(path: Path) -> tuple[int | None, str]:
    """How many records a file holds, and what was counted; None where that is a matter of definition."""
    opener = _OPENERS.get(path.suffix, open)
    try:
        with opener(path, "rb") as file:
            content = file.read()
    except (OSError, EOFError) as error:
        return None, f"cannot be unpacked: {error}"
    name = path.name.removesuffix(path.suffix) if path.suffix in _OPENERS else path.name
    text = content.decode("utf-8-sig", "replace")
    suffix = Path(name).suffix.lower()
    if suffix in (".jsonl", ".ndjson"):
        return _filled_lines(text), "lines"
    if suffix == ".json":
        return _json_records(text)
    if suffix in (".csv", ".tsv"):
        return _sheet_rows(text, suffix)
    return None, "text, units are a matter of definition"


def _filled_lines(text: str) -> int:
    return sum(bool(line.strip(" \t\r")) for line in text.split("\n"))


def _json_records(text: str) -> tuple[int | None, str]:
    """Elements of an array, rows of an object that lists them, questions of a SQuAD file, or JSON lines."""
    if not text.strip():
        return 0, "empty"
    try:
        value = json.loads(text)
    except ValueError as error:
        lines = [line for line in text.split("\n") if line.strip()]
        if all(line.lstrip().startswith("{") for line in lines):
            return len(lines), "lines"
        return None, f"not valid JSON: {error}"
    if isinstance(value, list):
        return len(value), "elements"
    for key in _LISTS:
        if isinstance(value, dict) and isinstance(value.get(key), list):
            return len(value[key]), f"elements of '{key}'"
    questions = _questions(value)
    return (questions, "questions") if questions else (1, "one object")


def _questions(value: Any) -> int:
    """Questions of a file in SQuAD's form; 0 when it is none."""
    articles = value.get("data") if isinstance(value, dict) else None
    if not isinstance(articles, list) or not all(isinstance(one, dict) and "paragraphs" in one for one in articles):
        return 0
    return sum(len(paragraph["qas"]) for article in articles for paragraph in article["paragraphs"])


def _sheet_rows(text: str, suffix: str) -> tuple[int, str]:
    csv.field_size_limit(sys.maxsize)
    if suffix == ".csv":
        rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
        return max(0, len(rows) - 1), "rows after the header"
    return max(0, _filled_lines(text) - 1), "lines after the header"


def reported(folder: Path) -> dict[str, dict[str, Any]]:
    """What `didact validate` says of each file, by relative path."""
    with tempfile.TemporaryDirectory() as aside:
        report = Path(aside) / "report.json"
        command = [sys.executable, "-c", "from didact.cli import main; main()", "validate", str(folder)]
        done = subprocess.run([*command, "--report", str(report)], check=False, capture_output=True, text=True)
        if done.returncode not in (0, 1):
            raise click.ClickException(done.stderr.strip())
        files = json.loads(report.read_bytes())["files"]
    return {file["path"]: file for file in files}


def _line(path: str, said: dict[str, Any], count: int | None, what: str) -> str:
    codes = ", ".join(f"{code} {number}" for code, number in said["findings"].items())
    verdict = "n/a" if count is None else "yes" if count == said["records"] else "**NO**"
    told = [path, said["format"] or "none", said["records"], said["valid"], said["rejected"], codes]
    cells = map(str, [*told, "" if count is None else count, what, verdict])
    return f"| {' | '.join(cell.replace('|', '/').replace(chr(10), ' ') for cell in cells)} |"


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
def main(folder: Path) -> None:
    """Compare Didact's totals of the files in FOLDER with an independent count."""
    files = reported(folder)
    counts = {path: counted(folder / path) for path in files}
    click.echo("| file | format | records | valid | rejected | codes | counted | what | equal |")
    click.echo("| --- | --- | ---: | ---: | ---: | --- | ---: | --- | --- |")
    for path, said in files.items():
        click.echo(_line(path, said, *counts[path]))
    wrong = [path for path, said in files.items() if counts[path][0] not in (None, said["records"])]
    unaccounted = [path for path, said in files.items() if said["records"] != said["valid"] + said["rejected"]]
    told = sum(counts[path][0] is not None for path in files)
    click.echo(f"\n{len(files)} files, {told} counted, {len(wrong)} differ, {len(unaccounted)} with records lost")
    sys.exit(1 if wrong or unaccounted else 0)


if __name__ == "__main__":
    main()
