"""Validation of files: the same report from any number of workers, repeats and mixtures told, no file skipped."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from killing import started_by
from small_tokenizer import small_tokenizer

from didact.errors import CallError
from didact.records.findings import CODES
from didact.render.renderer import render_dialogue
from didact.validate import Report, check, validate
from didact.validate.repeats import Repeats


def alpaca(said: str = "Name a river.", **more: Any) -> dict[str, Any]:
    """One row in the Alpaca format."""
    return {"instruction": said, "input": "", "output": "The Nile.", **more}


def sharegpt(said: str = "Hi") -> dict[str, Any]:
    """One row in the ShareGPT format."""
    return {"conversations": [{"from": "human", "value": said}, {"from": "gpt", "value": "Hello."}]}


def write_lines(path: Path, *rows: Any) -> Path:
    """Rows as JSON lines; bytes as they are."""
    path.write_bytes(b"".join((row if isinstance(row, bytes) else orjson.dumps(row)) + b"\n" for row in rows))
    return path


def messy_folder(folder: Path) -> Path:
    """Files of several containers and formats with all manner of faults, repeated rows among them."""
    rows = [alpaca(f"Count to {i % 70}.", id=i % 90) for i in range(100)]
    write_lines(folder / "lines.jsonl", *rows[:50], b"{", b"[1]", *rows[50:], b"\xff", alpaca(output=5), sharegpt())
    (folder / "array.json").write_text(json.dumps(rows[:60], indent=1) + ",]")
    (folder / "sheet.csv").write_text("instruction,input,output\n" + "a,b,c\n" * 30 + "a,b\n" + 'd,"e\nf",g\n')
    (folder / "packed.jsonl.gz").write_bytes(gzip.compress(b"\n".join(map(orjson.dumps, rows)))[:-30])
    (folder / "prose.txt").write_text("Once upon a time.\n\n" * 40)
    (folder / "odd.jsonl").write_text('{"x": 1}\n{"x": 2}\n')
    (folder / "bytes.bin").write_bytes(b"\x00\x01\x02" * 40)
    (folder / "nothing.jsonl").write_bytes(b"")
    return folder


def places(report: Report) -> list[tuple[str, int, int, str]]:
    """File, line, offset and code of each located finding."""
    return [(found.path, found.line, found.offset, found.code) for found in report.located]


@pytest.mark.parametrize("most", [0, 2, 1000])
def test_any_number_of_workers_gives_one_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Counts, located findings and their order are equal for one worker, two and four, in blocks of any size."""
    messy_folder(tmp_path)
    whole = validate(tmp_path, max_findings=most, workers=1)
    monkeypatch.setattr(check, "_BLOCK_BYTES", 700)
    reports = [validate(tmp_path, max_findings=most, workers=workers) for workers in (1, 2, 4)]
    assert reports[0] == reports[1] == reports[2]
    assert whole.files == reports[0].files and places(whole) == places(reports[0])
    numbers = {file.path: place for place, file in enumerate(whole.files)}
    assert [numbers[found.path] for found in whole.located] == sorted(numbers[found.path] for found in whole.located)
    if most == 1000:
        assert Counter(found.code for found in whole.located) == whole.findings


def test_records_are_valid_or_rejected_with_a_located_code(tmp_path: Path) -> None:
    """In every file records = valid + rejected, and each rejected one has an error at a place of its own."""
    report = validate(messy_folder(tmp_path), max_findings=10_000)
    for file in report.files:
        errors = [f for f in report.located if f.path == file.path and f.severity == "error"]
        assert file.records == file.valid + file.rejected
        assert len({found.index for found in errors}) == file.rejected, file.path
    assert {file.path: (file.records, file.rejected) for file in report.files} == {
        "array.json": (60, 0),
        "bytes.bin": (1, 1),
        "lines.jsonl": (105, 4),
        "nothing.jsonl": (0, 0),
        "odd.jsonl": (2, 2),
        "packed.jsonl.gz": (next(f.records for f in report.files if "gz" in f.path), 1),
        "prose.txt": (1, 0),
        "sheet.csv": (32, 1),
    }


def test_repeats_name_the_earlier_place(tmp_path: Path) -> None:
    """The later of two equal records is told, in any file and whatever else the rows hold, with the earlier's place."""
    write_lines(tmp_path / "a.jsonl", alpaca("One."), alpaca("Two."), b"", alpaca("One.", score=3))
    write_lines(tmp_path / "b.jsonl", alpaca("Three."), alpaca("Two."))
    report = validate(tmp_path, workers=2)
    told = [(found.path, found.line, found.message) for found in report.located]
    assert told == [
        ("a.jsonl", 4, "the same content as a.jsonl:1"),
        ("b.jsonl", 2, "the same content as a.jsonl:2"),
    ]
    assert report.findings == {"DU001": 2} and report.clean() and not report.clean(strict=True)
    assert [file.valid for file in report.files] == [3, 2]


def test_repeated_author_ids_are_told_within_a_file(tmp_path: Path) -> None:
    """An id that two rows of one file have is told; in two files, or of a task that rows share, it is nothing odd."""
    write_lines(tmp_path / "a.jsonl", alpaca("One.", id=7), alpaca("Two.", id="8"), alpaca("Three.", id=7))
    write_lines(tmp_path / "b.jsonl", alpaca("Four.", id=7), alpaca("Five.", task_id=1), alpaca("Six.", task_id=1))
    report = validate(tmp_path)
    (found,) = report.located
    assert (found.code, found.path, found.line) == ("SC007", "a.jsonl", 3)
    assert found.message == "the same id of the author as a.jsonl:1"


def test_spilled_repeats_are_those_held_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A report does not depend on whether hashes had to go to disk."""
    held = validate(messy_folder(tmp_path), max_findings=50)
    monkeypatch.setattr(check, "Repeats", partial(Repeats, 1000))
    assert held.findings["DU001"] > 100
    assert validate(tmp_path, max_findings=50) == held


def test_a_file_that_changes_its_format_is_told(tmp_path: Path) -> None:
    """Rows of another format are rejected one by one, and the file gets one warning where the first of them stands."""
    rows = [alpaca(f"Count to {i}.") for i in range(100)]
    write_lines(tmp_path / "mixed.jsonl", *rows, *(sharegpt(str(i)) for i in range(50)))
    report = validate(tmp_path / "mixed.jsonl")
    assert (report.files[0].format, report.files[0].valid, report.files[0].rejected) == ("alpaca", 100, 50)
    assert report.findings == {"SC001": 50, "JS006": 1}
    mixed = next(found for found in report.located if found.code == "JS006")
    assert mixed.line == 101 and "'sharegpt'" in mixed.message
    # With the wrong format named there is no mixture: all of the file is in another one.
    assert "JS006" not in validate(tmp_path / "mixed.jsonl", "gsm8k").findings


def test_what_training_would_not_learn_from_is_told(tmp_path: Path) -> None:
    """With a tokenizer, records without a trained token and those beyond the context are told."""
    tokenizer = small_tokenizer()
    tokenizer.save(tmp_path / "tokenizer")
    silent = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "No.", "weight": 0}]
    spoken = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes. " * 30}]
    path = write_lines(tmp_path / "a.jsonl", {"messages": spoken}, {"messages": silent})
    length = len(render_dialogue(spoken, tokenizer).ids)
    for context, codes in ((length - 1, {"RE003": 1}), (length - 2, {"RE003": 1, "RE007": 1})):
        for workers in (1, 2):
            report = validate(path, tokenizer=tmp_path / "tokenizer", context=context, workers=workers)
            told = {code: count for code, count in report.findings.items() if code.startswith("RE")}
            assert told == codes and report.files[0].valid == 2
    assert [found.line for found in report.located if found.code == "RE003"] == [2]
    asked = render_dialogue(spoken[:1], tokenizer).ids.size  # the answer begins one mark later
    for context, cut in ((asked, 1), (asked + 1, 0)):
        found = validate(path, tokenizer=tmp_path / "tokenizer", context=context).findings
        assert found["RE006"] == cut
    assert not any(code.startswith("RE") for code in validate(path).findings)
    with pytest.raises(CallError, match="name the tokenizer"):
        validate(path, context=8)


def test_rows_that_fit_no_format_are_no_mixture(tmp_path: Path) -> None:
    """A broken row is not taken for one of another format."""
    report = validate(write_lines(tmp_path / "a.jsonl", alpaca(), {"instruction": "Say nothing."}, {"x": 1}), "alpaca")
    assert report.findings == {"SC001": 2}


def test_one_file_in_no_known_format_does_not_stop_the_others(tmp_path: Path) -> None:
    """Of several files it is rejected row by row with what is wrong; alone, or with a format named, the call is."""
    odd = write_lines(tmp_path / "odd.jsonl", {"x": 1}, {"x": 2})
    good = write_lines(tmp_path / "good.jsonl", alpaca())
    page = tmp_path / "page.txt"
    page.write_bytes(b"\x7fELF\0\0 and so on\n\nmore")
    report = validate([odd, good, page])
    assert [(file.path, file.format, file.valid, file.rejected) for file in report.files] == [
        ("good.jsonl", "alpaca", 1, 0),
        ("odd.jsonl", "", 0, 2),
        ("page.txt", "", 0, 1),
    ]
    assert report.findings == {"SC006": 3} and not report.clean()
    messages = [found.message for found in report.located]
    assert messages[0].startswith("no format fits; the first row has 'x'") and "looks like binary data" in messages[2]
    with pytest.raises(CallError, match=r"'odd\.jsonl': no format fits"):
        validate(odd)
    with pytest.raises(CallError, match=r"'page\.txt': format 'alpaca' needs rows with fields"):
        validate([good, page], "alpaca")


def test_formats_that_fit_alike_are_named(tmp_path: Path) -> None:
    """A tie is no guess: the candidates are named, as a wrong call for one file, as a finding among several."""
    tie = write_lines(tmp_path / "tie.jsonl", {"prompt": "a", "completion": "b", "text": "c", "messages": []})
    both = {**alpaca(), "question": "Why?", "answer": "So. #### 4"}
    tie = write_lines(tmp_path / "tie.jsonl", both)
    with pytest.raises(CallError, match="fits alpaca and gsm8k alike; name the one that is meant"):
        validate(tie)
    report = validate([tie, write_lines(tmp_path / "good.jsonl", alpaca())])
    assert "fits alpaca and gsm8k alike" in next(f.message for f in report.located if f.path == "tie.jsonl")


class _Heard:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.said: list[tuple[int, float | None, float | None]] = []

    def stage(self, name: str) -> None:
        """Nothing to keep."""

    def advance(self, done: int, total: int | None, unit: str, about: str = "", **more: float | None) -> None:
        """Keep it."""
        assert total is None and unit == "rows"
        self.said.append((done, more["bytes"], more["share"]))

    def note(self, text: str) -> None:
        """Nothing to keep."""


def test_progress_tells_rows_and_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows count up to all of them, bytes as stored up to the files' size, compressed or not."""
    rows = b"".join(orjson.dumps(alpaca(f"Count to {i}.")) + b"\n" for i in range(40_000))
    (tmp_path / "a.jsonl").write_bytes(rows)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(rows))
    monkeypatch.setattr(check, "_BLOCK_BYTES", 1 << 18)
    heard = _Heard()
    validate(tmp_path, tell=heard)
    done = [rows for rows, _, _ in heard.said]
    size = sum(file.stat().st_size for file in tmp_path.iterdir())
    assert done == sorted(done) and done[-1] == 80_000
    assert heard.said[-1][1:] == (size, 1.0)


ROW = st.sampled_from(
    [orjson.dumps(alpaca(f"Count to {i}.", **more)) for i in range(3) for more in ({}, {"id": 1}, {"input": 2})]
    + [orjson.dumps(sharegpt()), b"[", b"\xff", b"", b'{"instruction": "a", "output": "b", "output": "c"}']
)


@settings(max_examples=40)
@given(rows=st.lists(ROW, min_size=1, max_size=30), block=st.integers(1, 400))
def test_block_size_never_changes_a_report(
    tmp_path_factory: pytest.TempPathFactory, rows: list[bytes], block: int
) -> None:
    """However a file is cut, the counts, the findings and their order are the same."""
    path = write_lines(tmp_path_factory.mktemp("cut") / "x.jsonl", *rows)
    whole = validate(path, "alpaca", max_findings=99)
    kept, check._BLOCK_BYTES = check._BLOCK_BYTES, block
    try:
        assert validate(path, "alpaca", max_findings=99) == whole
    finally:
        check._BLOCK_BYTES = kept
    assert all(CODES[code] for code in whole.findings)


COMMAND = [sys.executable, "-c", "from didact.cli import main; main()", "validate"]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for processes in /proc")
def test_ctrl_c_ends_all_processes(tmp_path: Path) -> None:
    """An interrupt, which a terminal sends to every process, ends with code 130, one line and nobody left behind."""
    rows = b"".join(orjson.dumps(alpaca(f"Count to {i}.", text="x " * 400)) + b"\n" for i in range(20_000))
    with gzip.open(tmp_path / "many.jsonl.gz", "wb", compresslevel=1) as file:
        for _ in range(25):
            file.write(rows)
    command = [*COMMAND, str(tmp_path / "many.jsonl.gz"), "--workers", "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True) as running:
        deadline = time.monotonic() + 60
        while len(started_by(running.pid)) < 4 and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(1.0)
        workers = started_by(running.pid)
        os.killpg(running.pid, signal.SIGINT)
        _, told = running.communicate(timeout=60)
    assert len(workers) >= 4, "two workers, the server they are forked from, and the tracker of their resources"
    assert running.returncode == 130 and b"Traceback" not in told
    assert told.splitlines()[-1].startswith(b"didact: interrupted")
    while time.monotonic() < deadline and any(Path(f"/proc/{worker}/cmdline").exists() for worker in workers):
        time.sleep(0.05)
    assert not [worker for worker in workers if Path(f"/proc/{worker}/cmdline").exists()]
