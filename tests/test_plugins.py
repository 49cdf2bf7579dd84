"""A user's own format, signal and metric work wherever the built-in ones do: docs/plugins.md keeps its word."""

from __future__ import annotations

import importlib
import json
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner

import didact
from didact import plugins
from didact.cli import cli
from didact.curate import signals
from didact.errors import CallError
from didact.evaluate import metrics
from didact.formats import registry
from didact.formats.detect import detect

PAGE = (Path(__file__).parent.parent / "docs" / "plugins.md").read_text(encoding="utf-8")
EXAMPLE = (Path(__file__).parent / "plugin_example.py").read_text(encoding="utf-8")
TEN_LINES = re.findall(r"```python cards\.py\n(.*?)```", PAGE, re.DOTALL)[0]
CARDS = [
    {"front": "Capital of Peru?", "back": "Lima", "deck": "cities"},
    {"front": "Capital of Chile?", "back": "SANTIAGO", "deck": "cities"},
    {"front": "Capital of Ghana?", "back": "Accra", "deck": "cities"},
]


class _EntryPoint:
    """What `importlib.metadata` gives for one line of a package's entry points."""

    name = "flash_cards"

    def load(self) -> object:
        """The object the line names."""
        return importlib.import_module("plugin_example").FLASH_CARDS


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The example as an installed package would bring it; the registries are left as they were."""
    monkeypatch.setattr(registry, "entry_points", lambda group: [_EntryPoint()] if group == "didact.formats" else [])
    monkeypatch.setattr(signals, "SIGNALS", dict(signals.SIGNALS))
    monkeypatch.setattr(metrics, "_METRICS", dict(metrics._METRICS))
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.delitem(importlib.import_module("sys").modules, "plugin_example", raising=False)
    registry._from_entry_points.cache_clear()
    importlib.import_module("plugin_example")
    yield
    registry._from_entry_points.cache_clear()


def _deck(folder: Path) -> Path:
    path = folder / "cards.jsonl"
    path.write_bytes(b"".join(orjson.dumps(card) + b"\n" for card in CARDS))
    return path


@pytest.mark.usefixtures("plugin")
def test_an_own_format_is_detected_and_read(tmp_path: Path) -> None:
    """A format found by entry point is detected among the built-in ones, and keeps what it has no place for."""
    assert detect(CARDS, "cards") == "flash_cards"
    records = list(didact.read(_deck(tmp_path)))
    assert [[turn["content"] for turn in record.dialogue()] for record in records] == [
        [card["front"], card["back"]] for card in CARDS
    ]
    assert [record.origin.extra for record in records if record.origin] == [{"deck": "cities"}] * 3


@pytest.mark.usefixtures("plugin")
def test_an_own_signal_filters_a_build(tmp_path: Path) -> None:
    """A filter on a user's signal drops exactly the records it is meant for, with the signal's name as the reason."""
    recipe = {
        "name": "cards",
        "sources": {"cards": {"path": str(_deck(tmp_path)), "format": "flash_cards"}},
        "filters": [{"signal": "response.shouting", "max": 0}],
        "dedup": {"minhash": None},
        "split": {"validation": 0, "test": 0},
        "tokenizer": None,
    }
    version = didact.build(recipe, store=tmp_path / "store", workers=1)
    dropped = {account.stage: account.dropped for account in version.manifest.accounting}
    assert dropped["filter"] == {"response.shouting>0": 1}
    kept = [messages[1]["content"] for messages in version.table("finetune")["messages"].to_pylist()]
    assert sorted(kept) == ["Accra", "Lima"]


@pytest.mark.usefixtures("plugin")
def test_an_own_metric_scores() -> None:
    """A registered metric is listed, and scores against the best of the references."""
    assert "first_word" in metrics.metric_names()
    assert metrics.best_score("first_word", "Lima is right", ["Cusco", "Lima"]) == 1.0


@pytest.mark.usefixtures("plugin")
def test_a_taken_name_is_refused() -> None:
    """A signal, format or metric cannot take the place of another one."""
    with pytest.raises(CallError, match=r"response\.words"):
        signals.signal("response.words", "words", "mine")(lambda texts: 0.0)
    with pytest.raises(CallError, match="alpaca"):
        registry.register(registry.get("alpaca"))
    with pytest.raises(CallError, match="exact_match"):
        metrics.register("exact_match")(lambda answer, reference: 0.0)


@pytest.mark.usefixtures("plugin")
def test_the_page_shows_the_example() -> None:
    """docs/plugins.md prints the example file as it is."""
    assert EXAMPLE in PAGE


# --- Plug-ins by path ------------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a deck, the ten lines of the page and the example; what they register is forgotten afterwards."""
    for place, name, value in (
        (signals, "SIGNALS", dict(signals.SIGNALS)),
        (metrics, "_METRICS", dict(metrics._METRICS)),
        (metrics, "_PLUGINS", {}),
        (registry, "_ADDED", {}),
        (plugins, "_LOADED", {}),
    ):
        monkeypatch.setattr(place, name, value)
    _deck(tmp_path)
    (tmp_path / "plain.jsonl").write_text('{"prompt": "Say yes.", "completion": "Yes."}\n', encoding="utf-8")
    (tmp_path / "cards.py").write_text(TEN_LINES, encoding="utf-8")
    (tmp_path / "my_plugins.py").write_text(EXAMPLE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _recipe(folder: Path, **changes: Any) -> Path:
    """A recipe of two sources, the cards by a plug-in, whose filter drops the answer in capitals."""
    recipe = {
        "name": "decks",
        "plugins": ["./my_plugins.py"],
        "sources": {
            "cards": {"path": "cards.jsonl", "format": "./cards.py"},
            "plain": {"path": "plain.jsonl", "format": "prompt_completion"},
        },
        "filters": [{"signal": "response.shouting", "max": 0, "sources": ["cards"]}],
        "dedup": {"minhash": None},
        "split": {"validation": 0, "test": 0},
        "tokenizer": None,
    }
    (folder / "recipe.json").write_text(json.dumps(recipe | changes), encoding="utf-8")
    return folder / "recipe.json"


def _didact(*arguments: object) -> Any:
    """What the command prints as JSON, run as a process of its own."""
    command = [sys.executable, "-c", "from didact.cli import main; main()", *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _chunks(folder: Path) -> dict[str, int]:
    """The chunk results of a store, by key, with the time each was made."""
    return {path.name: path.stat().st_mtime_ns for path in (folder / "store" / "builds" / "chunks").glob("*.done.json")}


def test_ten_lines_are_a_format() -> None:
    """The first example of the page is as short as its title says, and printed as it is run."""
    assert len([line for line in TEN_LINES.splitlines() if line.strip()]) <= 10


def test_a_path_is_a_format_for_validate(files: Path) -> None:
    """`didact validate --format ./cards.py` reads the deck in a process that has heard of nothing."""
    report = _didact("validate", "cards.jsonl", "--format", "./cards.py")
    assert (report["valid"], report["rejected"], report["files"][0]["format"]) == (3, 0, "cards")
    (files / "cards.jsonl").write_text('{"front": "?", "back": "!"}\n{"front": "?"}\n', encoding="utf-8")
    told = CliRunner().invoke(cli, ["validate", "cards.jsonl", "--format", "./cards.py:cards"])
    assert told.exit_code == 1 and "SC001" in told.output


def test_plugins_work_in_spawned_workers(files: Path) -> None:
    """A build with two workers filters by a plug-in's signal and reads by a plug-in's format, as one process does."""
    spread = _didact("build", _recipe(files), "--workers", 2)
    assert spread["manifest"]["sources"]["cards"]["format"] == ["cards"]
    assert spread["manifest"]["created_by"]["cards.py"].startswith("sha256:")
    dropped = {(one["stage"], one["source"]): one["dropped"] for one in spread["manifest"]["accounting"]}
    assert dropped["filter", "cards"] == {"response.shouting>0": 1}
    alone = didact.build(files / "recipe.json", store=files / "other", workers=1)
    assert alone.manifest.model_dump(by_alias=True) == spread["manifest"]


def test_a_changed_plugin_runs_again_what_depends_on_it(files: Path) -> None:
    """A changed format re-reads its source, a changed signal re-measures; other sources' chunks stay, nothing stale."""
    first = didact.build(_recipe(files), workers=1).manifest
    before = _chunks(files)
    (files / "cards.py").write_text(
        TEN_LINES.replace('question=card.text("front")', 'question="Q: " + card.text("front")')
    )
    second = didact.build(files / "recipe.json", workers=1)
    asked = [messages[0]["content"] for messages in second.table("finetune")["messages"].to_pylist()]
    assert sorted(asked) == ["Q: Capital of Ghana?", "Q: Capital of Peru?", "Say yes."]
    assert second.manifest.version != first.version
    assert {key: _chunks(files)[key] for key in before} == before
    assert len(_chunks(files)) == len(before) + 1
    (files / "my_plugins.py").write_text(EXAMPLE.replace("text.text.isupper()", "text.text.islower()"))
    third = didact.build(files / "recipe.json", workers=1).manifest
    assert sum(sum(one.dropped.values()) for one in third.accounting) == 0
    assert len(_chunks(files)) == len(before) + 2


def test_where_a_plugin_lies_does_not_matter(files: Path) -> None:
    """The same plug-ins in another folder under another path make the same version from the same chunks."""
    first = didact.build(_recipe(files), workers=1).manifest
    before = _chunks(files)
    (files / "away").mkdir()
    for name in ("cards.py", "my_plugins.py"):
        (files / name).rename(files / "away" / name)
    sources = json.loads((files / "recipe.json").read_text())["sources"]
    sources["cards"]["format"] = "away/cards.py"
    for place in (plugins._LOADED, registry._ADDED):
        place.clear()
    signals.SIGNALS.pop("response.shouting")
    metrics._METRICS.pop("first_word")
    again = didact.build(_recipe(files, sources=sources, plugins=["away/my_plugins.py"]), workers=1).manifest
    assert (again, _chunks(files)) == (first, before)


def test_formats_of_a_recipes_plugins_are_known_by_name(files: Path) -> None:
    """A plug-in's format is named and detected like a built-in one, and its change counts as well."""
    for given in ("flash_cards", "auto"):
        sources = {"cards": {"path": "cards.jsonl", "format": given}}
        manifest = didact.build(_recipe(files, sources=sources), workers=1).manifest
        assert manifest.sources["cards"].format == ["flash_cards"]
        assert "my_plugins.py" in manifest.created_by
    assert metrics.best_score("first_word", "Lima is right", ["Lima"]) == 1.0
    assert metrics.plugin_of("first_word") == plugins.plugin_at(files / "my_plugins.py")


def test_a_plugin_that_nothing_depends_on_changes_nothing(files: Path) -> None:
    """A recipe that names a plug-in and uses none of it makes the version that it makes without."""
    sources = {"plain": {"path": "plain.jsonl"}}
    used = didact.build(_recipe(files, sources=sources, filters=[]), workers=1).manifest
    assert didact.build(_recipe(files, sources=sources, filters=[], plugins=[]), workers=1).manifest == used


def test_python_among_the_data_is_data(files: Path) -> None:
    """A folder of data is read, never run."""
    (files / "data").mkdir()
    (files / "data" / "trap.py").write_text("raise SystemExit('the data was run')\n", encoding="utf-8")
    (record,) = didact.read(files / "data", unit="file")
    assert "the data was run" in record.texts()[0].text


def test_a_worker_runs_the_plugin_that_was_named(files: Path) -> None:
    """When the file is edited between planning and reading, or is not there where the worker runs, the content that
    was planned with is run: two formats are never mixed.
    """
    planned = plugins.plugin_at(files / "cards.py")
    (files / "cards.py").write_text(TEN_LINES.replace("Card", "Other"), encoding="utf-8")
    assert pickle.loads(pickle.dumps(planned)) == planned  # noqa: S301 - as it reaches a worker
    first = plugins.load(planned)
    (files / "cards.py").unlink()
    assert plugins.load(planned) is first and planned.content == TEN_LINES.encode()


ONE = TEN_LINES.rpartition("CARDS")[2]
BAD = {
    "broken.py": ("def read(row:\n", r"broken\.py:1: not Python: "),
    "empty.py": ("", r"empty\.py: holds no adapter; assign a didact\.formats\.registry\.Adapter"),
    "raising.py": ("x = 1\nassert x == 2, 'no'\n", r"raising\.py:2: raised AssertionError: no"),
    "two.py": (TEN_LINES + "MORE" + ONE.replace('"cards"', '"more"'), r"two\.py: holds the adapters cards, more; say"),
    "taken.py": (TEN_LINES.replace('Adapter("cards"', 'Adapter("alpaca"'), r"taken\.py: format 'alpaca' is there"),
    "twice.py": (TEN_LINES + "MORE" + ONE, r"twice\.py: format 'cards' is there already"),
    "null.py": ("\0", r"null\.py:1: not Python: "),
}


@pytest.mark.parametrize("name", sorted(BAD))
def test_bad_plugins_are_one_line(files: Path, name: str) -> None:
    """Whatever is wrong with a plug-in, the call ends with exit code 2 and one line that names file and reason."""
    content, told = BAD[name]
    (files / name).write_text(content, encoding="utf-8")
    result = CliRunner().invoke(cli, ["validate", "cards.jsonl", "--format", f"./{name}"])
    assert result.exit_code == 2
    assert re.fullmatch(rf"didact: error: .*{told}[^\n]*\n", result.stderr)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("./gone.py", r"gone\.py: no such plug-in file"),
        ("./cards.py:crads", r"unknown adapter 'crads'; did you mean cards\?"),
        ("./cards.txt", r"unknown format './cards.txt'"),
    ],
)
def test_plugins_that_are_not_there_are_one_line(files: Path, spec: str, told: str) -> None:
    """A missing file, a name that the file does not hold, and a path that is no Python file are refused."""
    del files
    result = CliRunner().invoke(cli, ["validate", "cards.jsonl", "--format", spec])
    assert result.exit_code == 2
    assert re.fullmatch(rf"didact: error: .*{told}[^\n]*\n", result.stderr)


def test_a_plugin_cannot_take_a_name(files: Path) -> None:
    """A recipe's plug-in that registers a built-in signal's name is refused with its file."""
    (files / "greedy.py").write_text(EXAMPLE.replace("response.shouting", "response.words"), encoding="utf-8")
    with pytest.raises(CallError, match=r"greedy\.py: signal 'response\.words' is registered already"):
        didact.build(_recipe(files, plugins=["greedy.py"]), workers=1)
    (files / "copy.py").write_text(EXAMPLE, encoding="utf-8")
    with pytest.raises(CallError, match=r"copy\.py: signal 'response\.shouting' is registered already"):
        didact.build(_recipe(files, plugins=["my_plugins.py", "copy.py"]), workers=1)
