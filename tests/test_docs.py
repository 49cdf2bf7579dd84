"""The examples of docs/files.md run as they are printed, and the page names everything there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from didact.build.starter import starter_rows, write_starter
from didact.cli import cli
from didact.store.manifest import Manifest

DOCS = Path(__file__).parent.parent / "docs"
PAGE = (DOCS / "files.md").read_text(encoding="utf-8")
_LINK = re.compile(r"`([a-z]+\.md)`")


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_the_examples_of_the_page_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every Python block of files.md runs after `didact init .`, one after the other, and shows what it says."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    write_starter(Path())
    with Path("colours.jsonl").open("ab") as file:
        file.write(b'{"instruction": "What broke?"\n' + Path("colours.jsonl").read_bytes().splitlines(True)[0])
    examples = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, object] = {}
    for place, example in enumerate(examples):
        if place == len(examples) - 1:
            assert CliRunner().invoke(cli, ["tokenize", "starter", "--workers", "1"]).exit_code == 0
        exec(compile(example, f"files.md, example {place}", "exec"), names)
    said = capsys.readouterr().out
    assert "duplicate.exact" in said
    assert "JS001" in said
    assert said.rstrip().rsplit("trained on: ", 1)[1].strip() in {row["output"] for row in starter_rows()}


def test_the_page_names_every_field_of_the_manifest() -> None:
    """No field of the manifest is missing from its table."""
    table = PAGE.split("## The manifest")[1].split("\n## ")[0]
    assert set(re.findall(r"`([a-z_]+)`", table)) >= Manifest.model_fields.keys()


def test_pages_refer_to_pages_that_are_there() -> None:
    """A page named in another page exists."""
    for page in DOCS.glob("*.md"):
        for name in _LINK.findall(page.read_text(encoding="utf-8")):
            assert (DOCS / name).is_file(), f"{page.name} names {name}"


def test_the_changelog_names_every_command() -> None:
    """Every command there is stands in the changelog."""
    told = (DOCS / "changelog.md").read_text(encoding="utf-8")
    assert [name for name in cli.commands if f"`{name}`" not in told] == []
