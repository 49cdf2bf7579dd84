"""The decoder: equal to Hugging Face's bit by bit, documents apart, and gradients that are the true ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F
from toy_training import VOCABULARY, shards_of, toy_config, toy_model

from didact.model.attention import DocumentAttention
from didact.model.batches import BatchPlan, gather_batch
from didact.model.checkpoint import load_model, write_model
from didact.model.loss import batch_loss, weighted_cross_entropy
from didact.model.transformer import Decoder, RMSNorm, rotary_angles, rotate

SHAPES = [(2, True, True), (1, True, False), (1, False, True), (2, False, False)]


def random_ids(rows: int, tokens: int, seed: int = 0) -> Tensor:
    """Token ids (rows, tokens)."""
    return torch.from_numpy(np.random.default_rng(seed).integers(3, VOCABULARY, (rows, tokens)))


@pytest.mark.parametrize(("kv_heads", "qk_norm", "tie"), SHAPES)
def test_transformers_opens_the_directory_with_equal_logits(
    tmp_path: Path, kv_heads: int, qk_norm: bool, tie: bool
) -> None:
    """What is written opens as Qwen3 or Llama in transformers, and fp32 logits are the same bits."""
    from transformers import AutoModelForCausalLM

    model = toy_model(3, kv_heads, qk_norm, tie)
    write_model(tmp_path, model)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert type(theirs).__name__ == ("Qwen3ForCausalLM" if qk_norm else "LlamaForCausalLM")
    ids = random_ids(3, 29)
    with torch.inference_mode():
        assert torch.equal(model(ids), theirs(ids).logits)


def test_a_foreign_checkpoint_loads_with_equal_logits(tmp_path: Path) -> None:
    """A directory that transformers wrote loads here, sharded or not, and fp32 logits are the same bits."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, rope_parameters={"rope_type": "default", "rope_theta": 5e5},
    )  # fmt: skip
    theirs = LlamaForCausalLM(config)
    theirs.save_pretrained(tmp_path, max_shard_size="20KB")
    assert (tmp_path / "model.safetensors.index.json").is_file()
    ids = random_ids(2, 40)
    with torch.inference_mode():
        assert torch.equal(load_model(tmp_path)(ids), theirs(ids).logits)


@given(st.lists(st.integers(1, 32), min_size=1, max_size=12), st.integers(1, 2))
def test_packed_documents_are_computed_as_if_alone(lengths: list[int], kv_heads: int) -> None:
    """A flat batch of documents gives each token the logits it has in its document alone."""
    model = toy_model(1, kv_heads)
    ids = random_ids(1, sum(lengths))
    positions = torch.cat([torch.arange(length) for length in lengths])[None]
    with torch.inference_mode():
        packed = model(ids, positions, DocumentAttention(np.array(lengths)))
        alone = torch.cat([model(document) for document in torch.split(ids, lengths, dim=1)], dim=1)
    assert torch.allclose(packed, alone, atol=1e-5)


def test_a_document_does_not_touch_its_neighbours() -> None:
    """Other tokens in document 1 leave the logits of documents 0 and 2 the same bits."""
    model = toy_model(2)
    lengths = [7, 9, 11]
    positions = torch.cat([torch.arange(length) for length in lengths])[None]
    ids, other = random_ids(1, 27), random_ids(1, 27)
    other[:, 7:16] = (other[:, 7:16] + 1) % VOCABULARY
    attend = DocumentAttention(np.array(lengths))
    with torch.inference_mode():
        before, after = model(ids, positions, attend), model(other, positions, attend)
    assert torch.equal(before[:, :7], after[:, :7])
    assert torch.equal(before[:, 16:], after[:, 16:])
    assert not torch.allclose(before[:, 7:16], after[:, 7:16])


@given(st.lists(st.integers(2, 33), min_size=1, max_size=8), st.integers(1, 30))
def test_loss_and_gradients_of_a_batch_are_those_of_its_documents(lengths: list[int], trained_from: int) -> None:
    """The packed loss and its gradients equal torch's cross entropy summed over the documents one by one."""
    shards = shards_of(lengths, min(trained_from, max(lengths) - 1))
    model = toy_model(4)
    plan = BatchPlan(shards, 32, 4096, 4096, "split", 0)
    (batch,) = plan.step(0)
    loss = batch_loss(model, batch) / batch.weight
    torch.autograd.backward(loss)
    packed = [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]
    model.zero_grad()
    total = torch.zeros(())
    for entry in plan.epoch(0).entries:
        one = gather_batch(shards, np.array([entry]))
        logits = model(torch.from_numpy(one.ids)[None])[0]
        losses = F.cross_entropy(logits, torch.from_numpy(one.targets), reduction="none")
        total = total + (losses * torch.from_numpy(one.weights)).sum() / batch.weight
    torch.autograd.backward(total)
    assert loss.item() == pytest.approx(total.item(), rel=1e-5)
    alone = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert all(torch.allclose(a, b, atol=1e-5, rtol=1e-5) for a, b in zip(packed, alone, strict=True))


def test_weighted_cross_entropy_in_pieces_equals_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loss and gradients do not depend on the size of the pieces, and equal autograd's over the whole."""
    monkeypatch.setattr("didact.model.loss.LOGITS_AT_ONCE", 3 * VOCABULARY)
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(10, 8, generator=generator, requires_grad=True)
    head = torch.randn(VOCABULARY, 8, generator=generator, requires_grad=True)
    targets, weights = random_ids(1, 10)[0], torch.rand(10, generator=generator)
    ours = weighted_cross_entropy(hidden, head, targets, weights)
    theirs = (F.cross_entropy(hidden @ head.T, targets, reduction="none") * weights).sum()
    assert torch.allclose(ours, theirs)
    for a, b in zip(
        torch.autograd.grad(2 * ours, (hidden, head)), torch.autograd.grad(2 * theirs, (hidden, head)), strict=True
    ):
        assert torch.allclose(a, b, atol=1e-5)


def test_norm_has_the_gradient_autograd_finds() -> None:
    """The written-out backward pass of RMSNorm agrees with numeric differences."""
    norm = RMSNorm(6, 1e-6).double()
    torch.nn.init.uniform_(norm.weight)
    x = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x, w: F.mse_loss(_with_weight(norm, x, w), torch.ones_like(x)), (x, norm.weight)
    )


def _with_weight(norm: RMSNorm, x: Tensor, weight: Tensor) -> Tensor:
    y: Tensor = torch.func.functional_call(norm, {"weight": weight}, (x,))
    return y


def test_rotation_depends_on_distance_alone() -> None:
    """Rotary positions: the product of a query and a key depends on how far apart they stand, not on where."""
    config = toy_config()
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 1, 1, 1, config.head_dim, generator=generator)

    def product(a: int, b: int) -> float:
        turned = [rotate(x, rotary_angles(config, torch.tensor([[place]]))) for x, place in ((q, a), (k, b))]
        return float((turned[0] * turned[1]).sum())

    assert product(3, 1) == pytest.approx(product(23, 21), abs=1e-4)
    assert product(3, 1) != pytest.approx(product(3, 2), abs=1e-4)


def test_rotation_has_the_gradient_autograd_finds() -> None:
    """The written-out backward pass of the rotation agrees with numeric differences."""
    cos, sin = (angle.double() for angle in rotary_angles(toy_config(), torch.arange(3)[None]))
    x = torch.randn(1, 3, 2, cos.shape[-1], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: rotate(x, (cos, sin)), (x,))


def test_the_first_weights_come_from_the_seed() -> None:
    """One seed gives one model, whose blocks change nothing at first and whose guesses are nearly uniform."""
    one, same, other = (Decoder(toy_config()).initialise(seed) for seed in (1, 1, 2))
    ids = random_ids(2, 10)
    assert torch.equal(one(ids), same(ids))
    assert not torch.equal(one(ids), other(ids))
    assert torch.equal(one.hidden(ids), one.model.norm(one.model.embed_tokens(ids)))
    guessing = F.cross_entropy(one(ids).flatten(0, 1), random_ids(2, 10, 5).flatten())
    assert guessing.item() == pytest.approx(np.log(VOCABULARY), abs=0.2)
