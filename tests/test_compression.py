"""How well the tokenizer fits is counted by source and language, and a language nobody stated is told by its script."""

from __future__ import annotations

import json
import unicodedata
from collections import defaultdict
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from didact.build import compression
from didact.build.pipeline import build
from didact.records import AnyRecord
from didact.render.tokenizer import Tokenizer
from didact.report.summary import print_summary
from didact.store.version import Version
from didact.text.scripts import NAMES, script_of

SPELT = {"Han": ("CJK", "IDEOGRAPHIC"), "Kana": ("HIRAGANA", "KATAKANA", "HALFWIDTH"), "Burmese": ("MYANMAR",)}
SPELT |= {"Odia": ("ORIYA",), "Greek": ("GREEK", "COPTIC"), "Latin": ("LATIN", "FULLWIDTH")}
SPELT |= {"Arabic": ("ARABIC", "HALFWIDTH"), "Hangul": ("HANGUL",)}


def test_letters_belong_to_the_script_their_name_says() -> None:
    """No letter of the Basic Multilingual Plane is given to a script that its Unicode name does not name."""
    known = 0
    for point in range(0x10000):
        script = script_of(chr(point)) if unicodedata.category(chr(point))[0] == "L" else None
        if script is not None:
            name = unicodedata.name(chr(point), "")
            words = SPELT.get(script, (script.upper(),))
            assert any(word in name for word in words), f"U+{point:04X} {name} is not {script}"
            known += 1
    assert known > 40_000
    assert len(NAMES) == len(set(NAMES))


@given(st.text("abc", min_size=1), st.text("жзи", min_size=1))
def test_the_script_of_most_letters_counts(latin: str, cyrillic: str) -> None:
    """Of two scripts the one with more letters is told, whatever stands between."""
    if len(latin) != len(cyrillic):
        assert script_of(f"12 {latin}, {cyrillic}!") == ("Latin" if len(latin) > len(cyrillic) else "Cyrillic")


SOURCES: dict[str, tuple[str | None, list[tuple[str, str]]]] = {
    "english": ("en", [("Which animal is it?", "A fox."), ("Why?", "So.")]),
    "silent": (None, [("什么动物？", "狐狸。"), ("2 + 2 = ?", "4"), ("Кто это?", "Лиса.")]),
}


def built(folder: Path, workers: int) -> Version:
    """A version of two sources: one states its language, one does not."""
    for name, (_, rows) in SOURCES.items():
        lines = [
            json.dumps({"instruction": f"{asked} {n}", "input": "", "output": said})
            for n in range(9)
            for asked, said in rows
        ]
        (folder / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    recipe = {
        "name": "fit",
        "store": str(folder / f"store{workers}"),
        "sources": {
            name: {"path": str(folder / f"{name}.jsonl"), "format": "alpaca", "language": language}
            for name, (language, _) in SOURCES.items()
        },
        "split": {"validation": 0.1, "test": 0},
        "tokenizer": {"vocab_size": 320},
        "mixes": {"finetune": {"sources": {name: {"epochs": 1} for name in SOURCES}}},
    }
    return build(recipe, workers=workers)


def test_compression_is_that_of_the_training_texts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Records, bytes and tokens are those of encoding each training record's texts alone; the build tells them."""
    version = built(tmp_path, 1)
    tokenizer = Tokenizer.load(version.path / "tokenizer")
    expected: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for file in sorted((version.path / "data" / "finetune").glob("train-*.parquet")):
        for text in pq.read_table(file)["record"].to_pylist():
            record = AnyRecord.validate_json(text)
            said = [part.text for part in record.texts()]
            script = script_of("".join(said))
            unstated = "unknown" if script is None else f"unknown, {script} script"
            of = expected[record.source, record.language or unstated]
            of[0] += 1
            of[1] += sum(len(one.encode()) for one in said)
            of[2] += sum(len(tokenizer.encode(one)) for one in said)
    found = {(fit.source, fit.language): [fit.records, fit.bytes, fit.tokens] for fit in version.manifest.compression}
    assert found == expected
    assert list(found) == sorted(found)
    assert {language for source, language in found if source == "english"} == {"en"}
    assert {"unknown", "unknown, Han script", "unknown, Cyrillic script"} == {
        language for source, language in found if source == "silent"
    }
    print_summary(version.manifest)
    fit = version.manifest.compression[0]
    assert f"{fit.bytes / fit.tokens:.2f}" in capsys.readouterr().out


def test_compression_does_not_depend_on_workers_and_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two workers count what one counts; of a large source a sample of that many bytes is looked at."""
    one = built(tmp_path, 1).manifest.compression
    assert built(tmp_path, 2).manifest.compression == one
    monkeypatch.setattr(compression, "SAMPLED", 100)
    (tmp_path / "again").mkdir()
    sampled = built(tmp_path / "again", 1).manifest.compression
    for source in SOURCES:
        size = sum(fit.bytes for fit in sampled if fit.source == source)
        assert 100 <= size < 160 < sum(fit.bytes for fit in one if fit.source == source)
