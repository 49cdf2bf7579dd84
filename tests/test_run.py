"""A whole run, small: phases, measurements before and after, nothing done twice, interruptions survived."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tiny_recipe import tiny, write_inputs

from didact.build.starter import starter_rows
from didact.cli import cli
from didact.durable import locked, sha256_file
from didact.errors import RecipeError
from didact.report.progress import Silent
from didact.run import RunResult, evaluate, run
from didact.store.collect import collect
from didact.store.layout import Store

MODEL = {"depth": 1, "width": 32, "heads": 2, "ffn": 32, "context": 128}
PHASE = {"batch_tokens": 512, "log_every": 1}


def recipe(folder: Path, **changes: Any) -> dict[str, Any]:
    """A recipe with both phases and a task."""
    sections = {
        "model": MODEL,
        "pretrain": PHASE | {"epochs": 2},
        "finetune": PHASE | {"epochs": 1},
        "evaluate": {"tasks": [{"name": "held-out", "split": "test", "limit": 6, "max_tokens": 4}]},
    }
    return tiny(folder, **sections) | changes


class Tell(Silent):
    """Remembers the stages."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.notes: list[str] = []

    def stage(self, name: str) -> None:
        """Remember."""
        self.stages.append(name)

    def note(self, text: str) -> None:
        """Remember."""
        self.notes.append(text)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with inputs."""
    folder = tmp_path_factory.mktemp("run")
    write_inputs(folder)
    return folder


@pytest.fixture(scope="module")
def told() -> Tell:
    """What the first run told."""
    return Tell()


@pytest.fixture(scope="module")
def result(home: Path, told: Tell) -> RunResult:
    """A finished run."""
    return run(recipe(home), workers=1, threads=1, tell=told)


def times(folder: Path) -> dict[str, int]:
    """When each file that costs something was written: shards, token shards, checkpoints, measurements."""
    parts = ("data", "tokens", "step-", "evaluation-")
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "latest")
    return {
        str(path): path.stat().st_mtime_ns
        for path in files
        if any(name.startswith(parts) for name in path.relative_to(folder).parts)
    }


def contents(folder: Path) -> dict[str, str]:
    """The bytes of each file, as hashes."""
    return {str(path): sha256_file(path) for path in folder.rglob("*") if path.is_file()}


def test_a_run_does_all_of_it_in_order(result: RunResult, told: Tell) -> None:
    """Build, token shards, pre-training, measurement, fine-tuning, measurement."""
    wanted = ["inputs", "shards", "tokenize", "pretrain", "evaluate after pretrain", "finetune"]
    assert [name for name in told.stages if name in wanted or name.startswith("evaluate")] == [
        *wanted, "evaluate after finetune",
    ]  # fmt: skip
    assert list(result.phases) == list(result.evaluations) == ["pretrain", "finetune"]


def test_a_run_holds_on_to_its_version(home: Path, result: RunResult, tmp_path: Path) -> None:
    """With a run there, `gc` keeps the version and token shards it was trained on, though no ref names them."""
    store = Store(Path(shutil.copytree(result.folder.parents[2], tmp_path / "store")))
    (store.data("tiny").path / "refs" / "latest").unlink()
    collect(store)
    version = result.version.manifest.version
    assert store.versions("tiny") == [version] and list(store.root.glob(f"tokens/{version}-*/manifest.json"))
    shutil.rmtree(store.root / "runs")
    collect(store)
    assert store.versions("tiny") == [] and not list(store.root.glob("tokens/*"))


def test_a_run_tells_what_it_made_as_json(result: RunResult) -> None:
    """The result names version, run and checkpoints that are there, with losses and scores; run.json holds the same."""
    answer = json.loads(json.dumps(result.as_json()))
    assert json.loads((result.folder / "run.json").read_bytes()) == answer
    assert Path(answer["best"]).is_dir() and Path(answer["last"]).is_dir()
    assert answer["version"] == result.version.manifest.version
    for phase in ("pretrain", "finetune"):
        assert answer["metrics"]["phases"][phase]["steps"] > 0
        tasks = answer["metrics"]["evaluations"][phase]["tasks"]
        # A task over a split is told by source; plain text asks nothing.
        assert [task["task"] for task in tasks] == ["stories", "sums"]
        assert all(0 < task["score"]["n"] <= 6 and 0 <= task["score"]["mean"] <= 1 for task in tasks)
        assert answer["metrics"]["evaluations"][phase]["bits_per_byte"].keys() == {"pretrain", "finetune"}
        for found in answer["metrics"]["evaluations"][phase]["ngram_bits"].values():
            assert 0 < found["5-gram"] < found["unigram"] < 8


def test_training_has_learnt_something(result: RunResult) -> None:
    """Fine-tuning lowers the bits per byte of held-out dialogues."""
    before, after = (result.evaluations[phase]["bits_per_byte"]["finetune"] for phase in ("pretrain", "finetune"))
    assert after < before


def test_the_second_call_does_nothing_again(home: Path, result: RunResult) -> None:
    """No shard, token shard, checkpoint or measurement is written again, no file differs, the answer is the same."""
    before, bytes_before = times(home / "store"), contents(home / "store")
    tell = Tell()
    again = run(recipe(home), workers=1, threads=1, tell=tell)
    assert len(before) > 20 and times(home / "store") == before and contents(home / "store") == bytes_before
    assert again.as_json() == result.as_json()
    assert not any(name.startswith("evaluate") for name in tell.stages)


def test_two_calls_do_not_train_in_one_folder(home: Path, result: RunResult) -> None:
    """The second waits, says so, and goes on when the first has ended."""
    tell = Tell()
    with ThreadPoolExecutor(1) as others:
        with locked(result.folder / "lock", lambda: None):
            second = others.submit(run, recipe(home), workers=1, threads=1, tell=tell)
            while not any("another process" in note for note in tell.notes):
                assert not second.done(), second.result()
                time.sleep(0.02)
            assert "pretrain" not in tell.stages
        assert second.result().as_json() == result.as_json()


def test_other_training_settings_make_another_run_of_the_same_version(home: Path, result: RunResult) -> None:
    """A changed learning rate leaves version and first run alone; `until` stops before fine-tuning."""
    before = contents(result.folder)
    other = run(recipe(home, pretrain=PHASE | {"epochs": 1}), until="pretrain", workers=1, threads=1)
    assert other.version.path == result.version.path and other.folder != result.folder
    assert list(other.phases) == ["pretrain"] and other.evaluations == {}
    assert contents(result.folder) == before


def test_any_checkpoint_can_be_measured(home: Path, result: RunResult) -> None:
    """Measured by itself, the best checkpoint has the scores the run told."""
    alone = evaluate(result.last_phase.best, recipe(home), threads=1).as_json()
    assert json.loads(json.dumps(alone)) == result.evaluations["finetune"]


def test_the_command_answers_from_the_result(home: Path, result: RunResult) -> None:
    """`didact run` prints the tables and `--json` the result; `didact generate` lets the model speak."""
    from click.testing import CliRunner

    path = home / "recipe.yaml"
    path.write_text(json.dumps(recipe(home)))
    printed = CliRunner().invoke(cli, ["run", str(path), "--threads", "1", "--workers", "1"])
    assert printed.exit_code == 0, printed.output
    for part in ("Training", "Scores on held-out prompts", "Sample answers", "duplicate.exact", "didact chat"):
        assert part in printed.stdout
    answer = CliRunner().invoke(cli, ["run", str(path), "--threads", "1", "--workers", "1", "--json"])
    assert json.loads(answer.stdout)["run"] == str(result.folder)
    spoken = CliRunner().invoke(
        cli, ["generate", str(result.folder / "finetune"), "--prompt", "Tell story 1", "--max-tokens", "5", "--json"]
    )
    assert spoken.exit_code == 0 and json.loads(spoken.stdout)["tokens"] <= 5


def test_a_recipe_without_training_is_refused(home: Path) -> None:
    """Nothing to train is the caller's error, and so is a phase without a mix for it."""
    with pytest.raises(RecipeError, match="nothing to train"):
        run(tiny(home), workers=1)
    only = {"finetune": {"sources": {"sums": {"epochs": 1}}}}
    with pytest.raises(RecipeError, match="section 'pretrain' needs a mix"):
        run(recipe(home, mixes=only), workers=1, threads=1)


INTERRUPTED = """
import json, sys
from didact.cli import cli
cli(["run", sys.argv[1], "--workers", "1", "--threads", "1"])
"""


def interrupted(path: Path, metrics: Path, number: int) -> int:
    """Run until a few steps are on file, then send a signal; the exit code."""
    process = subprocess.Popen([sys.executable, "-c", INTERRUPTED, path], stderr=subprocess.PIPE, text=True)
    while process.poll() is None and (not metrics.exists() or metrics.read_bytes().count(b"\n") < 5):
        time.sleep(0.02)
    process.send_signal(number)
    _, errors = process.communicate()
    assert "Traceback" not in errors
    return process.returncode


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_run_ends_as_if_nothing_had_happened(tmp_path: Path, number: signal.Signals) -> None:
    """A run that a signal stops in the middle of training goes on, and its weights are those of an undisturbed one."""
    data = tmp_path / "colours.jsonl"
    data.write_text("\n".join(json.dumps(row) for row in starter_rows()), encoding="utf-8")
    phase = PHASE | {"epochs": 8, "checkpoint_every": 3}
    sections = {"model": MODEL, "finetune": phase, "tokenizer": {"vocab_size": 384}, "name": "long"}
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps({"sources": {"colours": {"path": str(data)}}, **sections}), encoding="utf-8")
    whole = run(path, store=tmp_path / "whole", workers=1, threads=1)
    metrics = tmp_path / "store" / "runs" / "long" / whole.folder.name / "finetune" / "metrics.jsonl"
    code = interrupted(path, metrics, number)
    assert code == (75 if number == signal.SIGTERM else -signal.SIGKILL)
    resumed = run(path, workers=1, threads=1)
    names = [Path(checkpoint).name for checkpoint in (whole.last_phase.last, resumed.last_phase.last)]
    assert names[0] == names[1]
    weights = [Path(done.last_phase.last) / "model.safetensors" for done in (whole, resumed)]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert resumed.last_phase.steps == whole.last_phase.steps


@pytest.mark.slow
def test_processes_of_torchrun_make_one_run(home: Path, tmp_path: Path) -> None:
    """Two processes build once, train together, and leave the files that one process leaves."""
    (home / "two.yaml").write_text(json.dumps(recipe(home) | {"store": str(tmp_path / "two")}))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "didact"]
    done = subprocess.run(
        [*command, "run", str(home / "two.yaml"), "--workers", "1", "--threads", "1", "--json"],
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[:6000]
    two = json.loads(done.stdout)
    one = run(recipe(home) | {"store": str(tmp_path / "one")}, workers=1, threads=1).as_json()
    assert two["version"] == one["version"]
    names = [
        sorted(str(file.relative_to(found["run"])) for file in Path(found["run"]).rglob("*")) for found in (one, two)
    ]
    assert names[0] == names[1]
    losses = [[phase["train_loss"] for phase in found["metrics"]["phases"].values()] for found in (one, two)]
    assert losses[1] == pytest.approx(losses[0], abs=1e-4)
