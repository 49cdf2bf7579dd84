"""What GPUs run, as far as a CPU can tell: attention on documents end to end, compiled blocks, choice of devices."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from toy_training import shards_of, toy_model

from didact.cli import cli
from didact.model import attention
from didact.model.attention import DocumentAttention, VarlenAttention, attend_within
from didact.model.batches import BatchPlan
from didact.model.compiling import compile_blocks, compiles
from didact.model.fit import accumulate
from didact.model.precision import autocast, choose_device, has_bf16

CPU = torch.device("cpu")


def varlen_reference(
    q: Any, k: Any, v: Any, cu_seq_q: Any, cu_seq_k: Any, max_q: int, max_k: int, **options: Any
) -> Any:
    """What torch's GPU kernel promises, document by document on a CPU; (N, H, D) in and out."""
    from torch.nn.attention.varlen import varlen_attn

    inspect.signature(varlen_attn).bind(q, k, v, cu_seq_q, cu_seq_k, max_q, max_k, **options)
    assert options["window_size"] in ((-1, 0), (-1, -1)) and cu_seq_q.dtype == torch.int32
    causal = options["window_size"] == (-1, 0)
    parts = []
    for start, stop in zip(cu_seq_q[:-1].tolist(), cu_seq_q[1:].tolist(), strict=True):
        assert stop - start <= max_q == max_k
        document = [tensor[start:stop].transpose(0, 1)[None] for tensor in (q, k, v)]
        attend: Any = torch.nn.functional.scaled_dot_product_attention
        parts.append(attend(*document, is_causal=causal, enable_gqa=options["enable_gqa"])[0].transpose(0, 1))
    return torch.cat(parts)


@pytest.mark.parametrize("both_ways", [False, True])
@pytest.mark.parametrize("kv_heads", [1, 2])
def test_varlen_attention_is_that_of_groups(monkeypatch: pytest.MonkeyPatch, kv_heads: int, both_ways: bool) -> None:
    """Given a kernel of torch's signature, outputs and gradients are those of the path that CPUs take."""
    monkeypatch.setattr(attention, "_varlen_kernel", lambda: varlen_reference)
    lengths = np.array([5, 1, 17, 8, 30])
    generator = torch.Generator().manual_seed(0)
    found = []
    drawn = [torch.randn(1, 61, heads, 8, generator=generator) for heads in (2, kv_heads, kv_heads)]
    for kind in (DocumentAttention, VarlenAttention):
        q, k, v = (tensor.clone().requires_grad_() for tensor in drawn)
        y = kind(lengths, None, both_ways)(0, q, k, v)
        y.square().sum().backward()
        found.append([y.detach(), q.grad, k.grad, v.grad])
    for one, other in zip(*found, strict=True):
        assert one is not None and other is not None
        assert torch.allclose(one, other, atol=1e-5)


def test_a_cpu_computes_in_fp32_and_in_groups() -> None:
    """No bf16 is chosen for a CPU, and no kernel that only GPUs have."""
    assert not has_bf16(CPU)
    with autocast(CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    assert isinstance(attend_within(np.array([3, 4]), CPU), DocumentAttention)
    assert not compiles(None, CPU) and compiles(None, torch.device("cuda")) and compiles(True, CPU)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_told_at_once() -> None:
    """The command ends with one line before anything is built, and so does the benchmark."""
    from benchmarks import gpu

    assert choose_device("auto") == CPU
    done = CliRunner().invoke(cli, ["run", "sample_data/recipe.yaml", "--device", "cuda"])
    assert done.exit_code == 2 and "sees no CUDA device" in done.output
    with pytest.raises(SystemExit, match="no CUDA device"):
        gpu.run([], 1)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("recompute", [False, True])
def test_compiled_blocks_compute_the_same(recompute: bool) -> None:
    """Loss and gradients agree with eager blocks to 1e-5, for batches of different sizes; names are as before."""
    shards = shards_of([17, 4, 9, 16, 3, 12, 30, 21], trained_from=3)
    plan = BatchPlan(shards, 32, 64, 32, "split", 0)
    found = []
    for compiled in (False, True):
        model = toy_model()
        model.recompute = recompute
        names = list(model.state_dict())
        if compiled:
            compile_blocks(model)
        loss = sum(accumulate(model, plan.step(step), 9.0) for step in range(2))
        assert list(model.state_dict()) == names
        found.append((loss, [p.grad for p in model.parameters() if p.grad is not None]))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(found[0][1], found[1][1], strict=True))
