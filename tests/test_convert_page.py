"""The examples of docs/convert.md run as they are printed and give what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from didact.cli import cli
from didact.convert.pipeline import BY_SUFFIX

PAGE = (Path(__file__).parent.parent / "docs" / "convert.md").read_text(encoding="utf-8")


def test_the_examples_of_the_page_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every Python block runs, one after the other, in an empty folder; the command prints the page's report."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for place, example in enumerate(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)):
        exec(compile(example, f"convert.md, example {place}", "exec"), names)
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "2 [('/score', 'a table holds nothing but texts')]",
        "/definition is joined with other text and cannot be told apart again alpaca.jsonl:1 1",
        "/input is joined with other text and cannot be told apart again alpaca.jsonl:1 1",
        "{'instruction': 'Sort.', 'context': '3 1', 'response': '1 3', 'score': 0.5}",
        '{"instruction": "Sort.", "input": "3 1", "output": "1 3", "score": 0.5}',
        '{"instruction": "Sort.", "input": "3 1", "output": "1, 3", "score": 0.5}',
    ]
    assert not Path("pairs.jsonl").exists()
    shown = re.search(r"```\n\$ didact (.*?)\n(.*?)didact: error", PAGE, re.DOTALL)
    assert shown is not None
    result = CliRunner().invoke(cli, shown[1].split())
    assert result.exit_code == 1
    assert _words(result.stdout) == _words(shown[2])


def _words(text: str) -> list[str]:
    return [word for word in text.split() if "─" not in word]


def test_every_ending_is_on_the_page() -> None:
    """The page names what endings mean, but for those that are other spellings of one it names."""
    assert [ending for ending in BY_SUFFIX if f"`{ending}`" not in PAGE] == [".ndjson", ".jsonlines", ".tab"]
