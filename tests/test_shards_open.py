"""Versions open where people use them: in `datasets`, and in TRL's trainer without a line of conversion."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from tiny_recipe import build_tiny, bytes_of

from didact.build import shard_files
from didact.render.token_shards import tokenize_version
from didact.render.tokenizer import Tokenizer
from didact.store.version import Version


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Version:
    """A version with two mixes."""
    return build_tiny(tmp_path_factory.mktemp("opened"))


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test asks a hub, and caches go to a folder of the test."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()


def load(*arguments: Any, **options: Any) -> Any:
    """`datasets.load_dataset`, whose own warnings are not ours to answer for."""
    from datasets import load_dataset

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return load_dataset(*arguments, **options)


def test_shards_open_as_parquet(version: Version) -> None:
    """`load_dataset("parquet", data_files=...)` reads the rows in training order."""
    files = [str(path) for path in version.shards("finetune")]
    rows = load("parquet", data_files=files, split="train")
    assert rows["id"] == version.table("finetune")["id"].to_pylist()
    assert [turn["role"] for turn in rows[0]["messages"]] == ["user", "assistant"]


def test_a_version_opens_by_its_path(version: Version) -> None:
    """`load_dataset(path)` gives the default mix, with a name each mix, with all its splits; and changes no file."""
    before = bytes_of(version)
    for name, arguments in (("finetune", ()), ("finetune", ("finetune",)), ("pretrain", ("pretrain",))):
        found = load(str(version.path), *arguments)
        assert {split: len(found[split]) for split in found} == version.manifest.mixes[name].rows
        assert found["train"].to_list() == version.table(name).to_pylist()
    assert bytes_of(version) == before


def test_a_version_streams_by_its_path(version: Version) -> None:
    """With `streaming=True` the rows come one after the other, the same ones in the same order."""
    for name in ("finetune", "pretrain"):
        for split, rows in version.manifest.mixes[name].rows.items():
            if rows:
                streamed = load(str(version.path), name, split=split, streaming=True)
                assert list(streamed) == version.table(name, split).to_pylist()


def test_several_files_hold_the_rows_of_one_in_its_order(
    version: Version, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mix that is written as several files is the same mix: rows, order, id, token shards and what opens it."""
    monkeypatch.setattr(shard_files, "_LEAST_BYTES", 1)
    parted = build_tiny(tmp_path)
    assert parted.manifest.version == version.manifest.version
    for name, mix in version.manifest.mixes.items():
        for split in mix.rows:
            assert parted.table(name, split).equals(version.table(name, split))
        assert load(str(parted.path), name, split="train").to_list() == version.table(name).to_pylist()
    assert len(version.shards("finetune")) == 1
    assert [path.name for path in parted.shards("finetune")] == [f"train-{n:05d}-of-00008.parquet" for n in range(8)]
    assert not parted.verify()
    ids = []
    for name, one in (("one", version), ("several", parted)):
        tokenize_version(one.path, Tokenizer.load(one.path / "tokenizer"), tmp_path / name)
        files = sorted((tmp_path / name).rglob("*.npy"))
        ids.append({path.relative_to(tmp_path / name): path.read_bytes() for path in files})
    assert ids[0] and ids[0] == ids[1]


def test_a_version_opens_where_the_hub_is_forbidden(version: Version, tmp_path: Path) -> None:
    """In a process that may not ask a hub and has an empty cache, the documented line gives the mix's records."""
    code = (
        "import sys; from datasets import load_dataset\n"
        "rows = load_dataset(sys.argv[1], 'finetune', split='train')\n"
        "print(rows[0]['id'], len(rows))"
    )
    closed = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(tmp_path), "no_proxy": "*"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(version.path)], env=os.environ | closed, capture_output=True, check=True
    )
    table = version.table("finetune")
    assert done.stdout.decode().split() == [table["id"][0].as_py(), str(table.num_rows)]


def test_a_version_gives_tables_frames_and_datasets(version: Version) -> None:
    """The API's own ways to the rows agree with each other."""
    table = version.table("finetune", "validation")
    assert version.to_pandas("finetune", "validation")["id"].tolist() == table["id"].to_pylist()
    assert version.to_datasets("finetune")["validation"]["id"] == table["id"].to_pylist()


def tiny_qwen(vocabulary: int) -> Any:
    """A Qwen3 model of a few thousand random weights."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "head_dim": 8}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    return Qwen3ForCausalLM(Qwen3Config(vocab_size=vocabulary, **sizes, **heads))


@pytest.mark.filterwarnings("ignore")
def test_trl_trains_on_the_loaded_split_unchanged(version: Version, tmp_path: Path) -> None:
    """SFTTrainer prepares the split by itself with the version's tokenizer; the ids are those of our renderer."""
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    from didact.render.renderer import render_batch
    from didact.render.tokenizer import Tokenizer

    rows = load(str(version.path), "finetune", split="train")
    tokenizer = AutoTokenizer.from_pretrained(str(version.path / "tokenizer"))
    settings = SFTConfig(
        output_dir=str(tmp_path / "trl"),
        max_steps=1,
        per_device_train_batch_size=2,
        max_length=512,
        use_cpu=True,
        bf16=False,
        report_to=[],
        save_strategy="no",
        dataset_num_proc=None,
        disable_tqdm=True,
    )
    model = tiny_qwen(len(tokenizer))
    trainer = SFTTrainer(model=model, args=settings, train_dataset=rows, processing_class=tokenizer)
    rendered = render_batch([row["messages"] for row in rows], Tokenizer.load(version.path / "tokenizer"))
    ours = [rendered.ids[a:b].tolist() for a, b in zip(rendered.bounds, rendered.bounds[1:], strict=False)]
    theirs = list(trainer.train_dataset["input_ids"])
    # Some versions of TRL append the end token that a dialogue has no use for.
    assert [ids[: len(own)] for ids, own in zip(theirs, ours, strict=True)] == ours
    assert all(len(ids) - len(own) <= 1 for ids, own in zip(theirs, ours, strict=True))
    assert trainer.train().training_loss > 0


def test_the_tokenizer_opens_in_transformers(version: Version) -> None:
    """AutoTokenizer reads the version's tokenizer, and its chat template gives the ids that are trained on."""
    from transformers import AutoTokenizer

    from didact.render.renderer import render_batch
    from didact.render.tokenizer import Tokenizer

    theirs = AutoTokenizer.from_pretrained(str(version.path / "tokenizer"))
    ours = Tokenizer.load(version.path / "tokenizer")
    row = json.loads(json.dumps(version.table("finetune").slice(0, 1).to_pylist()[0]["messages"]))
    encoded = theirs.apply_chat_template(row, tokenize=True, return_dict=True)
    assert list(encoded["input_ids"]) == render_batch([row], ours).ids.tolist()
