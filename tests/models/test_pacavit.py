"""What is particular to PaCa-ViT and its teacher, beyond the official outputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from paca_bench.attention.activation import Gelu
from paca_bench.models.registry import create_model
from paca_bench.models.teacher import BlurConv2d, ConvMixerTeacher

NAME = "pacavit_tiny_p2cconv_100_0"
SMALL: dict[str, Any] = {
    "widths": (8, 16, 32, 32),
    "depths": (2, 2, 1, 1),
    "clusters": (5, 4, 3, 0),
    "num_classes": 3,
}
TEACHER = {**SMALL, "teacher_depths": (1, 1, 1, 1)}
IMAGES = torch.randn(2, 3, 50, 70, generator=torch.Generator().manual_seed(0))
TOKENS = (13 * 18, 7 * 9, 4 * 5, 2 * 3)


def build(**options: Any) -> nn.Module:
    torch.manual_seed(1)
    return create_model(NAME, **options).eval()


@pytest.mark.parametrize("options", [SMALL, TEACHER], ids=["onsite", "teacher"])
@torch.no_grad()
def test_assignments_are_weights_over_the_tokens(options: dict[str, Any]) -> None:
    *made, last = build(**options).assignments(IMAGES)
    assert last is None
    for assignment, clusters, tokens in zip(made, (5, 4, 3), TOKENS[:3], strict=True):
        assert assignment.shape == (2, clusters, tokens)
        torch.testing.assert_close(assignment.sum(-1), torch.ones(2, clusters))


@torch.no_grad()
def test_a_stage_makes_one_assignment_and_blockwise_one_a_block() -> None:
    calls: list[str] = []

    def record(module: nn.Module, _inputs: object, _output: object) -> None:
        calls.append(module.name)

    for blockwise, expected in (
        (False, ["stage1.0", "stage2.0", "stage3.0"]),
        (True, ["stage1.0", "stage1.1", "stage2.0", "stage2.1", "stage3.0"]),
    ):
        model = build(blockwise=blockwise, **SMALL)
        calls.clear()
        for name, module in model.named_modules():
            if name.endswith("attn.clustering"):
                module.name = name.removesuffix(".attn.clustering")
                module.register_forward_hook(record)
        model(IMAGES)
        assert calls == expected


@torch.no_grad()
def test_the_teacher_sees_no_block_and_its_features_join_before_the_norm() -> None:
    model = build(**TEACHER)
    inputs: dict[str, Tensor] = {}
    for stage in (1, 2, 3, 4):
        norm, last = model.get_submodule(f"norm{stage}"), model.get_submodule(f"stage{stage}")[-1]
        norm.register_forward_pre_hook(lambda _m, x, s=stage: inputs.update({f"norm{s}": x[0]}))
        last.register_forward_hook(lambda _m, _x, y, s=stage: inputs.update({f"stage{s}": y[0]}))
    model(IMAGES)
    stem = model.patch_embed(IMAGES)[0].transpose(1, 2).view(2, 8, 13, 18)
    taught = model.paca_teacher(stem)
    for stage, entry in enumerate(taught, start=1):
        torch.testing.assert_close(inputs[f"norm{stage}"], inputs[f"stage{stage}"] + entry.features)
    for entry, assignment in zip(taught, model.assignments(IMAGES), strict=True):
        assert (entry.assignment is None) == (assignment is None)
        if assignment is not None:
            torch.testing.assert_close(entry.assignment, assignment)


def test_the_blur_is_the_binomial_filter_and_is_not_trained() -> None:
    layer = BlurConv2d(2, 3)
    binomial = torch.tensor([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16
    assert torch.equal(layer.blur_filter, binomial.expand(2, 1, 3, 3))
    assert "blur_filter" not in dict(layer.named_parameters())
    assert layer(torch.zeros(1, 2, 7, 4)).shape == (1, 3, 4, 2)


@torch.no_grad()
def test_a_coarse_change_reaches_the_fine_assignment_through_the_lateral_paths() -> None:
    torch.manual_seed(0)
    teacher = ConvMixerTeacher((4, 8, 8, 8), (1, 1, 1, 1), (3, 3, 3, 3)).eval()
    image = torch.randn(1, 4, 16, 16)
    before = teacher(image)
    teacher.block4[0][1].bias += 1.0
    after = teacher(image)
    assert not torch.equal(before[0].assignment, after[0].assignment)
    # The way up does not see it.
    assert torch.equal(before[2].features, after[2].features)


@pytest.mark.parametrize("kind", ["conv", "mlp", "linear"])
@torch.no_grad()
def test_every_clustering_works_on_every_variant(kind: str) -> None:
    model = build(clustering=kind, **SMALL)
    assert model(IMAGES).shape == (2, 3)
    layers = model.stage1[0].attn.clustering.clustering
    assert [type(m).__name__ for m in layers if not isinstance(m, Gelu)] == {
        "conv": ["Conv2d", "Conv2d", "Conv2d"],
        "mlp": ["Linear", "Linear"],
        "linear": ["Linear"],
    }[kind]


def test_initial_weights_are_the_official_ones() -> None:
    model = build(**SMALL)
    fc1 = model.stage4[0].mlp.fc1
    assert fc1.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert not fc1.bias.any()
    conv = model.transition3.proj
    assert conv.weight.std().item() == pytest.approx((2 / (9 * 32)) ** 0.5, rel=0.1)
    depthwise = model.stage4[0].mlp.dwconv.dwconv
    # One output channel a group: the fan-out is the kernel's area.
    assert depthwise.weight.std().item() == pytest.approx((2 / 9) ** 0.5, rel=0.1)
    assert not depthwise.bias.any()
