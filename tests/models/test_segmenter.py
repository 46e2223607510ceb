"""PaCa's head on the registered pyramids."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from paca_bench.complexity.dispatch import count
from paca_bench.errors import SpecError
from paca_bench.models.segmenter import (
    PaCaSegHead,
    create_segmenter,
    joined_levels,
    segmenter_cost,
)

BACKBONES = {
    "pacavit_tiny_p2cconv_100_0": {"clusters": (200, 200, 200, 0)},
    "pacavit_convmixer_tiny_100": {},
    "swin_tiny_patch4_window7_224": {},
    "pvt_tiny": {},
    "pvt_v2_b0": {},
}
SMALL: dict[str, Any] = {
    "widths": (8, 16, 32, 32),
    "depths": (1, 1, 1, 1),
    "clusters": (5, 4, 3, 0),
    "channels": 16,
}


@pytest.mark.parametrize("name", BACKBONES)
def test_closed_form_counts_every_operation_and_parameter(name: str) -> None:
    size = (230, 170)
    with torch.device("meta"):
        model = create_segmenter(name, **BACKBONES[name]).eval()
    cost = segmenter_cost(name, height=size[0], width=size[1], **BACKBONES[name])
    assert count(model, (1, 3, *size)).macs == cost.macs
    assert sum(p.numel() for p in model.parameters()) == cost.params


# Published sizes of PaCa's segmenters in millions (README of the official repository).
@pytest.mark.parametrize(
    ("name", "clusters", "millions"),
    [
        ("pacavit_tiny_p2cconv_100_0", (200, 200, 200, 0), 13.3),
        ("pacavit_small_p2cconv_100_0", (200, 200, 200, 0), 23.2),
        ("pacavit_base_p2cconv_100_0", (200, 200, 200, 0), 48.0),
    ],
)
def test_parameters_are_as_published(name: str, clusters: tuple[int, ...], millions: float) -> None:
    cost = segmenter_cost(name, height=512, width=512, clusters=clusters)
    assert cost.params / 1e6 == pytest.approx(millions, abs=0.06)


def test_training_gives_the_assignment_too() -> None:
    model = create_segmenter("pacavit_tiny_p2cconv_100_0", 7, **SMALL)
    images = torch.randn(2, 3, 64, 96)
    logits, assignment = model.train()(images)
    assert logits.shape == assignment.shape == (2, 7, 16, 24)
    assert model.eval()(images).shape == (2, 7, 16, 24)
    model.train()
    # Both outputs reach the clustering; every parameter but the backbone's head learns.
    logits, assignment = model(images)
    (logits.square().mean() + assignment.square().mean()).backward()
    assert [key for key, p in model.named_parameters() if p.grad is None] == []


def test_clusters_are_weighted_means_and_attention_is_unscaled() -> None:
    head = PaCaSegHead((8, 8), 5, channels=4).eval()
    maps = [torch.randn(1, 8, 6, 4), torch.randn(1, 8, 3, 2)]
    with torch.no_grad():
        x = joined_levels(head.convs, maps)
        tokens = x.flatten(2).transpose(1, 2)
        clusters = head.clustering(x).flatten(2).softmax(-1) @ tokens
        scores = head.q(x).flatten(2).transpose(1, 2) @ head.k(clusters).transpose(1, 2)
        attended = (scores.softmax(-1) @ head.v(clusters)).transpose(1, 2).view(1, 4, 6, 4)
        expected = head.conv_seg(head.proj(attended))
        torch.testing.assert_close(head(maps), expected, rtol=0, atol=1e-6)


def test_keys_are_the_official_ones() -> None:
    model = create_segmenter("pacavit_tiny_p2cconv_100_0", 7, **SMALL)
    first = {key.split(".")[0] for key in model.state_dict()}
    assert first == {"backbone", "decode_head"}
    assert not any("head" in key for key in model.backbone.state_dict())


def test_dense_backbones_have_the_norms_of_the_official_dense_code() -> None:
    with torch.device("meta"):
        swin = create_segmenter("swin_tiny_patch4_window7_224").backbone.state_dict()
        pvt = create_segmenter("pvt_tiny").backbone.state_dict()
    assert {"norm0.weight", "norm3.weight"} <= swin.keys()
    assert "norm.weight" not in swin
    assert not {"norm.weight", "cls_token"} & pvt.keys()
    assert pvt["pos_embed4"].shape == (1, 50, 512)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("deit_tiny_patch16_224",), "no stage maps"),
        (("pacavit_tiny_p2cconv_100_0", 0), "num_classes must be"),
        (("unknown",), "unknown model"),
    ],
)
def test_a_mistake_is_named(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        create_segmenter(*arguments)
    with pytest.raises(SpecError, match=message):
        segmenter_cost(*arguments, height=64, width=64)
