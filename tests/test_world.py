"""Several processes: the same losses as one, whatever their number, and checkpoints that any number can go on from."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from didact.model import checkpoint
from didact.model.checkpoint import load_model
from didact.model.world import World

pytestmark = pytest.mark.slow
"""Each run starts processes that load torch anew."""

_TRAIN = """
import sys
from pathlib import Path
sys.path[:0] = [{tests!r}]
from toy_training import ToyTokenizer, counting_shards
from didact.model.pretrain import pretrain
from didact.model.world import joined
from didact.recipe.training import ModelSettings, PretrainSettings

shape = ModelSettings(depth=2, width=32, heads=2, ffn=64, context=16)
settings = PretrainSettings(
    batch_tokens=128, tokens=int(sys.argv[2]), eval_every=5, checkpoint_every=5, log_every=1, keep_last=9, warmup=0.0,
    decay=0.0, optimizer=sys.argv[3], shard=sys.argv[4] == "shard", recompute=sys.argv[4] == "shard",
)
with joined():
    pretrain(
        shape, settings, counting_shards(160), counting_shards(20, 9), ToyTokenizer(), Path(sys.argv[1]), 1, threads=1
    )
"""


def train(
    folder: Path, processes: int, tokens: int = 1600, optimizer: str = "adamw", holding: str = "all"
) -> list[dict[str, float]]:
    """Train on toy data in this many processes; the lines of the metrics with a loss."""
    script = folder.parent / "train.py"
    script.write_text(_TRAIN.format(tests=str(Path(__file__).parent)))
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [sys.executable, *(launch if processes > 1 else []), str(script), str(folder), str(tokens), optimizer]
    command.append(holding)
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[:6000]
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if "loss" in line]


@pytest.mark.parametrize("holding", ["all", "shard"])
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_two_processes_train_as_one(tmp_path: Path, optimizer: str, holding: str) -> None:
    """With the same global batch, every training and validation loss of two processes is that of one to 1e-5.

    So it is when the weights are shared out over them and blocks are computed again in the backward pass.
    """
    one = train(tmp_path / "one", 1, optimizer=optimizer)
    two = train(tmp_path / "two", 2, optimizer=optimizer, holding=holding)
    assert [line["step"] for line in one] == [line["step"] for line in two]
    assert [line["loss"] for line in two] == pytest.approx([line["loss"] for line in one], abs=1e-5)
    assert [line.get("tokens") for line in two] == [line.get("tokens") for line in one]


@pytest.mark.parametrize("holding", ["all", "shard"])
def test_a_run_goes_on_with_another_number_of_processes(tmp_path: Path, holding: str) -> None:
    """Saved by two processes and resumed by one, or the reverse, a run sees the same data and ends alike."""
    straight = train(tmp_path / "straight", 1, holding=holding)
    steps = checkpoint.steps(tmp_path / "straight")
    for before, after in ((2, 1), (1, 2)):
        folder = tmp_path / f"{before}-{after}"
        train(folder, before, holding=holding)
        for step in steps[1:]:
            _forget(folder, step)
        resumed = train(folder, after, holding=holding)
        assert [line["loss"] for line in resumed] == pytest.approx([line["loss"] for line in straight], abs=1e-5)
        last = [load_model(run / f"step-{steps[-1]}").state_dict() for run in (folder, tmp_path / "straight")]
        assert max(float((last[0][name] - last[1][name]).abs().max()) for name in last[0]) < 1e-5


@pytest.mark.parametrize("holding", ["all", "shard"])
def test_equal_processes_give_equal_bytes(tmp_path: Path, holding: str) -> None:
    """Two runs of two processes end with the same weights, bit by bit."""
    for name in ("a", "b"):
        train(tmp_path / name, 2, holding=holding)
    first, second = (
        load_model(tmp_path / name / f"step-{checkpoint.steps(tmp_path / name)[-1]}") for name in ("a", "b")
    )
    assert all(bool((one == other).all()) for one, other in zip(first.parameters(), second.parameters(), strict=True))


def _forget(folder: Path, step: int) -> None:
    """As if the run had been killed before this checkpoint."""
    for file in sorted((folder / f"step-{step}").rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    (folder / f"step-{step}").rmdir()


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_shares_make_up_the_rows(size: int) -> None:
    """Every row belongs to exactly one process, in order, also when there are fewer rows than processes."""
    for rows in (range(0), range(5, 6), range(3, 20)):
        assert [row for rank in range(size) for row in World(rank, size).share(rows)] == list(rows)
