"""The examples of docs/sources.md run as they are printed, and the commands read what the page says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import datasets
import pytest
from click.testing import CliRunner
from web_archives import page, response

import didact
from didact.cli import cli

PAGE = (Path(__file__).parent.parent / "docs" / "sources.md").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("resiliparse", "sqlalchemy"):
        pytest.importorskip(module, reason="needs didact[web,sql]")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    datasets.disable_progress_bars()


def test_the_examples_of_the_page_run() -> None:
    """Every Python block runs after the ones before it; its assertions are the page's claims."""
    names: dict[str, object] = {}
    examples = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(examples) == len(re.findall(r"^## ", PAGE, re.MULTILINE)) - 1
    for place, example in enumerate(examples):
        assert "assert" in example
        exec(compile(example, f"sources.md, example {place}", "exec"), names)


def test_the_command_reads_pages_archives_and_saved_folders() -> None:
    """`didact validate` takes a page, an archive and a saved data set in one call."""
    Path("page.html").write_bytes(page("Some text of a page."))
    Path("archive.warc.gz").write_bytes(response(page("Some text of an archive.")))
    datasets.Dataset.from_list([{"instruction": "a", "output": "b"}]).save_to_disk("folder")
    done = CliRunner().invoke(cli, ["validate", "page.html", "archive.warc.gz", "folder", "--json"])
    told = json.loads(done.stdout)
    assert {file["path"]: (file["format"], file["valid"]) for file in told["files"]} == {
        "page.html": ("text", 1),
        "archive.warc.gz": ("text", 1),
        "folder/data-00000-of-00001.arrow": ("alpaca", 1),
    }
    assert done.exit_code == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_a_build_of_pages_and_archives_accounts_for_every_record(workers: int) -> None:
    """A version made of an archive holds its pages; what was lost stands in the accounting; workers change nothing."""
    broken = response(page("This one breaks off."))[:-30]
    made = [response(page(f"Page {number} tells of the number {number}.")) for number in range(5)]
    Path("x.warc").write_bytes(b"".join([*made, broken, response(b"\x89PNG", "image/png")]))
    recipe = {
        "name": "web",
        "sources": {"crawl": {"path": "x.warc", "license": "CC0-1.0"}},
        "tokenizer": None,
        "split": {"validation": 0, "test": 0},
    }
    version = didact.build(recipe, store="store", workers=workers)
    (read,) = [account for account in version.manifest.accounting if account.stage == "read"]
    assert (read.rows_in, read.kept, read.rejected) == (6, 5, {"WB003": 1})
    assert sum(version.manifest.mixes["pretrain"].rows.values()) == 5
