"""A training run on a store in an object store: what is complete is there, and another machine goes on from it."""

from __future__ import annotations

from pathlib import Path

import pytest
from s3_server import make_bucket, options_for, serving
from test_run import Tell, recipe
from tiny_recipe import write_inputs

from didact.durable import sha256_file
from didact.run import run
from didact.store.collect import collect
from didact.store.layout import StoreAt


@pytest.mark.slow
def test_a_run_is_kept_in_the_store_phase_by_phase(tmp_path: Path) -> None:
    """A machine that has nothing of a finished run finds it in the store, with its checkpoints, and trains nothing; one
    that finds the first phase alone trains the second, to the same bytes. `gc` keeps what the run holds on to.
    """
    write_inputs(tmp_path)
    with serving() as server:
        make_bucket(server, "bucket")
        first, second, third = (StoreAt("s3://bucket/runs", options_for(server), tmp_path / name) for name in "abc")
        done = run(recipe(tmp_path), store=first, threads=1)
        assert done.stored == f"s3://bucket/runs/runs/tiny/{done.folder.name}"
        there = first.open("").folder("runs", "tiny", done.folder.name)
        assert {"run.json", "report.html", "version.json", "evaluation-finetune.json"} <= there.files().keys()
        before = server.calls["PUT"]
        found = run(recipe(tmp_path), store=second, threads=1, tell=(tell := Tell()))
        assert server.calls["PUT"] - before < 15
        assert [stage for stage in tell.stages if stage.startswith("evaluate")] == []
        assert checkpoint(found.last_phase.best) == checkpoint(done.last_phase.best)
        assert found.evaluations == done.evaluations
        last = ("finetune", "evaluation-finetune", "run.json")
        assert there.prefix is not None
        there.prefix.delete(name for name in there.files() if name.startswith(last))
        again = run(recipe(tmp_path), store=third, threads=1, tell=(tell := Tell()))
        assert [stage for stage in tell.stages if stage.startswith("evaluate")] == ["evaluate after finetune"]
        assert checkpoint(again.last_phase.best) == checkpoint(done.last_phase.best)
        store = third.open("")
        store.folder("data", "tiny", "refs").delete(["latest"])
        assert not any(gone.path.startswith("data/") for gone in collect(store).deleted)


def checkpoint(folder: Path) -> dict[str, str]:
    """What the model has learned."""
    found = {path.name: sha256_file(path) for path in folder.glob("*.safetensors")}
    assert found
    return found
