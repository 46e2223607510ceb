from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn

from paca_bench.attention.registry import mechanisms
from paca_bench.errors import UnsupportedError
from paca_bench.models.checkpointing import checkpoint_blocks, checkpointed
from paca_bench.models.external import build_external
from paca_bench.models.registry import create_model
from paca_bench.models.subject import build_subject, input_shape
from paca_bench.record import Case

MODELS = (
    "deit_tiny_patch16_224",
    "swin_tiny_patch4_window7_224",
    "pvt_tiny",
    "pvt_v2_b0",
    "pacavit_tiny_p2cconv_100_0",
    "pacavit_convmixer_tiny_100",
)


def step(module: nn.Module, x: Tensor) -> list[Tensor]:
    """The output and all gradients of a training step."""
    module.zero_grad()
    x = x.detach().requires_grad_()
    out = module(x)
    out.square().sum().backward()
    grads = [p.grad for p in module.parameters() if p.grad is not None]
    assert x.grad is not None
    return [out.detach(), x.grad, *grads]


def assert_same_with_and_without(module: nn.Module, x: Tensor) -> None:
    buffers = copy.deepcopy(dict(module.named_buffers()))
    before = step(module, x)
    module.load_state_dict(buffers, strict=False)
    checkpoint_blocks(module)
    after = step(module, x)

    assert len(before) == len(after)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("level", ["layer", "host"])
@pytest.mark.parametrize("mechanism", sorted(mechanisms()))
def test_a_step_is_bit_for_bit_the_same(mechanism: str, level: str) -> None:
    case = Case(level=level, mechanism=mechanism, host="nano", height=64, width=32, mode="train")
    assert_same_with_and_without(build_subject(case), torch.randn(input_shape(case)))


@pytest.mark.parametrize("name", MODELS)
def test_a_step_of_a_model_is_the_same(name: str) -> None:
    module = create_model(name, num_classes=3, img_size=(32, 64))
    assert_same_with_and_without(module, torch.randn(2, 3, 32, 64))


def test_running_statistics_are_updated_once() -> None:
    module = create_model("pacavit_convmixer_tiny_100", num_classes=3, img_size=32)
    checkpoint_blocks(module)
    step(module, torch.randn(2, 3, 32, 32))

    counts = [b for name, b in module.named_buffers() if name.endswith("num_batches_tracked")]
    assert counts
    assert {int(count) for count in counts} == {1}


def test_layers_of_transformers_are_blocks(tmp_path: Path) -> None:
    transformers.ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    ).save_pretrained(tmp_path)
    module = build_external(f"hf:{tmp_path}", num_classes=3, img_size=(32, 32)).train()
    calls: list[nn.Module] = []
    for part in module.modules():
        if type(part).__name__ == "ViTLayer":
            part.attention.register_forward_pre_hook(lambda part, _: calls.append(part))

    assert_same_with_and_without(module, torch.randn(1, 3, 32, 32))
    # Two layers: once without, twice with.
    assert len(calls) == 2 + 4


class Doubling(nn.Module):
    """Counts its calls."""

    is_block = True

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.weight = nn.Parameter(torch.ones(4))

    def forward(self, x: Tensor, *, factor: float = 2.0) -> tuple[Tensor, None]:
        self.calls += 1
        return (x * self.weight).exp() * factor, None


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Doubling() for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x, _ = block(x, factor=0.5)
        return x

    def calls(self) -> list[Any]:
        return [block.calls for block in self.blocks]


def test_each_block_runs_twice_however_often_it_was_asked() -> None:
    module = Pair()
    checkpoint_blocks(module)
    checkpoint_blocks(module)
    step(module, torch.randn(4))

    assert module.calls() == [2, 2]


def test_inference_runs_each_block_once() -> None:
    module = Pair()
    checkpoint_blocks(module)
    with torch.no_grad():
        module(torch.randn(4))
    step(module.eval(), torch.randn(4))

    assert module.calls() == [2, 2]


def test_a_copy_recomputes_with_its_own_weights() -> None:
    module = Pair()
    checkpoint_blocks(module)
    twin = copy.deepcopy(module)
    with torch.no_grad():
        twin.blocks[0].weight.fill_(3.0)
    step(twin, torch.randn(4))

    assert (module.calls(), twin.calls()) == ([0, 0], [2, 2])


def test_the_context_gives_the_blocks_back() -> None:
    module = Pair()
    with checkpointed(module):
        step(module, torch.randn(4))
    with checkpointed(module, active=False):
        step(module, torch.randn(4))

    assert module.calls() == [3, 3]
    assert "forward" not in vars(module.blocks[0])


def test_a_module_without_blocks_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="set is_block = True"):
        checkpoint_blocks(nn.Linear(2, 2))


class LikeTimm(nn.Module):
    """The part of a timm model that switches its checkpointing."""

    def __init__(self, able: bool) -> None:
        super().__init__()
        self.able = able
        self.on = False

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        assert not enable or self.able, "gradient checkpointing not supported"
        self.on = enable


def test_models_of_timm_switch_themselves() -> None:
    module = LikeTimm(able=True)
    with checkpointed(module):
        assert module.on
    assert not module.on
    with pytest.raises(UnsupportedError, match="LikeTimm has no activation checkpointing"):
        checkpoint_blocks(LikeTimm(able=False))
