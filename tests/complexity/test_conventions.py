"""Counts by the conventions of published tables, against fvcore itself."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import nn

from paca_bench.complexity.conventions import row_cost
from paca_bench.complexity.fvcore_extra import extra_flops, fvcore_elements
from paca_bench.complexity.fvcore_handles import _attention
from paca_bench.complexity.published import published_rows
from paca_bench.complexity.upernet import upernet_elements, upernet_parts
from paca_bench.models.registry import create_model, model_cost
from paca_bench.models.segmenter import create_segmenter, segmenter_cost

SIZE = {"height": 64, "width": 96}
WIDTHS = {"widths": (8, 16, 20, 32), "depths": (1, 2, 1, 1)}
PACA = {**WIDTHS, "widths": (8, 16, 32, 32)}
SMALL: dict[str, dict[str, Any]] = {
    "deit_tiny_patch16_224": {"dim": 24, "depth": 2},
    "swin_tiny_patch4_window7_224": {"dim": 12, "depths": (2, 2, 1, 2)},
    "pvt_tiny": WIDTHS,
    "pvt_v2_b2_li": WIDTHS,
    "pacavit_tiny_p2cconv_100_0": {**PACA, "clusters": (5, 4, 3, 0)},
    "pacavit_convmixer_tiny_100": {
        **PACA,
        "clusters": (5, 4, 3, 2),
        "teacher_depths": (1, 1, 2, 1),
    },
}


def stock_fvcore(module: nn.Module) -> int:
    """fvcore's own total, with a rule for the one operator it leaves out."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        from fvcore.nn import FlopCountAnalysis

        analysis = FlopCountAnalysis(module.eval(), torch.zeros(1, 3, *SIZE.values()))
        analysis.set_op_handle("aten::scaled_dot_product_attention", _attention)
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        analysis.tracer_warnings("none")
        return int(analysis.total())


@pytest.mark.parametrize("name", SMALL)
def test_macs_and_extra_are_the_total_of_fvcore(name: str) -> None:
    def build() -> nn.Module:
        return create_model(name, num_classes=10, img_size=tuple(SIZE.values()), **SMALL[name])

    extra = extra_flops(fvcore_elements(build, (1, 3, *SIZE.values())))
    macs = model_cost(name, num_classes=10, **SIZE, **SMALL[name]).macs
    assert stock_fvcore(build()) == macs + extra
    assert extra > 0


def test_macs_and_extra_are_the_total_of_fvcore_with_a_segmentation_head() -> None:
    name = "pacavit_convmixer_tiny_100"

    def build() -> nn.Module:
        return create_segmenter(name, 7, channels=16, **SMALL[name])

    elements = fvcore_elements(build, (1, 3, *SIZE.values()))
    macs = segmenter_cost(name, 7, channels=16, **SIZE, **SMALL[name]).macs
    assert stock_fvcore(build()) == macs + extra_flops(elements)
    assert set(elements) == {"layer_norm", "batch_norm", "bilinear"}


class UPerNet(nn.Module):
    """The head on random maps, straight from its figure, to count by running it."""

    def __init__(self, widths: list[int], num_classes: int) -> None:
        super().__init__()

        def conv(inputs: int, kernel_size: int) -> nn.Module:
            layer = nn.Conv2d(inputs, 512, kernel_size, padding=kernel_size // 2, bias=False)
            return nn.Sequential(layer, nn.BatchNorm2d(512), nn.ReLU())

        self.pools = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(side), conv(widths[-1], 1)) for side in (1, 2, 3, 6)
        )
        self.bottleneck = conv(widths[-1] + 4 * 512, 3)
        self.laterals = nn.ModuleList(conv(width, 1) for width in widths[:-1])
        self.fpn = nn.ModuleList(conv(512, 3) for _ in widths[:-1])
        self.fusion = conv(4 * 512, 3)
        self.classifier = nn.Conv2d(512, num_classes, 1)
        self.auxiliary = nn.Sequential(
            nn.Conv2d(widths[-2], 256, 3, padding=1, bias=False),
            nn.BatchNorm2d(256),
            nn.ReLU(),
            nn.Conv2d(256, num_classes, 1),
        )
        self.maps = [torch.randn(1, w, 12 >> i, 16 >> i) for i, w in enumerate(widths)]

    def forward(self, _images: torch.Tensor) -> torch.Tensor:
        def resize(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
            return nn.functional.interpolate(x, like.shape[2:], mode="bilinear")

        last = self.maps[-1]
        pooled = [resize(pool(last), last) for pool in self.pools]
        top = self.bottleneck(torch.cat([last, *pooled], 1))
        levels = [lateral(x) for lateral, x in zip(self.laterals, self.maps[:-1], strict=True)]
        levels.append(top)
        for index in (2, 1, 0):
            levels[index] = levels[index] + resize(levels[index + 1], levels[index])
        fine = [f(x) for f, x in zip(self.fpn, levels[:-1], strict=True)] + [top]
        joined = torch.cat([fine[0], *(resize(x, fine[0]) for x in fine[1:])], 1)
        return self.classifier(self.fusion(joined))


def test_upernet_by_closed_form_is_what_running_it_counts() -> None:
    widths = [8, 16, 24, 32]
    head = UPerNet(widths, 7)
    stages = [((12 >> i, 16 >> i), width) for i, width in enumerate(widths)]
    parts = [cost for _, cost in upernet_parts(stages, 7)]
    total = sum(cost.macs for cost in parts) + extra_flops(upernet_elements(stages))
    assert stock_fvcore(head) == total
    assert sum(p.numel() for p in head.parameters()) == sum(cost.params for cost in parts)


def test_a_row_describes_a_model_with_the_head_and_clusters_of_its_configuration() -> None:
    rows = {(row.table, row.model): row for row in published_rows()}
    row = rows["PaCa-ViT with PaCa head, ADE20k at 512x512", "pacavit_small_p2cconv_2_0"]
    clusters = (200, 200, 200, 0)
    whole = segmenter_cost(row.model, 150, height=512, width=512, clusters=clusters)
    assert row.clusters == clusters
    assert row_cost(row).macs == whole.macs
