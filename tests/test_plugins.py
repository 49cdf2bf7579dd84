"""A user's own format, signal and metric work wherever the built-in ones do: docs/plugins.md keeps its word."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

import didact
from didact.curate import signals
from didact.errors import CallError
from didact.evaluate import metrics
from didact.formats import registry
from didact.formats.detect import detect

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
    example = (Path(__file__).parent / "plugin_example.py").read_text(encoding="utf-8")
    page = (Path(__file__).parent.parent / "docs" / "plugins.md").read_text(encoding="utf-8")
    assert example in page
