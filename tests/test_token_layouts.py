"""Token shards for others: a data set of PyTorch, nanoGPT's and Megatron's files, and damage that is found."""

from __future__ import annotations

import pickle
import struct
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from small_tokenizer import SENTENCES, small_tokenizer
from test_token_shards import TURN, dialogue, write_split
from tiny_recipe import build_tiny, tiny

import didact
from didact.cli import cli
from didact.durable import read_json
from didact.errors import CallError, StoreError, UnknownName
from didact.render.layouts import write_layout
from didact.render.renderer import render_dialogue, render_text
from didact.render.token_shards import TokenShards, tokenize_version
from didact.render.verify_tokens import require_whole_tokens, verify_tokens

TEXTS = [f"{n} {SENTENCES[n % 4]}" for n in range(10)]


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    """Token shards of a mix of texts and one of dialogues."""
    version = tmp_path / "version"
    write_split(version, "pretrain", "train", pa.array(TEXTS), shards=2)
    write_split(version, "pretrain", "validation", pa.array(TEXTS[:3]))
    write_split(version, "pretrain", "test", pa.array([], pa.string()))
    dialogues = [dialogue(n, 0.0 if n == 1 else None) for n in range(5)]
    write_split(version, "finetune", "train", pa.array(dialogues, pa.list_(TURN)))
    tokenize_version(version, small_tokenizer(), tmp_path / "tokens")
    return tmp_path / "tokens"


def rendered(texts: list[str]) -> list[list[int]]:
    """Ids of each text."""
    return [render_text(text, small_tokenizer()).ids.tolist() for text in texts]


def test_nanogpt_reads_the_ids_of_all_records(tokens: Path) -> None:
    """train.bin and val.bin are raw 16-bit ids, each record beginning with its mark; empty splits have no file."""
    folder = write_layout(tokens, small_tokenizer(), "nanogpt")
    assert sorted(path.name for path in (folder / "pretrain").iterdir()) == ["train.bin", "val.bin"]
    for name, texts in (("train.bin", TEXTS), ("val.bin", TEXTS[:3])):
        ids = np.memmap(folder / "pretrain" / name, dtype=np.uint16, mode="r")
        assert ids.tolist() == [i for one in rendered(texts) for i in one]
        assert (ids == small_tokenizer().bos_id).sum() == len(texts)
    told = read_json(folder / "layout.json")
    assert told["mixes"] == {
        "pretrain": {
            "train": {"records": 10, "tokens": sum(map(len, rendered(TEXTS)))},
            "validation": {"records": 3, "tokens": sum(map(len, rendered(TEXTS[:3])))},
        }
    }


def read_megatron(prefix: Path) -> list[list[list[int]]]:
    """Documents of sequences of ids, read field by field from what the format says."""
    index, data = Path(f"{prefix}.idx").read_bytes(), Path(f"{prefix}.bin").read_bytes()
    assert index[:9] == b"MMIDIDX\x00\x00"
    version, code, sequences, ends = struct.unpack("<QBQQ", index[9:34])
    letter, size = {4: ("i", 4), 8: ("H", 2)}[code]
    assert version == 1
    place = 34
    lengths = struct.unpack(f"<{sequences}i", index[place : place + 4 * sequences])
    place += 4 * sequences
    pointers = struct.unpack(f"<{sequences}q", index[place : place + 8 * sequences])
    place += 8 * sequences
    starts = struct.unpack(f"<{ends}q", index[place : place + 8 * ends])
    assert place + 8 * ends == len(index)
    found = [
        list(struct.unpack(f"<{length}{letter}", data[pointer : pointer + size * length]))
        for length, pointer in zip(lengths, pointers, strict=True)
    ]
    assert sum(lengths) * size == len(data)
    return [found[start:stop] for start, stop in pairwise(starts)]


@pytest.mark.parametrize("vocab_size", [None, 65_500])
def test_megatron_reads_each_record_as_a_document(tokens: Path, vocab_size: int | None) -> None:
    """An independent reader of the format finds the records; vocabularies from 65,500 have 32-bit ids."""
    if vocab_size is not None:
        enlarge(tokens, vocab_size)
    folder = write_layout(tokens, small_tokenizer(), "megatron", ["pretrain", "finetune"])
    assert read_megatron(folder / "pretrain" / "train_text_document") == [[ids] for ids in rendered(TEXTS)]
    spoken = [render_dialogue(dialogue(n), small_tokenizer()).ids.tolist() for n in range(5)]
    assert read_megatron(folder / "finetune" / "train_text_document") == [[ids] for ids in spoken]
    size = (folder / "pretrain" / "train_text_document.bin").stat().st_size
    assert size == (2 if vocab_size is None else 4) * sum(map(len, rendered(TEXTS)))


def enlarge(tokens: Path, vocab_size: int) -> None:
    """Let the shards say that their tokenizer knows more ids."""
    from didact.durable import write_json
    from didact.render.token_shards import tokens_checksum

    manifest = read_json(tokens / "manifest.json") | {"vocab_size": vocab_size}
    write_json(tokens / "manifest.json", manifest | {"checksum": tokens_checksum(manifest)})


def test_what_a_layout_cannot_hold_is_refused(tokens: Path, tmp_path: Path) -> None:
    """Ids that need more than nanoGPT's 16 bits, pairs, unknown mixes, and weights that nobody said could go."""
    with pytest.raises(UnknownName, match="did you mean pretrain"):
        write_layout(tokens, small_tokenizer(), "nanogpt", ["pretrian"])
    enlarge(tokens, 65_537)
    with pytest.raises(CallError, match="65,537 ids; write --layout megatron"):
        write_layout(tokens, small_tokenizer(), "nanogpt")
    enlarge(tokens, 65_536)
    write_layout(tokens, small_tokenizer(), "nanogpt")
    version, column = tmp_path / "spoken", pa.array([dialogue(1)], pa.list_(TURN))
    write_split(version, "finetune", "train", column)
    tokenize_version(version, small_tokenizer(), tmp_path / "spoken-tokens")
    with pytest.raises(CallError, match="no mix holds plain text"):
        write_layout(tmp_path / "spoken-tokens", small_tokenizer(), "megatron")


def test_a_layout_is_written_once_and_anew_when_asked_otherwise(tokens: Path) -> None:
    """The same call changes no file; a call for other mixes replaces the folder."""
    folder = write_layout(tokens, small_tokenizer(), "nanogpt")
    before = (folder / "pretrain" / "train.bin").stat().st_ino
    assert write_layout(tokens, small_tokenizer(), "nanogpt") == folder
    assert (folder / "pretrain" / "train.bin").stat().st_ino == before
    write_layout(tokens, small_tokenizer(), "nanogpt", ["finetune"])
    assert [path.name for path in sorted(folder.iterdir())] == ["finetune", "layout.json"]


def test_every_damage_is_found(tokens: Path) -> None:
    """A flipped bit in any file of shards, layouts and their manifests is told, as are missing and extra files."""
    write_layout(tokens, small_tokenizer(), "megatron")
    assert verify_tokens(tokens) == []
    for path in sorted(path for path in tokens.rglob("*.*") if path.is_file()):
        whole = path.read_bytes()
        name = path.relative_to(tokens).as_posix()
        for place in {0, len(whole) // 2, len(whole) - 1}:
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            try:
                problems = verify_tokens(tokens)
            except StoreError:
                problems = [str(name)]
            assert problems, f"{name} byte {place}"
        path.unlink()
        if name != "manifest.json" and not name.startswith("layouts"):
            assert verify_tokens(tokens) == [f"{name}: missing"]
        path.write_bytes(whole)
    (tokens / "pretrain" / "stray.npy").write_bytes(b"")
    assert verify_tokens(tokens) == ["pretrain/stray.npy: not in the manifest"]
    with pytest.raises(StoreError, match=r"stray\.npy: not in the manifest; delete the folder and run again"):
        require_whole_tokens(tokens)


def test_the_dataset_holds_the_records(tokens: Path) -> None:
    """Ids, labels and weights are those of the renderer; padding carries no loss; a context cuts and counts."""
    data = didact.TokenDataset(tokens, "finetune")
    for n in range(5):
        expected = render_dialogue(dialogue(n, 0.0 if n == 1 else None), small_tokenizer())
        item = data[n]
        assert item["input_ids"].tolist() == expected.ids.tolist()
        assert item["loss_weights"].tolist() == expected.weights.tolist()
        labels = [i if weight > 0 else -100 for i, weight in zip(expected.ids, expected.weights, strict=True)]
        assert item["labels"].tolist() == labels
    texts = didact.TokenDataset(tokens, "pretrain", "validation")
    assert [texts[n]["loss_weights"].tolist() for n in range(3)] == [
        [0.0] + [1.0] * (len(ids) - 1) for ids in rendered(TEXTS[:3])
    ]
    batch = data.collate([data[0], data[-1], {name: part[:4] for name, part in data[2].items()}])
    assert batch["attention_mask"].sum(1).tolist() == [len(data[0]["input_ids"]), len(data[4]["input_ids"]), 4]
    assert set(batch["labels"][2, 4:].tolist()) == {-100} and set(batch["loss_weights"][2, 4:].tolist()) == {0.0}
    short = didact.TokenDataset(tokens, "finetune", context=6)
    assert short[0]["input_ids"].tolist() == data[0]["input_ids"][:6].tolist() and short.cut == 5
    assert data.record_id(3) == f"{3:032x}" and len(data) == 5 and data.cut == 0
    with pytest.raises(IndexError):
        data[5]


def test_the_dataset_travels_as_a_name(tokens: Path) -> None:
    """A worker gets the folder's name, not the arrays, and maps them itself."""
    data = didact.TokenDataset(tokens, "pretrain")
    assert data[3]["input_ids"].tolist() == rendered(TEXTS)[3]
    sent = pickle.dumps(data)
    assert len(sent) < 600
    assert pickle.loads(sent)[3]["input_ids"].tolist() == rendered(TEXTS)[3]  # noqa: S301 - made here


_LOADING = """
import sys
import torch
from torch.utils.data import DataLoader
from didact import TokenDataset

if __name__ == "__main__":
    data = TokenDataset(sys.argv[1], "pretrain")
    how = {"batch_size": 3, "collate_fn": data.collate, "num_workers": 2, "multiprocessing_context": sys.argv[2]}
    batches = list(DataLoader(data, **how))
    parts = [range(first, min(first + 3, len(data))) for first in range(0, len(data), 3)]
    alone = [data.collate([data[n] for n in part]) for part in parts]
    assert all(torch.equal(one[name], other[name]) for one, other in zip(batches, alone) for name in one)
    print(len(batches))
"""


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_of_a_loader_read_the_same(tokens: Path, tmp_path: Path, method: str) -> None:
    """A DataLoader with two workers gives the batches that one process makes, forked or spawned."""
    script = tmp_path / "loading.py"
    script.write_text(_LOADING)
    done = subprocess.run(
        [sys.executable, str(script), str(tokens), method], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == "4"


def test_the_commands_tell_and_find(tmp_path: Path) -> None:
    """`tokenize --layout` prints the folder, `verify` looks into token shards too, and a run refuses damaged ones."""
    version = build_tiny(tmp_path, mixes={"pretrain": {"sources": {"prose": {"epochs": 1}}}})
    store = ["--store", str(tmp_path / "store")]

    def call(*words: str, code: int = 0) -> str:
        done = CliRunner().invoke(cli, [*words, *store])
        assert done.exit_code == code, done.output
        return done.output

    folder = Path(call("tokenize", "tiny", "--layout", "nanogpt").strip())
    total = TokenShards.open(folder.parent.parent, "pretrain", "train").ids.size
    assert (folder / "pretrain" / "train.bin").stat().st_size == 2 * total
    assert call("verify", "tiny").count("all as the manifest says") == 2
    ids = folder.parent.parent / "pretrain" / "train" / "ids.npy"
    ids.write_bytes(ids.read_bytes()[:-1] + b"\xff")
    assert "pretrain/train/ids.npy: content differs" in call("verify", "tiny", code=1)
    assert "pretrain/train/ids.npy: content differs" in call("verify", str(folder.parent.parent), code=1)
    call("tokenize", "tiny", "--mix", "pretrain", code=2)
    recipe: dict[str, Any] = tiny(tmp_path, mixes={"pretrain": {"sources": {"prose": {"epochs": 1}}}})
    with pytest.raises(StoreError, match=r"ids\.npy: content differs"):
        didact.run(recipe | {"pretrain": {"tokens": 100}, "model": {"depth": 1}}, until="pretrain")
    assert version.verify() == []
