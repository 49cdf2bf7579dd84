"""Ctrl-C: exit code 130, one line, no worker left, and the next run goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_recipe import build_tiny, bytes_of, tiny

from benchmarks.processes import ended, members, start

DEAF = """
import signal, sys, time
from didact.cli import main
import didact.cli, didact.cli.interrupt

def deaf():
    signal.signal(signal.SIGINT, lambda *_: None)
    print("ready", flush=True)
    while True:
        time.sleep(60)

didact.cli.interrupt.GRACE = float(sys.argv.pop())
didact.cli.cli = deaf
didact.cli.end_for_sure = lambda: didact.cli.interrupt.end_for_sure(didact.cli.interrupt.GRACE)
main()
"""
"""A command that swallows every interrupt, as a library may."""


def wait_for(log: Path, text: str) -> None:
    """Until a log holds a text, as long as a busy machine may need."""
    for _ in range(1200):
        if log.is_file() and text in log.read_text(encoding="utf-8"):
            return
        time.sleep(0.05)
    raise AssertionError(f"'{text}' does not come: {log.read_text(encoding='utf-8')}")


@pytest.mark.parametrize(("grace", "presses"), [(0.2, 1), (600.0, 2)])
def test_a_command_that_hears_nothing_ends_all_the_same(grace: float, presses: int) -> None:
    """Where the interrupt is swallowed, the command ends a while after the first Ctrl-C, or at the second."""
    process = subprocess.Popen(
        [sys.executable, "-c", DEAF, str(grace)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    for _ in range(presses):
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert told == "didact: interrupted; the same command goes on from what is complete\n"


def interrupted(recipe: Path, store: Path, log: Path, after: str, seconds: float) -> str:
    """Press Ctrl-C on a build with two workers some seconds after its log says something; what it told."""
    process = start(["build", recipe, "--store", store, "--workers", "2"], log)
    wait_for(log, after)
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=120) == 130
    assert ended(process.pid, 60), members(process.pid)
    return log.read_text(encoding="utf-8")


def big_recipe(folder: Path) -> Path:
    """A recipe whose input makes several chunks."""
    build_tiny(folder, store=str(folder / "inputs-only"))
    rows = (folder / "sums.jsonl").read_text() * 2000
    (folder / "sums.jsonl").write_text(rows)
    recipe = folder / "recipe.json"
    recipe.write_text(json.dumps(tiny(folder)))
    return recipe


def test_ctrl_c_ends_a_build_with_its_workers(tmp_path: Path) -> None:
    """While workers start: one line, no traceback of theirs, nobody stays behind, and the next run ends well."""
    recipe = big_recipe(tmp_path)
    told = interrupted(recipe, tmp_path / "store", tmp_path / "log", "read, clean, measure …", 0.3)
    assert told.splitlines()[-1] == "didact: interrupted; the same command goes on from what is complete"
    assert "Traceback" not in told
    again = start(["build", recipe, "--store", tmp_path / "store", "--workers", "2"], tmp_path / "again.log")
    assert again.wait(timeout=300) == 0


@pytest.mark.slow
def test_ctrl_c_may_come_at_any_moment(tmp_path: Path) -> None:
    """The same in every stage, and the bytes are those of an undisturbed build."""
    from didact.store.layout import Store
    from didact.store.version import Version

    recipe = big_recipe(tmp_path)
    command = ["build", str(recipe), "--store", str(tmp_path / "whole"), "--workers", "2"]
    assert start(command, tmp_path / "whole.log").wait() == 0
    whole = bytes_of(Version.open(Store(tmp_path / "whole").find("tiny")))
    (cost,) = (tmp_path / "whole").glob("builds/*/build.json")
    seconds = {one["stage"]: one["seconds"] for one in json.loads(cost.read_text())["stages"]}
    for stage in ("inputs", "read, clean, measure", "deduplicate", "tokenizer and counts", "shards"):
        for part in (0.0, 0.25, 0.5):
            store, log = (tmp_path / f"{stage.partition(' ')[0]}-{part}{end}" for end in ("", ".log"))
            told = interrupted(recipe, store, log, f"{stage} …", part * seconds.get(stage, 0.1))
            assert "Traceback" not in told
            assert start(["build", recipe, "--store", store], tmp_path / "again.log").wait(timeout=300) == 0
            assert bytes_of(Version.open(Store(store).find("tiny"))) == whole
