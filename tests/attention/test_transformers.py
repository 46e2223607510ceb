"""Against the modules of Hugging Face transformers, with the same weights, in float32."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from paca_bench.attention.base import Attention
from paca_bench.attention.registry import Grid, create_attention
from tests.attention.cases import randomise, tokens

DIM, HEADS = 32, 4


def build(mechanism: str, grid: Grid, **options: object) -> Attention:
    module = create_attention(mechanism, dim=DIM, num_heads=HEADS, grid=grid, **options)
    randomise(module, seed=7)
    return module


def load(oracle: nn.Module, module: Attention, names: dict[str, str]) -> None:
    """Copy weights; ``names`` maps each parameter of the oracle to ``ours`` or ``ours[i/n]``."""
    for name, parameter in oracle.named_parameters():
        prefix, _, kind = name.rpartition(".")
        ours, _, part = names[prefix].partition("[")
        value = module.state_dict()[f"{ours}.{kind}".lstrip(".")]
        if part:
            index, count = (int(number) for number in part.rstrip("]").split("/"))
            value = value.chunk(count)[index]
        parameter.data.copy_(value)


def assert_same(
    ours: Callable[[Tensor], Tensor], oracle: Callable[[Tensor], Tensor], x: Tensor
) -> None:
    """Outputs within 1e-5, and the gradients of the input likewise for their size."""
    results = []
    for function in (ours, oracle):
        leaf = x.clone().requires_grad_()
        out = function(leaf)
        (out * torch.linspace(-1, 1, out.numel()).view_as(out).cos()).sum().backward()
        results.append((out.detach(), leaf.grad))
    (a, grad_a), (b, grad_b) = results
    torch.testing.assert_close(a, b, rtol=0, atol=1e-5)
    scale = max(1, grad_b.abs().max().item())
    torch.testing.assert_close(grad_a, grad_b, rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize("grid", [(7, 7), (14, 10)], ids=str)
def test_vit(grid: Grid) -> None:
    from transformers.models.vit.modeling_vit import ViTAttention, ViTConfig

    config = ViTConfig(hidden_size=DIM, num_attention_heads=HEADS)
    config._attn_implementation = "eager"
    oracle, module = ViTAttention(config).eval(), build("vit", grid)
    names = {"q_proj": "qkv[0/3]", "k_proj": "qkv[1/3]", "v_proj": "qkv[2/3]", "o_proj": "proj"}
    load(oracle, module, names)
    assert_same(lambda x: module(x, grid), lambda x: oracle(x)[0], tokens(grid, dim=DIM))


class NoMlp(nn.Module):
    """In the place of an MLP beside its residual path."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("grid", [(14, 14), (14, 21), (10, 16), (8, 23), (7, 7)], ids=str)
def test_swin(grid: Grid, shifted: bool) -> None:
    from transformers.models.swin.modeling_swin import SwinConfig, SwinLayer

    config = SwinConfig(window_size=7)
    config._attn_implementation = "eager"
    oracle = SwinLayer(config, DIM, grid, HEADS, shift_size=3 if shifted else 0).eval()
    oracle.layernorm_before, oracle.layernorm_after, oracle.mlp = nn.Identity(), NoMlp(), NoMlp()
    module = build("swin", grid, shifted=shifted)
    names = {"q_proj": "qkv[0/3]", "k_proj": "qkv[1/3]", "v_proj": "qkv[2/3]", "o_proj": "proj"}
    load(oracle.attention, module, {**names, "relative_position_bias": ""})
    assert_same(lambda x: x + module(x, grid), lambda x: oracle(x, grid)[0], tokens(grid, dim=DIM))


REDUCED = {"query": "q", "key": "kv[0/2]", "value": "kv[1/2]", "proj": "proj"}
REDUCTION = {"spatial_reduction": "sr", "layer_norm": "norm"}


@pytest.mark.parametrize("sr_ratio", [8, 4, 2, 1])
@pytest.mark.parametrize("grid", [(16, 24), (9, 13)], ids=str)
def test_pvt(grid: Grid, sr_ratio: int) -> None:
    from transformers.models.pvt.modeling_pvt import PvtAttention, PvtConfig

    # The official eps of this norm is 1e-5, torch's default; the config's is for the others.
    oracle = PvtAttention(PvtConfig(layer_norm_eps=1e-5), DIM, HEADS, sr_ratio).eval()
    module = build("pvt", grid, sr_ratio=sr_ratio)
    names = {f"self.{name}": ours for name, ours in REDUCED.items()}
    names |= {"output.dense": "proj", "self.sequence_reduction": "sr", "self.layer_norm": "norm"}
    load(oracle, module, names)
    assert_same(lambda x: module(x, grid), lambda x: oracle(x, *grid)[0], tokens(grid, dim=DIM))


@pytest.mark.parametrize("sr_ratio", [8, 4, 2, 1])
@pytest.mark.parametrize("grid", [(16, 24), (9, 13)], ids=str)
def test_pvt_v2(grid: Grid, sr_ratio: int) -> None:
    from transformers.models.pvt_v2.modeling_pvt_v2 import PvtV2Config, PvtV2SelfAttention

    config = PvtV2Config(layer_norm_eps=1e-5)
    oracle = PvtV2SelfAttention(config, DIM, HEADS, sr_ratio).eval()
    module = build("pvt", grid, sr_ratio=sr_ratio)
    load(oracle, module, {**REDUCED, **REDUCTION})
    assert_same(lambda x: module(x, grid), lambda x: oracle(x, *grid)[0], tokens(grid, dim=DIM))


@pytest.mark.parametrize("grid", [(16, 24), (9, 13), (7, 7), (2, 3)], ids=str)
def test_pvt_v2_linear(grid: Grid) -> None:
    from transformers.models.pvt_v2.modeling_pvt_v2 import PvtV2Config, PvtV2SelfAttention

    config = PvtV2Config(layer_norm_eps=1e-5, linear_attention=True)
    oracle, module = PvtV2SelfAttention(config, DIM, HEADS, 8).eval(), build("pvt_linear", grid)
    load(oracle, module, {**REDUCED, **REDUCTION})
    assert_same(lambda x: module(x, grid), lambda x: oracle(x, *grid)[0], tokens(grid, dim=DIM))
