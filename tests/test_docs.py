"""The examples of the pages run as they are printed, and the pages name everything there is."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from didact.build.starter import starter_rows, write_starter
from didact.cli import cli
from didact.recipe.load import load_recipe
from didact.store.manifest import Manifest

DOCS = Path(__file__).parent.parent / "docs"
PAGE = (DOCS / "files.md").read_text(encoding="utf-8")
_LINK = re.compile(r"`([a-z]+\.md)`")
_BLOCK = re.compile(r"```(python|console)\n(.*?)```", re.DOTALL)


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, after `didact init .` and a build, with a broken and a repeated row among the data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    write_starter(Path())
    with Path("colours.jsonl").open("ab") as file:
        file.write(b'{"instruction": "What broke?"\n' + Path("colours.jsonl").read_bytes().splitlines(True)[0])
    command("build recipe.yaml --workers 1")
    return tmp_path


def command(line: str) -> str:
    """What a `didact` command prints; it must succeed."""
    done = CliRunner().invoke(cli, shlex.split(line))
    assert done.exit_code == 0, f"didact {line}: {done.output}"
    return done.stdout


def run_page(name: str) -> str:
    """Run every Python and console block of a page one after the other, and return what the commands printed."""
    names: dict[str, object] = {}
    printed = []
    for place, (kind, block) in enumerate(_BLOCK.findall((DOCS / name).read_text(encoding="utf-8"))):
        if kind == "python":
            exec(compile(block, f"{name}, block {place}", "exec"), names)
        else:
            printed += [command(line.removeprefix("$ didact ")) for line in block.splitlines()]
    return "".join(printed)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_the_examples_on_files_run(started: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The blocks of files.md run, and show what the page says."""
    command("tokenize starter --workers 1")
    printed = run_page("files.md")
    said = capsys.readouterr().out
    told = said.rstrip().rsplit("trained on: ", 1)[1].splitlines()
    assert told[0].strip() in {row["output"] for row in starter_rows()}
    assert told[1].startswith("torch.Size([8, ") and printed.count("all as the manifest says") == 2


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_the_examples_on_versions_run(started: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The blocks of versions.md run, Python and commands, and show what the page says."""
    printed = run_page("versions.md")
    said = capsys.readouterr().out
    assert "duplicate.exact" in said and "JS001" in said and "filter: response.chars<4 ['/filters/0/min'" in said
    for told in ("read from   colours: colours.jsonl:1", "strict", "all as the manifest says", "would be free"):
        assert told in printed
    assert Path("openai-lines/finetune/train.jsonl").is_file()
    assert [path.name for path in Path("store/data/starter").iterdir() if path.name != "refs"] == [
        Path("store/data/starter/refs/v1").read_text().strip()
    ]


def test_the_examples_on_building_run(started: Path) -> None:
    """The commands of building.md run: the plan finds the version built, and the page stands where it is said to be."""
    assert started.is_dir()
    printed = run_page("building.md")
    assert "is built already" in printed and "report.html" in printed


def test_the_mixes_of_the_page_are_mixes() -> None:
    """Every recipe in mixing.md is one."""
    blocks = re.findall(r"```yaml\n(.*?)```", (DOCS / "mixing.md").read_text(encoding="utf-8"), re.DOTALL)
    for name, settings in ((name, mix) for block in blocks for name, mix in yaml.safe_load(block).items()):
        parts = settings.get("phases", [settings])
        sources = {source: {"path": "x"} for part in parts for source in part["sources"]}
        assert load_recipe({"name": "page", "sources": sources, "mixes": {name: settings}})[0].mixes[name].blends
    assert len(blocks) == 3


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
