"""A plain script that calls Didact runs once: workers do not begin it anew, unless they need what it registers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

_ROWS = 40
_SIGNAL = (
    "from didact.curate.signals import signal\n"
    "@signal('example.marks', 'characters', 'question marks')\n"
    "def marks(texts):\n"
    "    return float(sum(text.text.count('?') for text in texts))\n"
)
_BUILD = "print(didact.build(sys.argv[1], workers=2).manifest.splits['given'].achieved['train'], flush=True)\n"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe of few rows."""
    rows = [
        {"instruction": f"What is {n} and {n * n}?", "input": "", "output": f"It is {n * n}."} for n in range(_ROWS)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = tmp_path / "recipe.json"
    sources = {"given": {"path": "rows.jsonl", "format": "alpaca"}}
    split = {"validation": 0, "test": 0}
    dedup = {"minhash": None}
    path.write_text(
        json.dumps({"name": "given", "sources": sources, "split": split, "dedup": dedup, "tokenizer": None})
    )
    return path


def _run(recipe: Path, body: str) -> subprocess.CompletedProcess[str]:
    script = recipe.parent / "script.py"
    script.write_text(f"import sys\nimport didact\nprint('begun', flush=True)\n{body}")
    command = [sys.executable, str(script), str(recipe)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_a_script_may_call_at_its_top(recipe: Path) -> None:
    """A script without `if __name__ == "__main__":` is run by no worker, and gets its version."""
    done = _run(recipe, _BUILD)
    assert (done.returncode, done.stdout.split()) == (0, ["begun", str(_ROWS)]), done.stderr


def test_a_script_may_validate_at_its_top(recipe: Path) -> None:
    """The same for the other call that uses workers."""
    body = "print(didact.validate(sys.argv[1].replace('recipe.json', 'rows.jsonl'), workers=2).files[0].valid)\n"
    done = _run(recipe, body)
    assert (done.returncode, done.stdout.split()) == (0, ["begun", str(_ROWS)]), done.stderr


def _filtered(recipe: Path) -> Path:
    content = json.loads(recipe.read_text()) | {"filters": [{"signal": "example.marks", "max": 1}]}
    recipe.write_text(json.dumps(content))
    return recipe


def test_workers_know_what_a_script_registers(recipe: Path) -> None:
    """A signal registered at the top of a script is measured by workers, which import the script for it."""
    guarded = f"{_SIGNAL}if __name__ == '__main__':\n    {_BUILD}"
    done = _run(_filtered(recipe), guarded)
    assert done.returncode == 0 and done.stdout.split()[-1] == str(_ROWS), done.stderr


def test_a_script_that_registers_and_calls_at_its_top_is_told(recipe: Path) -> None:
    """It ends, rather than wait for itself, and says what to write."""
    done = _run(_filtered(recipe), _SIGNAL + _BUILD)
    assert done.returncode != 0
    assert 'if __name__ == "__main__":' in done.stderr.splitlines()[-1]
    assert "CallError: Didact was called by a worker that imports this script" in done.stderr
