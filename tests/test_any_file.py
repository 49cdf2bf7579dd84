"""Whatever a file holds, commands answer: rows of every format, damaged, in every container."""

from __future__ import annotations

import csv
import io
import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from test_formats import DAMAGE, places_in, shown_rows, words_of_readers

from didact.cli import cli
from didact.formats.registry import adapters

_ROWS = [row for _, adapter in sorted(adapters().items()) for row in shown_rows(adapter)]
_BYTES = st.sampled_from([b"", *(bytes([byte]) for byte in b'"\\{}[],:\t\n\r\0\xff\xc3'), b"\\ud800", b"1e999", b"NaN"])


@st.composite
def _damaged(draw: st.DrawFn) -> Any:
    """A row of some format with values that do not belong there, and keys of other formats."""
    row = deepcopy(draw(st.sampled_from(_ROWS)))
    for _ in range(draw(st.integers(0, 3))):
        places = [*places_in(row)]
        if isinstance(row, dict) and draw(st.booleans()):
            row[draw(st.sampled_from(words_of_readers()))] = deepcopy(draw(st.sampled_from(DAMAGE)))
        elif places:
            inside, key = draw(st.sampled_from(places))
            inside[key] = deepcopy(draw(st.sampled_from((*DAMAGE, 2**70, "\ufeff", "a\0b"))))
    return row


def _sheet(rows: list[Any], delimiter: str) -> bytes:
    keys = list(dict.fromkeys(key for row in rows if isinstance(row, dict) for key in row))
    sheet = io.StringIO(newline="")
    writer = csv.writer(sheet, delimiter=delimiter)
    writer.writerow(keys)
    for row in rows:
        cells = [row.get(key) if isinstance(row, dict) else row for key in keys]
        writer.writerow([cell if isinstance(cell, str) else json.dumps(cell) for cell in cells])
    return sheet.getvalue().encode()


def _table(rows: list[Any]) -> bytes:
    file = io.BytesIO()
    try:
        pq.write_table(pa.Table.from_pylist([row for row in rows if isinstance(row, dict)]), file)
    except (pa.ArrowException, OverflowError):  # values of several types, or structs without fields
        pq.write_table(pa.table({"text": [json.dumps(row) for row in rows]}), file)
    return file.getvalue()


@st.composite
def _file(draw: st.DrawFn) -> tuple[str, bytes]:
    """The name and the bytes of a file, some of which are changed."""
    few = draw(st.lists(_damaged(), min_size=1, max_size=4))
    rows = [row for row in few for _ in range(draw(st.sampled_from((1, 1, 9))))]
    ending = draw(st.sampled_from(("jsonl", "jsonl", "json", "csv", "tsv", "parquet")))
    spelt = [json.dumps(row).encode() for row in rows]
    content = {
        "jsonl": lambda: b"\n".join(spelt),
        "json": lambda: b"[" + b",".join(spelt) + b"]",
        "csv": lambda: _sheet(rows, ","),
        "tsv": lambda: _sheet(rows, "\t"),
        "parquet": lambda: _table(rows),
    }[ending]()
    for _ in range(draw(st.integers(0, 2))):
        at, gone = draw(st.integers(0, len(content))), draw(st.integers(0, 1))
        content = content[:at] + draw(_BYTES) + content[at + gone :]
    return f"rows.{ending}", content


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for all examples: what one writes the next replaces."""
    return tmp_path_factory.mktemp("any")


@given(_file(), st.sampled_from([None, *sorted(adapters())]), st.sampled_from(sorted(adapters())), st.integers(0, 9**9))
def test_no_file_ends_a_command_with_a_traceback(
    home: Path, file: tuple[str, bytes], format: str | None, target: str, number: int
) -> None:
    """Validated, repaired, converted to any format or built, a file gives what was asked for or a message."""
    name, content = file
    path = home / name
    path.write_bytes(content)
    source = {"path": str(path), "license": "MIT"} | ({"format": format} if format else {})
    recipe = {"name": "any", "sources": {"a": source}, "mixes": {"finetune": {"sources": {"a": {"epochs": 1}}}}}
    (home / "recipe.yaml").write_bytes(orjson.dumps(recipe))
    named, read = (["--format", format], ["--from", format]) if format else ([], [])
    fixed, converted = home / f"fixed-{number}-{name}", home / f"converted-{number}.jsonl"
    for command in (
        ["validate", path, *named, "--fix", fixed, "--report", home / "report.html", "--workers", "1"],
        ["convert", path, converted, *read, "--to", target, "--allow-loss", "--overwrite"],
        ["build", home / "recipe.yaml", "--store", home / "store", "--workers", "1"],
    ):
        done = CliRunner().invoke(cli, [*map(str, command)], prog_name="didact")
        told = f"{command[0]} of {content!r}\n{done.output[-500:]}"
        assert done.exception is None or isinstance(done.exception, SystemExit), told
        assert done.exit_code in (0, 1, 2), told
        assert done.exit_code == 0 or done.output.strip(), told
