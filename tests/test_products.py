"""Matrix products of training: another library, the same numbers."""

from __future__ import annotations

import pytest
import torch
from toy_training import shards_of, toy_model

from didact.model import products
from didact.model.batches import BatchPlan
from didact.model.fit import accumulate
from didact.model.products import Linear, onednn_is_faster, prepare_for_training, product


@pytest.fixture
def by_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every product is oneDNN's, however small and whatever the processor."""
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        pytest.skip("this PyTorch has no oneDNN")
    monkeypatch.setattr(products, "LEAST_WORK", 0)
    monkeypatch.setattr(products, "onednn_is_faster", lambda: True)


@pytest.mark.usefixtures("by_onednn")
def test_a_product_is_that_of_double_precision() -> None:
    """For plain and transposed matrices it is the exact product up to fp32's rounding."""
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(37, 50, generator=generator), torch.randn(23, 50, generator=generator)
    for left, right in ((a, b), (a.t(), torch.randn(9, 37, generator=generator)), (a, b.t().contiguous().t())):
        exact = left.double() @ right.double().t()
        assert torch.allclose(product(left, right).double(), exact, atol=1e-5)


@pytest.mark.usefixtures("by_onednn")
def test_a_decoder_in_training_has_the_same_loss_and_gradients() -> None:
    """They agree with those of PyTorch's own products to 1e-5."""
    shards = shards_of([17, 4, 9, 16, 3, 12], trained_from=3)
    found = []
    for prepared in (False, True):
        model = toy_model()
        if prepared:
            prepare_for_training(model)
        loss = accumulate(model, BatchPlan(shards, 16, 64, 64, "split", 0).step(0), 9.0)
        found.append((loss, {name: p.grad for name, p in model.named_parameters()}))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-6)
    for name, gradient in found[0][1].items():
        other = found[1][1][name]
        assert gradient is not None and other is not None
        assert torch.allclose(gradient, other, atol=1e-5, rtol=1e-4), name


def test_only_training_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer that was not prepared computes what torch.nn.Linear does, bit by bit, at any size."""
    monkeypatch.setattr(products, "product", lambda a, b: pytest.fail("called"))
    layer, x = Linear(512, 512), torch.randn(2, 256, 512)
    plain = torch.nn.Linear(512, 512, bias=False)
    plain.load_state_dict(layer.state_dict())
    assert torch.equal(layer(x), plain(x))


def test_the_choice_depends_on_the_processor_alone() -> None:
    """Asked again it is the same, so equal machines give equal bytes."""
    assert onednn_is_faster() == onednn_is_faster.__wrapped__()
