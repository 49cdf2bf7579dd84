"""What is told while work goes on, and what a build writes down of its cost."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_recipe import build_tiny, tiny, write_inputs

from didact.build.measures import Measures
from didact.report.progress import Narrator
from didact.store.layout import Store

BUILD = [sys.executable, "-m", "didact", "build"]


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """It is."""
        return True


class Clock:
    """Time that passes when it is told to."""

    now = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.now


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe file over small inputs."""
    write_inputs(tmp_path)
    (tmp_path / "recipe.json").write_text(json.dumps(tiny(tmp_path)))
    return tmp_path / "recipe.json"


def test_piped_output_has_no_control_characters_and_json_keeps_stdout_clean(recipe: Path) -> None:
    """Stages go to stderr as plain lines, and `--json` prints one object and nothing else on stdout."""
    done = subprocess.run([*BUILD, str(recipe), "--json"], capture_output=True, check=True)
    assert json.loads(done.stdout)["version"] and done.stdout.count(b"\n") == 1
    lines = done.stderr.decode().splitlines()
    assert "deduplicate …" in lines and all(line.isprintable() for line in lines)


def test_on_a_terminal_one_line_counts_along(recipe: Path) -> None:
    """On a pseudo-terminal stages are written over in place, the cursor is never hidden, and each ends as a line."""
    leader, follower = pty.openpty()
    with subprocess.Popen([*BUILD, str(recipe), "--json"], stdout=subprocess.DEVNULL, stderr=follower) as process:
        os.close(follower)
        shown = b""
        try:
            while piece := os.read(leader, 4096):
                shown += piece
        except OSError:  # the other side is closed
            pass
        os.close(leader)
    assert process.returncode == 0
    text = shown.decode()
    assert "\r\x1b[Kdeduplicate …" in text and "\x1b[?25" not in text
    assert text.rsplit("\r\x1b[K", 1)[1].startswith("shards: ") and text.endswith("\r\n")


def test_a_line_tells_rate_time_left_and_memory() -> None:
    """Records and megabytes a second, time left from the share that is done, and memory; not more often than asked."""
    clock, stream = Clock(), io.StringIO()
    teller = Narrator(stream, interval=10, clock=clock)
    teller.stage("read")
    for second in range(1, 26):
        clock.now = second
        teller.advance(second * 2000, None, "rows", bytes=second * 3_000_000, share=second / 100)
    told = [line for line in stream.getvalue().splitlines() if "rows" in line]
    assert len(told) == 2
    assert told[0].startswith("read: 20,000 rows, 2,000/s, 3.0 MB/s, 1 min 30 s left, ") and told[0].endswith(" MB")
    teller.stage("train")
    clock.now += 45
    teller.advance(90, 100, "steps", "loss 2.1")
    assert "90/100 steps, 2/s, 5.0 s left" in stream.getvalue() and stream.getvalue().endswith("loss 2.1\n")


def test_what_was_done_before_does_not_count_as_speed() -> None:
    """A training resumed at step 900 of 1,000 that makes two steps a second has 49 seconds left after two more."""
    stream, clock = io.StringIO(), Clock()
    told = Narrator(stream, interval=1.0, clock=clock)
    told.stage("train")
    clock.now = 0.5
    told.advance(900, 1000, "steps")
    clock.now = 1.5
    told.advance(902, 1000, "steps")
    line = stream.getvalue().splitlines()[-1]
    assert "2/s" in line and "49.0 s left" in line


def test_a_line_on_a_terminal_is_never_wider_than_it() -> None:
    """A line that would wrap could not be written over, so it is cut; a hostile name moves no cursor."""
    clock, stream = Clock(), Terminal()
    teller = Narrator(stream, clock=clock)
    teller.stage("read \x1b[2J")
    clock.now = 1
    teller.advance(5, 10, "rows", "x" * 300)
    lines = [part for part in stream.getvalue().split("\r\x1b[K") if part]
    assert all(len(line) < 80 and "\x1b" not in line for line in lines)
    assert "━━━━━━━━╌╌╌╌╌╌╌╌  50%" in lines[-1]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_build_writes_down_what_each_stage_cost(tmp_path: Path, workers: int) -> None:
    """Wall and processor time, peak memory, rows and bytes of each stage; of the workers too, where there are some."""
    from didact.build.pipeline import build

    write_inputs(tmp_path)
    version = build(tiny(tmp_path), workers=workers)
    cost = Store(tmp_path / "store").build(version.manifest.plan).read_json("build.json")
    stages = {one["stage"]: one for one in cost["stages"]}
    assert cost["workers"] == workers and [*stages][:2] == ["read, clean, measure", "filter"]
    read = stages["read, clean, measure"]
    assert read["rows"] == sum(one.rows_in for one in version.manifest.accounting if one.stage == "read")
    inputs = sum((tmp_path / name).stat().st_size for name in ("alpaca.json", "sums.jsonl", "prose.txt"))
    assert 0.8 * inputs < read["bytes"] <= inputs
    listed = [file for file in version.manifest.files if file.path != "README.md" and "tokenizer/" not in file.path]
    assert stages["shards"]["bytes"] == sum(file.bytes for file in listed)
    assert all(one["seconds"] >= 0 and one["peak_mb"] > 20 for one in stages.values())
    assert (read["worker_cpu_seconds"] > 0) == (read["worker_peak_mb"] > 0) == (workers == 2)
    again = build_tiny(tmp_path, filters=[])
    cost = Store(tmp_path / "store").build(again.manifest.plan).read_json("build.json")
    assert cost["stages"][0]["rows"] == cost["stages"][0]["bytes"] == 0


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the system tells only the peak of a lifetime")
def test_the_peak_of_a_stage_is_its_own() -> None:
    """A stage that holds little after one that held much is not charged with the memory of that one."""
    measures = Measures()
    measures.stage("much")
    held = bytearray(os.urandom(1)) * 300_000_000
    del held
    measures.stage("little")
    much, little = (one["peak_mb"] for one in measures.report()["stages"])
    assert much - little > 250
