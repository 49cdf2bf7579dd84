"""Hostile files: each costs bounded memory, a finding, and no row but its own."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from killing import started_by

MB = 1 << 20
GOOD = b'{"instruction":"a","input":"","output":"b"}'
GOOD_LINE = GOOD + b"\n"

_MEASURED = """
import json, sys
from pathlib import Path
from didact.validate import validate

report = validate(sys.argv[1], "alpaca").as_json()
most = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
report["megabytes"] = int(most.split()[1]) // 1024
print(json.dumps(report))
"""
"""Not ru_maxrss, which a process inherits from the one that started it."""

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads the memory of processes from /proc")


def measured(path: Path) -> dict[str, Any]:
    """The report on a file, from a process of its own, with the most memory it ever had in `megabytes`."""
    done = subprocess.run([sys.executable, "-c", _MEASURED, str(path)], check=True, capture_output=True)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def written(path: Path, *parts: bytes | Iterable[bytes]) -> Path:
    """A file of parts; an iterable is written piece by piece."""
    with path.open("wb") as file:
        for part in parts:
            file.writelines([part] if isinstance(part, bytes) else part)
    return path


def packed(content: bytes) -> bytes:
    """A gzip member; members that follow each other are one stream, so that gigabytes are made of one megabyte."""
    return gzip.compress(content, 1)


def is_survived(path: Path, valid: int, code: str, most: int) -> None:
    """One row is rejected with the code, those around it are valid, and memory stays under so many megabytes."""
    report = measured(path)
    assert (report["valid"], report["rejected"]) == (valid, 1), report
    assert report["findings"][code] == 1
    assert report["megabytes"] < most


SMALL: dict[str, tuple[Callable[[], list[bytes]], int, str]] = {
    "line.jsonl": (lambda: [GOOD_LINE, b'{"instruction":"', b"y" * 40 * MB, b'"}\n', GOOD_LINE], 2, "JS007"),
    "element.json": (
        lambda: [b"[", GOOD, b',{"instruction":"', b"y" * 40 * MB, b'"},', GOOD, b"]"], 2, "JS007",
    ),
    "deep.jsonl": (
        lambda: [GOOD_LINE, b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n", GOOD_LINE], 2, "JS001",
    ),
    "deep.json": (lambda: [b"[" * 100_000, b"]" * 100_000], 0, "JS001"),
    "deep_element.json": (
        lambda: [b"[", GOOD, b",", b'{"a":' * 100_000, b"1", b"}" * 100_000, b",", GOOD, b"]"], 2, "JS001",
    ),
    "values.jsonl": (lambda: [GOOD_LINE, b'{"a":[', b"[]," * 5_000_000, b"[]]}\n", GOOD_LINE], 2, "JS007"),
    "values.json": (lambda: [b'{"a":[', b"[]," * 5_000_000, b"[]]}"], 0, "JS007"),
    "keys.jsonl": (
        lambda: [GOOD_LINE, b"{", b",".join(b'"%d":1' % i for i in range(1_500_000)), b"}\n", GOOD_LINE], 2, "JS007",
    ),
    "zeros.jsonl.gz": (lambda: [packed(bytes(32 * MB)) * 8, packed(b"\n" + GOOD_LINE)], 1, "JS007"),
    "quote.csv": (
        lambda: [b"instruction,input,output\n", b"a,b,c\n" * 3, b'a,"b,c\n', (b"d," + b"e" * 9000 + b",f\n") * 4000],
        4003, "CS001",
    ),
}  # fmt: skip
"""What stands in each file, how many of its rows are valid, and the code of the one that is not."""


@pytest.mark.parametrize("name", SMALL)
def test_small_bombs_cost_one_row(tmp_path: Path, name: str) -> None:
    """Rows above a limit, of a size that a test can afford: one finding, bounded memory, the next record read."""
    parts, valid, code = SMALL[name]
    is_survived(written(tmp_path / name, *parts()), valid, code, 350)


def test_wide_headers_take_no_square_time(tmp_path: Path) -> None:
    """A CSV file of 200,000 columns, all of one name, is read in seconds."""
    wide = 200_000
    path = written(tmp_path / "wide.csv", b",".join([b"c"] * wide), b"\n", b",".join([b"1"] * wide), b"\n")
    started = time.process_time()
    report = measured(path)
    assert (report["records"], report["findings"]) == (1, {"SC001": 1})
    assert time.process_time() - started < 30


def test_endless_line_ends_with_white_lines(tmp_path: Path) -> None:
    """An object that never closes, followed by millions of short lines, is not looked at line by line in memory."""
    path = written(tmp_path / "open.json", b"{\n", b"xy\n" * 5_000_000)
    report = measured(path)
    assert report["valid"] == 0 and report["rejected"] >= 1
    assert report["megabytes"] < 350


def of_gigabytes(member: bytes, gigabytes: int) -> Iterable[bytes]:
    """A member of 64 MB over and over."""
    return (member for _ in range(gigabytes * 16))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["zeros.jsonl.gz", "zeros.json.gz", "line.jsonl.gz", "element.json.gz"])
def test_four_gigabytes_of_nothing_cost_one_row(tmp_path: Path, name: str) -> None:
    """A gzip file of a few megabytes that unpacks to four gigabytes without a row: one finding, the next row read."""
    filling = packed(bytes(64 * MB) if name.startswith("zeros") else b"x" * 64 * MB)
    before, after, valid = {
        "zeros.jsonl.gz": (b"", b"\n" + GOOD_LINE, 1),
        "zeros.json.gz": (b"", b"", 0),
        "line.jsonl.gz": (GOOD_LINE + b'{"instruction":"', b'"}\n' + GOOD_LINE, 2),
        "element.json.gz": (b"[" + GOOD + b',{"instruction":"', b'"},' + GOOD + b"]", 2),
    }[name]
    is_survived(written(tmp_path / name, packed(before), of_gigabytes(filling, 4), packed(after)), valid, "JS007", 400)


@pytest.mark.slow
def test_four_gigabytes_of_rows_are_read(tmp_path: Path) -> None:
    """A gzip file that unpacks to four gigabytes of valid rows is read like any other."""
    row = b'{"instruction":"%s","input":"","output":"b"}\n' % (b"v" * 100_000)
    member = packed(row * 640)
    report = measured(written(tmp_path / "rows.jsonl.gz", of_gigabytes(member, 4)))
    assert (report["valid"], report["findings"]) == (64 * 640, {"DU001": 64 * 640 - 1})
    assert report["megabytes"] < 300


@pytest.mark.slow
@pytest.mark.parametrize("name", ["line.jsonl", "keys.json", "keys.jsonl", "object.json", "quote.csv", "columns.csv"])
def test_large_bombs_cost_one_row(tmp_path: Path, name: str) -> None:
    """A line of 300 MB, ten million keys, an object of 300 MB, a quote open over 1 GB, a million columns."""
    keys = b"{" + b",".join(b'"k%d":1' % i for i in range(10_000_000)) + b"}\n"
    instance = b'{"input":"%s","output":["b"]}' % (b"i" * 1000)
    million = b",".join(b"c%d" % i for i in range(1_000_000))
    sheet: list[bytes | Iterable[bytes]] = [b"instruction,input,output\n", b"a,b,c\n" * 10, b'a,"b,c\n']
    bombs: dict[str, tuple[list[bytes | Iterable[bytes]], int, str, int]] = {
        "line.jsonl": (
            [GOOD_LINE, b'{"instruction":"', [b"y" * MB] * 300, b'"}\n', GOOD_LINE],
            2,
            "JS007",
            300,
        ),
        "keys.json": ([keys], 0, "JS007", 600),
        "keys.jsonl": ([GOOD_LINE, keys, GOOD_LINE], 2, "JS007", 300),
        "object.json": ([b'{"Instances":[', (instance + b"," for _ in range(300_000)), b"1]}"], 0, "JS007", 400),
        "quote.csv": (
            [*sheet, ((b"d," + b"e" * 1500 + b",f\n") * 2800 for _ in range(256))],
            10 + 2800 * 256,
            "CS001",
            500,
        ),
        "columns.csv": ([million, b"\n", b",".join([b"1"] * 1_000_000), b"\n"], 0, "SC001", 500),
    }
    parts, valid, code, most = bombs[name]
    is_survived(written(tmp_path / name, *parts), valid, code, most)


def memory_of(process: int) -> int:
    """Megabytes that a process and its workers have in memory now; what several share counts for each."""
    found = 0
    for one in [process, *started_by(process)]:
        status = Path(f"/proc/{one}/status")
        try:
            found += next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmRSS"))
        except (FileNotFoundError, StopIteration):  # It has just ended.
            continue
    return found // 1024


@pytest.mark.slow
def test_two_gigabytes_are_checked_in_400_megabytes(tmp_path: Path) -> None:
    """A JSON lines file of 2 GB, every row another, checked by two workers: all three processes together stay small."""
    text = " ".join(f"Word {number} of it." for number in range(65))

    def pieces() -> Iterable[bytes]:
        for start in range(0, 2_000_000, 5000):
            yield b"".join(
                b'{"instruction":"Count to %d.","input":"","output":"%s"}\n' % (i, text.encode())
                for i in range(start, start + 5000)
            )

    path = written(tmp_path / "large.jsonl", pieces())
    assert path.stat().st_size > 2e9
    command = [sys.executable, "-c", "from didact.cli import main; main()", "validate", str(path), "--json"]
    peak = 0
    with subprocess.Popen([*command, "--workers", "2"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as running:
        stop = threading.Event()
        while running.poll() is None and not stop.wait(0.05):
            peak = max(peak, memory_of(running.pid))
        report = json.loads(running.communicate()[0])
    assert (report["records"], report["findings"]) == (2_000_000, {})
    assert 100 < peak < 400
