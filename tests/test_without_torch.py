"""The data path never needs PyTorch: with its import forbidden, a build runs from recipe to tokenised version."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tiny_recipe import tiny, write_inputs

CODE = """
import sys

class Forbid:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "safetensors"):
            raise ImportError(f"{name} is forbidden here")

sys.meta_path.insert(0, Forbid())
try:
    import torch
except ImportError:
    pass
else:
    raise SystemExit("torch could be imported")

import importlib, pkgutil, didact
rooms = ("model", "evaluate", "serve", "run")
for module in pkgutil.walk_packages(didact.__path__, "didact."):
    if module.name.split(".")[1] not in rooms:
        importlib.import_module(module.name)

from didact.cli import cli
cli(["validate", sys.argv[2]], standalone_mode=False)
cli(["build", sys.argv[1], "--workers", "1"], standalone_mode=False)
cli(["verify", "tiny", "--store", sys.argv[3]], standalone_mode=False)
cli(["tokenize", "tiny", "--store", sys.argv[3], "--workers", "1"], standalone_mode=False)
"""


def test_the_data_path_runs_without_torch(tmp_path: Path) -> None:
    """All rooms before the model import, and validate, build, verify and tokenize run, where torch cannot."""
    write_inputs(tmp_path)
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps(tiny(tmp_path)))
    arguments = [recipe, tmp_path / "prose.txt", tmp_path / "store"]
    done = subprocess.run([sys.executable, "-c", CODE, *arguments], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "all as the manifest says" in done.stdout
    assert list((tmp_path / "store" / "tokens").iterdir())
