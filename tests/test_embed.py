"""Vectors: independent of neighbours, whole or absent, and searched exactly without torch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from small_tokenizer import SENTENCES, small_tokenizer
from tiny_recipe import build_tiny

import didact
from didact.cli import cli
from didact.curate.vectors import Vectors, read_vectors
from didact.errors import CallError, EmptySplit, StoreError
from didact.model.checkpoint import save_checkpoint
from didact.model.config import derive_config
from didact.model.embed import Embeddable, Embedder, Lost, write_vectors
from didact.model.encoder import encoder_config
from didact.model.transformer import Decoder
from didact.recipe.training import ModelSettings

SHAPE = ModelSettings(depth=2, width=64, heads=2, context=48)
TEXTS = ["", "a", *SENTENCES, "hello " * 100, "the numbers 3 1 2"]


def saved(folder: Path, kind: str) -> Path:
    """A checkpoint whose every weight matters."""
    tokenizer = small_tokenizer()
    config = derive_config(SHAPE, tokenizer.vocab_size, tokenizer.bos_id, tokenizer.end_id, tokenizer.pad_id)
    model = Decoder(encoder_config(SHAPE, tokenizer) if kind == "encoder" else config)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(1.0 if parameter.dim() == 1 else 0.0, 0.2)
    return save_checkpoint(folder, 0, model, {}, save_tokenizer=tokenizer.save)


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_a_vector_does_not_depend_on_its_neighbours(tmp_path: Path, kind: str) -> None:
    """Alone equals among others to 1e-5, whatever the order; it is the mean of the outputs, written out."""
    embedder = Embedder.load(saved(tmp_path, kind), normalise=False)
    together, truncated = embedder.vectors_of(TEXTS)
    assert truncated == 1
    for text, vector in zip(TEXTS, together, strict=True):
        assert np.allclose(embedder.embed([text])[0], vector, atol=1e-5)
        tokenizer = small_tokenizer()
        ids = [tokenizer.bos_id, *tokenizer.encode(text), tokenizer.end_of_text_id][:48]
        with torch.no_grad():
            expected = embedder.model.hidden(torch.tensor([ids]))[0].mean(0).numpy()
        assert np.allclose(expected, vector, atol=1e-5)
    assert np.allclose(embedder.embed(TEXTS[::-1])[::-1], together, atol=1e-5)
    unit = Embedder.load(saved(tmp_path / "again", kind)).embed(TEXTS)
    assert np.allclose(np.linalg.norm(unit, axis=1), 1, atol=1e-6)


def test_files_and_versions_become_vectors(tmp_path: Path) -> None:
    """The command writes a vector for each record; rejected rows are counted; nothing is overwritten."""
    checkpoint = saved(tmp_path / "model", "encoder")
    rows = [json.dumps({"instruction": f"Say {n}.", "output": f"{n}"}) for n in range(7)]
    (tmp_path / "rows.jsonl").write_text("\n".join([*rows, "{broken"]))
    out = tmp_path / "vectors"
    command = ["embed", str(checkpoint), str(tmp_path / "rows.jsonl"), "--out", str(out), "--json", "--threads", "1"]
    done = CliRunner().invoke(cli, command)
    assert done.exit_code == 0, done.output
    found = didact.read_vectors(out, verify=True)
    assert len(found) == 7 and found.described["rejected"] == 1
    assert {found.id(n) for n in range(7)} == {record.id for record in didact.read(rows_of(tmp_path))}
    again = CliRunner().invoke(cli, command)
    assert again.exit_code == 2 and "is there already" in again.output
    second = CliRunner().invoke(cli, [*command[:4], str(tmp_path / "second"), *command[5:]])
    assert second.exit_code == 0
    assert (tmp_path / "second" / "vectors.npy").read_bytes() == (out / "vectors.npy").read_bytes()

    version = build_tiny(tmp_path / "data")
    command[2:5] = [str(version.path), "--out", str(tmp_path / "version"), "--view", "prompt"]
    assert CliRunner().invoke(cli, command).exit_code == 0
    rows_there = sum(version.manifest.mixes["finetune"].rows.values())
    assert len(read_vectors(tmp_path / "version")) == rows_there


def rows_of(folder: Path) -> list[dict[str, str]]:
    """The good rows of the file."""
    return [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()[:7]]


def test_a_vector_file_is_whole_or_absent(tmp_path: Path) -> None:
    """Failing midway leaves no folder; a changed or torn array is refused; no text is an error."""
    embedder = Embedder.load(saved(tmp_path / "model", "decoder"))
    texts = [Embeddable(f"{n:032x}", text) for n, text in enumerate(TEXTS)]

    def failing() -> object:
        yield from texts
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_vectors(embedder, failing(), tmp_path / "v", "whole", Lost())  # type: ignore[arg-type]
    with pytest.raises(EmptySplit):
        write_vectors(embedder, [], tmp_path / "v", "whole", Lost())
    assert not (tmp_path / "v").exists()
    manifest = write_vectors(embedder, texts, tmp_path / "v", "whole", Lost())
    assert (manifest["empty"], manifest["truncated"]) == (1, 1)
    with pytest.raises(CallError, match="is there already"):
        write_vectors(embedder, texts, tmp_path / "v", "whole", Lost())
    file = tmp_path / "v" / "vectors.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert len(read_vectors(tmp_path / "v")) == len(TEXTS)
    with pytest.raises(StoreError, match="content changed"):
        read_vectors(tmp_path / "v", verify=True)
    file.write_bytes(content[:-4])
    with pytest.raises(StoreError, match="expected"):
        read_vectors(tmp_path / "v")


@given(st.integers(1, 30), st.integers(1, 5), st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_search_is_exact(count: int, queries: int, k: int, seed: int) -> None:
    """The most similar vectors are those of a full sort of cosines, the first of equals first."""
    random = np.random.default_rng(seed)
    vectors = random.integers(-2, 3, (count, 4)).astype(np.float32)
    asked = random.integers(-2, 3, (queries, 4)).astype(np.float32)
    found = Vectors(vectors, np.zeros((count, 16), np.uint8), {}).nearest(asked, k)

    units = [rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30) for rows in (asked, vectors)]
    cosines = units[0] @ units[1].T
    expected = -np.sort(-cosines, axis=1)[:, :k]
    assert np.allclose(found.similarities, expected, atol=1e-6)
    assert np.allclose(np.take_along_axis(cosines, found.places, 1), expected, atol=1e-6)
    with pytest.raises(StoreError, match="do not fit"):
        Vectors(vectors, np.zeros((count, 16), np.uint8), {}).nearest(np.zeros((1, 3), np.float32))


def test_a_model_of_others_gives_the_mean_of_its_outputs(tmp_path: Path) -> None:
    """A Llama that transformers has written is embedded with as it stands: the mean of its last hidden states."""
    tokenizer = small_tokenizer()
    tokenizer.save(tmp_path)
    (tmp_path / "template.json").unlink()
    torch.manual_seed(0)
    shape = transformers.LlamaConfig(
        vocab_size=tokenizer.vocab_size, hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64, tie_word_embeddings=False,
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(shape)
    model.save_pretrained(tmp_path)
    found = Embedder.load(tmp_path, normalise=False).embed(["hello world"])[0]
    ids = [tokenizer.bos_id, *tokenizer.encode("hello world"), tokenizer.end_of_text_id]
    with torch.no_grad():
        expected = model.model(torch.tensor([ids])).last_hidden_state[0].mean(0).numpy()
    assert np.allclose(found, expected, atol=1e-6)


def test_a_missing_file_is_called_a_file(tmp_path: Path) -> None:
    """What looks like a file and is not there is not taken for a version."""
    checkpoint, vectors = str(saved(tmp_path, "decoder")), str(tmp_path / "vectors")
    called = CliRunner().invoke(cli, ["embed", checkpoint, "nope.jsonl", "--out", vectors])
    assert called.exit_code == 2
    assert "nope.jsonl" in called.output and "version" not in called.output
