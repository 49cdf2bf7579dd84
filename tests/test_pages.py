"""The pages of versions and runs tell what is on file, fetch nothing, and let nothing from outside run."""

from __future__ import annotations

import json
import math
import re
import shutil
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from tiny_recipe import build_tiny, lost, tiny, write_inputs

from didact.build import losses, shard_files
from didact.build.pipeline import build
from didact.cli import cli
from didact.report.curves import curves
from didact.report.flow import flow
from didact.report.lost_examples import cleaned_examples, lost_examples
from didact.report.page import SORTING
from didact.report.run_page import Run, run_page
from didact.report.version_page import version_page
from didact.store.layout import Store
from didact.store.manifest import Account, SplitEntry
from didact.store.version import Version

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'><svg onload=alert(3)>\x1b[2J\u202e&amp;"


class Tags(HTMLParser):
    """What a browser would find in a page: its tags, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.said: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A tag."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Text."""
        self.said.append(data)

    @property
    def text(self) -> str:
        """All text."""
        return " ".join(" ".join(self.said).split())


def require_harmless(page: str) -> Tags:
    """The page as a browser finds it: one script, ours; nothing fetched; no handler; links stay on the page."""
    found = Tags(page)
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert scripts == [SORTING] and sum(tag == "script" for tag, _ in found.tags) == 1
    assert {tag for tag, _ in found.tags}.isdisjoint({"img", "iframe", "object", "embed", "link", "form", "base"})
    for _, attributes in found.tags:
        assert not any(name.startswith("on") or name in ("src", "srcset", "style") for name in attributes)
        assert (attributes.get("href") or "#").startswith("#")
    assert "\x1b" not in page and "\u202e" not in page
    assert "default-src 'none'" in page
    return found


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Version:
    """A small version in a store."""
    return build_tiny(tmp_path_factory.mktemp("pages"))


def page_of(version: Version) -> Path:
    """Where the build wrote the page."""
    return Store(version.path.parents[2]).build(version.manifest.plan).path / "report.html"


def test_a_build_writes_its_page(version: Version) -> None:
    """The page stands beside the work of the build, and tells every count, licence, mix and stage."""
    found = require_harmless(page_of(version).read_text())
    manifest = version.manifest
    for reason, count in lost(version).items():
        assert re.search(rf"{re.escape(reason)}.{{0,80}} {count:,}", found.text), reason
    for name, entry in manifest.mixes["finetune"].sources.items():
        assert name in found.text and f"{entry.achieved.tokens:,}" in found.text
    assert "CC0-1.0" in found.text and "not stated: ask the author" in found.text
    assert "tokenizer and counts" in found.text and manifest.digest in found.text
    ids = {attributes["id"] for _, attributes in found.tags if "id" in attributes}
    links = {str(attributes["href"])[1:] for tag, attributes in found.tags if tag == "a"}
    assert links <= ids and {"JS001", "flow"} <= links


def test_examples_are_the_rows_that_were_lost(version: Version) -> None:
    """Five rows at most for each reason, with their places and texts as they stand in dropped/ and rejected/."""
    found = Tags(page_of(version).read_text())
    assert 'stories, alpaca.json:1 {"question"' not in found.text
    assert "Say nothing at all." in found.text and '"no object"' in found.text
    assert '{"question": "Half a row' in found.text and "sums, sums.jsonl:13" in found.text
    assert found.text.count("same content as") == 5 and found.text.count("Jaccard 0.") == 4


def test_the_page_depends_on_the_version_alone(version: Version, tmp_path: Path) -> None:
    """Made again it is the same to the byte; elsewhere too, but for what the build cost."""
    assert version_page(version) == version_page(Version.open(version.path))
    copy = Version.open(shutil.copytree(version.path, tmp_path / "copy"))
    assert version_page(copy) == version_page(version)
    assert "Time and memory" not in version_page(version)


def test_report_writes_where_it_is_told(version: Version, tmp_path: Path) -> None:
    """In a store beside the build's work; a copy without a store needs --out."""
    run = CliRunner()
    page = page_of(version)
    first = page.read_bytes()
    page.unlink()
    store = str(version.path.parents[2])
    assert run.invoke(cli, ["report", "tiny", "--store", store]).stdout.strip() == str(page)
    assert page.read_bytes() == first
    assert json.loads(run.invoke(cli, ["report", str(version.path), "--json"]).stdout) == {"report": str(page)}
    copy = shutil.copytree(version.path, tmp_path / "copy")
    told = run.invoke(cli, ["report", str(copy)])
    assert told.exit_code == 2 and "--out" in told.output
    assert run.invoke(cli, ["report", str(copy), "--out", str(tmp_path / "page.html")]).exit_code == 0
    require_harmless((tmp_path / "page.html").read_text())


def test_nothing_from_outside_runs(tmp_path: Path) -> None:
    """Hostile texts, file names, source names and licences are shown as text."""
    rows: list[Any] = [
        {"instruction": f"{EVIL} {n}", "input": "", "output": f"{EVIL} &lt;b&gt;" * (n % 3)} for n in range(9)
    ]
    rows += [rows[1], EVIL]
    path = tmp_path / f"{EVIL.replace('/', '|')}.json"
    path.write_text(json.dumps(rows))
    source = {"path": str(path), "format": "alpaca", "license": EVIL}
    recipe = {"name": "evil", "store": str(tmp_path / "s"), "sources": {EVIL: source}, "tokenizer": {"vocab_size": 300}}
    version = build(recipe | {"split": {"validation": 0, "test": 0}, "filters": [{"set": "instruction"}]}, workers=1)
    found = require_harmless(page_of(version).read_text())
    assert found.text.count("<script>alert(1)</script>") > 10


ROWS = st.integers(0, 10**9)


@given(
    st.lists(st.tuples(st.text(max_size=8), ROWS, st.dictionaries(st.text(max_size=9), ROWS, max_size=9)), max_size=40),
    st.integers(1, 5),
)
def test_any_accounting_can_be_drawn(sources: list[tuple[str, int, dict[str, int]]], stages: int) -> None:
    """Whatever was lost where, the picture is well-formed, in its frame, and says each source's and stage's rows."""
    accounts: list[Account] = []
    for name, kept, dropped in {name: (name, kept, dropped) for name, kept, dropped in sources}.values():
        rows = kept + sum(dropped.values())
        accounts.append(Account(stage="read", source=name, rows_in=rows, kept=kept, dropped=dropped))
        accounts += [Account(stage=f"s{n}", source=name, rows_in=kept, kept=kept) for n in range(1, stages)]
    accounts.sort(key=lambda one: one.stage)
    splits = {name: SplitEntry(requested={}, achieved={"train": kept}) for name, kept, _ in sources}
    drawn = flow(accounts, splits)
    total = sum(one.rows_in for one in accounts if one.stage == "read")
    assert (drawn == "") == (total == 0)
    if drawn:
        picture = ElementTree.fromstring(re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", "?", drawn))
        numbers = [float(n) for n in re.findall(r"(?<=[ ,\"MLC])-?\d+\.\d+(?=[ ,\"])", drawn)]
        assert all(math.isfinite(n) and n >= -20 for n in numbers) and "nan" not in drawn and "inf" not in drawn
        assert f"{total:,} in" in "".join(picture.itertext())


def step(number: int, loss: float, **more: Any) -> dict[str, Any]:
    """A line of a step."""
    return {"event": "step", "step": number, "loss": loss, "tokens": 100 * number, "tokens_per_second": 9.5} | more


def test_a_runs_page_tells_losses_by_source_scores_and_answers() -> None:
    """Curves of training, of validation and of each source; scores beside their baselines; answers as text."""
    lines = [step(n, 5 / n) for n in range(1, 9)] + [
        {"event": "validation", "step": n, "loss": 6 / n, "sources": {"a": 7 / n, EVIL: 5.5 / n}} for n in (2, 4, 8)
    ]
    score = {"mean": 0.5, "n": 8, "low": 0.2, "high": 0.8}
    answer = {"question": EVIL, "answer": EVIL, "references": ["no"], "score": 0.0}
    task = {
        "task": EVIL,
        "metric": "exact_match",
        "score": score,
        "chance": 0.1,
        "neighbour": None,
        "answers": [answer],
    }
    evaluation = {"bits_per_byte": {"finetune": 1.25}, "tasks": [task], "mean_score": 0.5}
    page = run_page(Run("x/y", "abc", {"finetune": lines}, {"finetune": evaluation}, ended=False))
    found = require_harmless(page)
    assert "8 steps, 800 tokens; last loss 0.625, best validation loss 0.750" in found.text
    assert "a: 3.500 → 0.875" in found.text and "1.250" in found.text and "20.0–80.0" in found.text
    assert "It has not ended" in found.text and found.text.count("<script>alert(1)") > 3
    assert page == run_page(Run("x/y", "abc", {"finetune": lines}, {"finetune": evaluation}, ended=False))


NUMBERS = st.floats(allow_nan=True, allow_infinity=True, width=32)


@given(
    st.dictionaries(st.text(max_size=5), st.lists(st.tuples(st.integers(0, 10**6), NUMBERS), max_size=30), max_size=2)
)
def test_any_curve_can_be_drawn(named: dict[str, list[tuple[int, float]]]) -> None:
    """Any numbers make a well-formed chart whose points are inside it; without a finite one there is no chart."""
    drawn = curves(named, "losses")
    assert (drawn == "") == (not any(math.isfinite(y) for curve in named.values() for _, y in curve))
    for path in re.findall(r' d="M([^"]*)"', drawn):
        points = [tuple(map(float, point.split(","))) for point in path.split(" L")]
        assert all(0 <= x <= 700 and 0 <= y <= 260 for x, y in points)


def test_a_run_folder_gets_its_page(tmp_path: Path) -> None:
    """`didact report RUN` reads what a run has written so far, a torn last line too, and writes into its folder."""
    (tmp_path / "run" / "finetune").mkdir(parents=True)
    (tmp_path / "run" / "version.json").write_text('{"version": "0123456789ab"}')
    text = "".join(json.dumps(step(n, 3.0)) + "\n" for n in (1, 2)) + '{"event": "st'
    (tmp_path / "run" / "finetune" / "metrics.jsonl").write_text(text)
    told = CliRunner().invoke(cli, ["report", str(tmp_path / "run")])
    assert told.stdout.strip() == str(tmp_path / "run" / "report.html")
    assert "2 steps" in require_harmless((tmp_path / "run" / "report.html").read_text()).text


def _with_dirt(folder: Path) -> Version:
    """The tiny recipe, with texts that cleaning changes by two rules in turn."""
    write_inputs(folder)
    recipe = tiny(folder)
    dirt = ["  two  blanks", "an &amp;amp; entity", "both &amp; \u200b  of them"]
    rows = [{"prompt": f"Clean {n}: {dirt[n % 3]}", "completion": f"Number {n}."} for n in range(20)]
    (folder / "dirty.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    recipe["sources"]["dirty"] = {"path": str(folder / "dirty.jsonl"), "format": "prompt_completion"}
    return build(recipe, workers=1)


def test_examples_are_the_first_rows_of_each_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which lost and changed rows a page shows does not depend on the files and row groups they are in."""
    whole = _with_dirt(tmp_path / "whole")
    monkeypatch.setattr(losses, "_PART_ROWS", 4)
    monkeypatch.setattr(shard_files, "GROUP_ROWS", 3)
    parted = _with_dirt(tmp_path / "parted")
    assert sum(file.path.startswith("dropped/") for file in parted.manifest.files) > 1
    assert pq.ParquetFile(parted.path / "cleaned/cleaned.parquet").num_row_groups > 1
    for most in (1, 2, 5):
        lost_rows, changed = lost_examples(parted, most), cleaned_examples(parted, most)
        assert (lost_rows, changed) == (lost_examples(whole, most), cleaned_examples(whole, most))
        assert {max(map(len, found.values())) for found in (lost_rows, changed)} == {most}
