"""Token shards hold exactly what the renderer renders, in the version's order, and never half of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from small_tokenizer import SENTENCES, small_tokenizer

from didact.durable import write_json
from didact.errors import CorruptVersion, StoreError, UnknownName
from didact.model.batches import BatchPlan
from didact.model.pairs import PairPlan
from didact.render import token_shards
from didact.render.npy import NpyWriter, open_npy
from didact.render.renderer import render_dialogue, render_text
from didact.render.token_shards import TokenShards, tokenize_version

TURN = pa.struct([("role", pa.string()), ("content", pa.string()), ("weight", pa.float32())])


def dialogue(number: int, weight: float | None = None) -> list[dict[str, Any]]:
    """A question and its answer."""
    asked = {"role": "user", "content": f"What follows {number}?", "weight": None}
    return [asked, {"role": "assistant", "content": str(number + 1), "weight": weight}]


def write_split(version: Path, mix: str, split: str, column: pa.Array, shards: int = 1, **more: pa.Array) -> None:
    """A split of a version with the columns that tokenizing reads."""
    count = len(column)
    columns = {
        "id": pa.array([f"{number:032x}" for number in range(count)]),
        "source": pa.array(["even" if number % 2 == 0 else "odd" for number in range(count)]),
        "epoch": pa.array([number // 3 for number in range(count)], pa.int32()),
        ("messages" if pa.types.is_list(column.type) else "text"): column,
        **more,
    }
    table = pa.table(columns)
    (version / "data" / mix).mkdir(parents=True, exist_ok=True)
    for shard in range(shards):
        start, stop = count * shard // shards, count * (shard + 1) // shards
        pq.write_table(
            table.slice(start, stop - start), version / "data" / mix / f"{split}-{shard:05d}-of-{shards:05d}.parquet"
        )
    write_json(version / "manifest.json", {"made": "for a test"})


@dataclass
class Pairs:
    """Documents two by two; the first four in one phase."""

    ids: NDArray[Any]
    weights: NDArray[Any]
    bounds: NDArray[np.int64]
    phase_names = ("first", "second")
    phase_bounds = np.array([0, 4, 10])


@pytest.fixture
def version(tmp_path: Path) -> Path:
    """A version with a pretrain mix in three shards and a finetune mix with an empty validation split."""
    folder = tmp_path / "version"
    write_split(folder, "pretrain", "train", pa.array([f"{n} {SENTENCES[n % 4]}" for n in range(10)]), shards=3)
    dialogues = [dialogue(n, 0.0 if n == 1 else None) for n in range(5)]
    tools = pa.array([None, '[{"name":"next"}]', None, None, None])
    write_split(folder, "finetune", "train", pa.array(dialogues, pa.list_(TURN)), tools=tools)
    write_split(folder, "finetune", "validation", pa.array([], pa.list_(TURN)), tools=pa.array([], pa.string()))
    return folder


def test_a_pretrain_split_is_its_rendered_texts(version: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records of all shards follow each other as rendered, with ids, epochs and sources, whatever the batches."""
    monkeypatch.setattr(token_shards, "_BATCH_ROWS", 3)
    manifest = tokenize_version(version, small_tokenizer(), tmp_path / "tokens", workers=2)
    shards = TokenShards.open(tmp_path / "tokens", "pretrain", "train")
    expected = [render_text(f"{n} {SENTENCES[n % 4]}", small_tokenizer()) for n in range(10)]
    assert shards.ids.dtype == np.uint16 and isinstance(shards.ids, np.memmap)
    assert shards.ids.tolist() == [i for one in expected for i in one.ids.tolist()]
    assert shards.weights.tolist() == [w for one in expected for w in one.weights.tolist()]
    assert shards.lengths.tolist() == [one.ids.size for one in expected] and len(shards) == 10
    assert shards.record_ids[7].tobytes().hex() == f"{7:032x}"
    assert shards.epochs.tolist() == [n // 3 for n in range(10)]
    assert [shards.source_names[code] for code in shards.sources] == ["even", "odd"] * 5
    counts = manifest["mixes"]["pretrain"]["train"]
    assert counts["tokens"] == shards.ids.size and counts["trained_tokens"] == int(shards.weights.sum())


def test_a_finetune_split_is_its_rendered_dialogues(version: Path, tmp_path: Path) -> None:
    """Dialogues keep their weights and tools; weights that are 0 or 1 take a byte."""
    tokenize_version(version, small_tokenizer(), tmp_path / "tokens")
    shards = TokenShards.open(tmp_path / "tokens", "finetune", "train")
    tools = {1: '[{"name":"next"}]'}
    expected = [
        render_dialogue(dialogue(n, 0.0 if n == 1 else None), small_tokenizer(), tools.get(n)) for n in range(5)
    ]
    assert shards.ids.tolist() == [i for one in expected for i in one.ids.tolist()]
    assert shards.weights.dtype == np.uint8
    assert shards.weights.tolist() == [w for one in expected for w in one.weights.tolist()]
    assert len(TokenShards.open(tmp_path / "tokens", "finetune", "validation")) == 0


def test_phases_reach_the_trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The phases of a mix are bounds in its shards, and the trainer follows them."""
    monkeypatch.setattr(token_shards, "_BATCH_ROWS", 3)
    version, texts = tmp_path / "version", pa.array([f"{n} {SENTENCES[n % 4]}" for n in range(10)])
    write_split(version, "pretrain", "train", texts, phase=pa.array(["zeal"] * 4 + ["anneal"] * 6))
    write_split(version, "pretrain", "validation", texts, phase=pa.array([None] * 10, pa.string()))
    tokenize_version(version, small_tokenizer(), tmp_path / "tokens")
    shards = TokenShards.open(tmp_path / "tokens", "pretrain", "train")
    assert shards.phase_names == ["zeal", "anneal"] and shards.phase_bounds.tolist() == [0, 4, 10]
    assert TokenShards.open(tmp_path / "tokens", "pretrain", "validation").phase_names == []
    plan = BatchPlan(shards, 64, 64, 64, "split", seed=1)
    trained = [int(document) for step in range(plan.steps_per_epoch) for document in plan.step(step)[0].documents]
    assert set(trained) == set(range(10))
    assert [document >= 4 for document in trained] == sorted(document >= 4 for document in trained)
    pairs = PairPlan(Pairs(shards.ids, shards.weights, shards.bounds), 64, 64, 64, "drop", seed=1)
    rows = pairs.epoch(0).entries["document"]
    assert [pair >= 2 for pair in rows] == sorted(pair >= 2 for pair in rows) and len(rows) == 5


def test_weights_between_0_and_1_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fractional weight, also one that comes late, is stored exactly, and so are those before it."""
    monkeypatch.setattr(token_shards, "_BATCH_ROWS", 2)
    weights = [None, 0.0, None, 0.25, 2.0]
    dialogues = [dialogue(n, weight) for n, weight in enumerate(weights)]
    write_split(tmp_path / "version", "finetune", "train", pa.array(dialogues, pa.list_(TURN)))
    tokenize_version(tmp_path / "version", small_tokenizer(), tmp_path / "tokens")
    shards = TokenShards.open(tmp_path / "tokens", "finetune", "train")
    assert shards.weights.tolist() == [
        w for one in dialogues for w in render_dialogue(one, small_tokenizer()).weights.tolist()
    ]
    assert sorted(path.name for path in shards.folder.iterdir() if path.suffix == ".narrow") == []


def test_the_same_bytes_for_any_number_of_workers(version: Path, tmp_path: Path) -> None:
    """One and several threads write the same files."""
    manifests = [tokenize_version(version, small_tokenizer(), tmp_path / str(workers), workers) for workers in (1, 3)]
    assert manifests[0] == manifests[1]


def test_what_is_complete_is_not_done_again(version: Path, tmp_path: Path) -> None:
    """A second call changes no file; after the loss of the manifest the finished splits are kept."""
    out = tmp_path / "tokens"
    first = tokenize_version(version, small_tokenizer(), out)
    before = {path: path.stat().st_ino for path in sorted(out.rglob("*.npy"))}
    assert tokenize_version(version, small_tokenizer(), out) == first
    (out / "manifest.json").unlink()
    (out / "pretrain" / "train" / "split.json").unlink()
    assert tokenize_version(version, small_tokenizer(), out) == first
    kept = {path for path, number in before.items() if path.stat().st_ino == number}
    assert {path.parent.parent.name for path in kept} == {"finetune"}


def test_what_killed_calls_left_is_swept(version: Path, tmp_path: Path) -> None:
    """Half-written splits of a killed call are neither read nor kept by the next one."""
    left = tmp_path / "tokens" / "pretrain" / ".aside-0123456789ab-train"
    left.mkdir(parents=True)
    (left / "ids.npy").write_bytes(b"half")
    tokenize_version(version, small_tokenizer(), tmp_path / "tokens")
    assert not left.exists() and len(TokenShards.open(tmp_path / "tokens", "pretrain", "train")) == 10


def test_another_tokenizer_is_another_result(version: Path, tmp_path: Path) -> None:
    """Shards of another tokenizer in the same folder are replaced, not mixed."""
    tokenize_version(version, small_tokenizer(), tmp_path)
    tokenize_version(version, small_tokenizer("chatml"), tmp_path)
    shards = TokenShards.open(tmp_path, "pretrain", "train")
    assert shards.ids[0] == small_tokenizer("chatml").bos_id


def test_a_damaged_file_is_found(version: Path, tmp_path: Path) -> None:
    """A shortened file is refused when opened, a changed one when verified, an absent manifest when opened."""
    tokenize_version(version, small_tokenizer(), tmp_path / "tokens")
    ids = tmp_path / "tokens" / "pretrain" / "train" / "ids.npy"
    shards = TokenShards.open(tmp_path / "tokens", "pretrain", "train")
    shards.verify()
    whole = ids.read_bytes()
    ids.write_bytes(whole[:-1] + b"\xff")
    with pytest.raises(StoreError, match="content changed"):
        TokenShards.open(tmp_path / "tokens", "pretrain", "train").verify()
    ids.write_bytes(whole[:-1])
    with pytest.raises(StoreError, match="tokenize again"):
        TokenShards.open(tmp_path / "tokens", "pretrain", "train")
    with pytest.raises(StoreError):
        TokenShards.open(tmp_path, "pretrain", "train")


def test_unknown_mixes_and_splits_are_named(version: Path, tmp_path: Path) -> None:
    """A misspelt mix or split is answered with the known ones."""
    tokenize_version(version, small_tokenizer(), tmp_path)
    with pytest.raises(UnknownName, match="did you mean pretrain"):
        TokenShards.open(tmp_path, "pretrian", "train")
    with pytest.raises(UnknownName, match="unknown split 'test'"):
        TokenShards.open(tmp_path, "pretrain", "test")


def test_what_is_no_version_is_refused(tmp_path: Path) -> None:
    """A folder without manifest, a shard without a needed column and an id that is none are damaged versions."""
    with pytest.raises(CorruptVersion, match=r"no manifest\.json"):
        tokenize_version(tmp_path, small_tokenizer(), tmp_path / "tokens")
    write_split(tmp_path, "pretrain", "train", pa.array(["a"]), id=pa.array(["xyz"]))
    with pytest.raises(CorruptVersion, match="not 32 hex digits"):
        tokenize_version(tmp_path, small_tokenizer(), tmp_path / "tokens")
    assert not (tmp_path / "tokens" / "pretrain" / "train").exists()
    pq.write_table(
        pa.table({"id": ["0" * 32], "text": ["a"]}), tmp_path / "data" / "pretrain" / "train-00000-of-00001.parquet"
    )
    with pytest.raises(CorruptVersion, match="lacks the columns epoch, source"):
        tokenize_version(tmp_path, small_tokenizer(), tmp_path / "tokens")


@pytest.mark.parametrize(("dtype", "width"), [(np.uint16, 0), (np.float32, 0), (np.uint8, 16)])
def test_grown_files_are_npy_files(dtype: type[np.generic], width: int, tmp_path: Path) -> None:
    """What is appended piece by piece is read by numpy as one array; nothing appended is an empty array."""
    rows = np.arange(64).reshape(-1, 16) if width else np.arange(64)
    for pieces in ([], [rows], [rows[:1], rows[1:]]):
        with NpyWriter(tmp_path / "grown.npy", dtype, width) as writer:
            for piece in pieces:
                writer.append(piece)
        expected = rows.astype(dtype) if pieces else rows[:0].astype(dtype)
        assert np.array_equal(np.load(tmp_path / "grown.npy"), expected)
        assert np.array_equal(open_npy(tmp_path / "grown.npy"), expected)
