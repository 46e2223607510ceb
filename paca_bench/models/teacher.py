"""PaCa's external clustering teacher: a ConvMixer pyramid with lateral connections.

Grainger et al., CVPR 2023, section 3.3; the mixer unit is that of Trockman and Kolter,
"Patches Are All You Need?", TMLR 2023. Keys are those of the official checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, interpolate

from paca_bench.attention.activation import Gelu
from paca_bench.attention.base import map_to_tokens
from paca_bench.attention.registry import Grid
from paca_bench.complexity.cost import Cost
from paca_bench.models.parts import convolution_cost, depthwise_cost, norm_cost, transition_cost

KERNEL_SIZE = 7


def teacher_cost(
    grids: Sequence[Grid], widths: Sequence[int], depths: Sequence[int], clusters: Sequence[int]
) -> list[tuple[str, Cost]]:
    """The parts of the teacher on the four grids of the stages.

    A unit is ``49NC + NC²``; a transition blurs at full resolution, then strides.
    """
    parts: list[tuple[str, Cost]] = []
    for index, (dim, depth) in enumerate(zip(widths, depths, strict=True)):
        tokens = math.prod(grids[index])
        has_next = index < len(widths) - 1
        stage = f"teacher.stage{index + 1}"
        unit = (
            depthwise_cost(tokens, dim, KERNEL_SIZE),
            convolution_cost(tokens, dim, dim, 1),
            norm_cost(dim, 2),
        )
        # The blocks of the way up, and one more unit on the way down.
        for _ in range(depth + has_next):
            parts += [(f"{stage}.mixer", cost) for cost in unit]
        if has_next:
            upper, next_tokens = widths[index + 1], math.prod(grids[index + 1])
            parts += [
                (f"{stage}.blur", depthwise_cost(tokens, dim, 3, learned=False)),
                (f"{stage}.transition", transition_cost(tokens, next_tokens, dim, upper)),
                (f"{stage}.lateral", convolution_cost(tokens, upper, dim, 1)),
                (f"{stage}.lateral", norm_cost(dim)),
            ]
        if clusters[index]:
            to_clusters = convolution_cost(tokens, dim, clusters[index], 1)
            parts.append((f"{stage}.clustering", to_clusters))
    return parts


class TeacherStage(NamedTuple):
    """What the teacher gives to a stage.

    Attributes:
        assignment: ``[B, M, N]``, summing to 1 over N; None where the stage has no clusters.
        features: tokens ``[B, N, C]`` that join the stage's own at its end.
    """

    assignment: Tensor | None
    features: Tensor


class Residual(nn.Module):
    """``x + fn(x)``."""

    def __init__(self, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        return x + self.fn(x)


class BlurConv2d(nn.Module):
    """A fixed binomial 3x3 blur of each channel, then a 3x3 convolution of stride 2."""

    blur_filter: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        row = torch.tensor([1.0, 2.0, 1.0]) / 4
        blur = torch.outer(row, row).expand(inputs, 1, 3, 3).contiguous()
        self.register_buffer("blur_filter", blur)
        self.conv = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        """``[B, D, H, W]`` -> ``[B, C, ceil(H/2), ceil(W/2)]``."""
        return self.conv(conv2d(image, self.blur_filter, padding=1, groups=image.shape[1]))


def activated(layer: nn.Module, channels: int) -> list[nn.Module]:
    """``layer``, GELU, then a batch norm of its output."""
    return [layer, Gelu(), nn.BatchNorm2d(channels)]


def mixer_unit(dim: int) -> nn.Sequential:
    """Mix space by a depthwise convolution beside a residual path, then channels."""
    spatial = nn.Conv2d(dim, dim, KERNEL_SIZE, padding=KERNEL_SIZE // 2, groups=dim)
    mix = Residual(nn.Sequential(*activated(spatial, dim)))
    return nn.Sequential(mix, *activated(nn.Conv2d(dim, dim, 1), dim))


class ConvMixerTeacher(nn.Module):
    """Cluster assignments and features of all stages, from the map that the stem gives.

    Args:
        widths: channels per stage.
        depths: mixer units per stage.
        clusters: M per stage; 0 where the stage has no clusters.
    """

    def __init__(
        self, widths: Sequence[int], depths: Sequence[int], clusters: Sequence[int]
    ) -> None:
        super().__init__()
        self.num_stages = len(widths)
        for index, (dim, depth) in enumerate(zip(widths, depths, strict=True)):
            stage = index + 1
            self.add_module(
                f"block{stage}", nn.Sequential(*(mixer_unit(dim) for _ in range(depth)))
            )
            if stage < self.num_stages:
                upper = widths[index + 1]
                transition = nn.Sequential(*activated(BlurConv2d(dim, upper), upper))
                lateral = nn.Sequential(*activated(nn.Conv2d(upper, dim, 1), dim))
                self.add_module(f"transition{stage}", transition)
                self.add_module(f"lateral{stage}", lateral)
                self.add_module(f"fpn{stage}", mixer_unit(dim))
            to_clusters = nn.Conv2d(dim, clusters[index], 1) if clusters[index] else None
            self.add_module(f"to_clusters{stage}", to_clusters)

    def forward(self, image: Tensor) -> list[TeacherStage]:
        """From the stem's map ``[B, C1, H, W]``, one entry per stage."""
        features = self._up(image)
        fused = self._down(features)
        outputs = []
        for index, feature in enumerate(features):
            to_clusters = getattr(self, f"to_clusters{index + 1}")
            assignment = None
            if to_clusters is not None:
                assignment = to_clusters(fused[index]).flatten(2).softmax(dim=-1)
            outputs.append(TeacherStage(assignment, map_to_tokens(feature)))
        return outputs

    def _up(self, image: Tensor) -> list[Tensor]:
        """Each stage's map, from fine to coarse."""
        features = []
        for stage in range(1, self.num_stages + 1):
            features.append(getattr(self, f"block{stage}")(image))
            if stage < self.num_stages:
                image = getattr(self, f"transition{stage}")(features[-1])
        return features

    def _down(self, features: list[Tensor]) -> list[Tensor]:
        """Each stage's map with the coarser ones joined in; the coarsest as it is."""
        fused = [features[-1]]
        for stage in range(self.num_stages - 1, 0, -1):
            fine = features[stage - 1]
            size = fine.shape[2:]
            coarse = interpolate(fused[0], size=size, mode="bilinear", align_corners=False)
            joined = fine + getattr(self, f"lateral{stage}")(coarse)
            fused.insert(0, getattr(self, f"fpn{stage}")(joined))
        return fused
