"""The host: one fixed four-stage pyramid in which only the attention is swapped."""

from __future__ import annotations

import itertools
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

from paca_bench.attention.activation import gelu
from paca_bench.attention.base import Attention, map_grid, map_to_tokens, tokens_to_map
from paca_bench.attention.registry import Grid, Mechanism
from paca_bench.models.geometry import KERNEL_SIDE, Geometry, layer_shape, places

NORM_EPS = 1e-6


class Layer(nn.Module):
    """An attention module alone on a fixed grid, so that it takes one tensor."""

    is_block = True  # for activation checkpointing

    def __init__(self, attention: Attention, grid: Grid) -> None:
        super().__init__()
        self.attention = attention
        self.grid = grid

    def forward(self, x: Tensor) -> Tensor:
        """``[B, H*W, C]`` -> the same."""
        return self.attention(x, self.grid)


class Mlp(nn.Module):
    """``fc2(GELU(h + depthwise(h)))`` with ``h = fc1(x)``, as in PaCa's block."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.depthwise = nn.Conv2d(hidden, hidden, KERNEL_SIDE, padding=1, groups=hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        """``[B, H*W, C]`` -> the same."""
        image = tokens_to_map(self.fc1(x), grid)
        mixed = self._filter(image)
        mixed += image
        return self.fc2(gelu(map_to_tokens(mixed)))

    def _filter(self, image: Tensor) -> Tensor:
        """The depthwise convolution, also on maps that are smaller than its kernel.

        There torch's CPU backward is about ten times slower than that of the same sum
        written as a padding and a convolution without one.
        """
        if min(image.shape[-2:]) >= KERNEL_SIDE:
            return self.depthwise(image)
        weight, bias = self.depthwise.weight, self.depthwise.bias
        return conv2d(pad(image, (1, 1, 1, 1)), weight, bias, groups=image.shape[1])


class Block(nn.Module):
    """Attention and MLP, each behind a LayerNorm and beside a residual path."""

    is_block = True  # for activation checkpointing

    def __init__(self, dim: int, mlp_ratio: int, attention: Attention) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attention = attention
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.mlp = Mlp(dim, mlp_ratio * dim)

    def forward(self, x: Tensor, grid: Grid, shared: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Tokens ``[B, H*W, C]`` and what the stage shares, both for the next block."""
        normed = self.norm1(x)
        if not self.attention.uses_shared:
            shared = self.attention.make_shared(normed, grid)
        x = x + self.attention(normed, grid, shared)
        return x + self.mlp(self.norm2(x), grid), shared


class Downsample(nn.Module):
    """3x3 convolutions of stride 2, then a LayerNorm over channels; map to tokens."""

    def __init__(self, *channels: int) -> None:
        super().__init__()
        pairs = itertools.pairwise(channels)
        self.convolutions = nn.Sequential(
            *(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairs)
        )
        self.norm = nn.LayerNorm(channels[-1], eps=NORM_EPS)

    def forward(self, image: Tensor) -> tuple[Tensor, Grid]:
        """``[B, C, H, W]`` -> tokens, and the reduced grid that they lie on."""
        image = self.convolutions(image)
        return self.norm(map_to_tokens(image)), map_grid(image)


class Host(nn.Module):
    """Images ``[B, 3, H, W]`` to logits ``[B, num_classes]``.

    Args:
        mechanism: the attention in every block.
        geometry: widths, heads and depths.
        height: of the images that grid-dependent parts are prepared for; others work too.
        width: likewise.
        num_classes: outputs of the head; 0 for the stage maps alone, without norm and head.
        **options: the mechanism's options, which it may vary over the stages.
    """

    def __init__(
        self,
        mechanism: Mechanism,
        geometry: Geometry,
        *,
        height: int,
        width: int,
        num_classes: int = 1000,
        **options: Any,
    ) -> None:
        super().__init__()
        widths = geometry.widths
        self.downsamples = nn.ModuleList(
            [Downsample(3, widths[0] // 2, widths[0])]
            + [Downsample(a, b) for a, b in itertools.pairwise(widths)]
        )
        self.stages = nn.ModuleList(nn.ModuleList() for _ in widths)
        for place in places(geometry):
            shape = layer_shape(geometry, height, width, place.stage)
            attention = mechanism.build(**shape, **mechanism.options_at(place, options))
            block = Block(shape["dim"], geometry.mlp_ratio, attention)
            self.stages[place.stage - 1].append(block)  # type: ignore[operator]
        if num_classes:
            self.norm = nn.LayerNorm(widths[-1], eps=NORM_EPS)
            self.head = nn.Linear(widths[-1], num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """The logits."""
        image = images
        for index in range(len(self.stages)):
            image = self._stage(index, image)
        return self.head(self.norm(map_to_tokens(image)).mean(dim=1))

    def forward_features(self, images: Tensor) -> list[Tensor]:
        """The maps ``[B, C, H, W]`` of the four stages, finest first."""
        maps: list[Tensor] = []
        for index in range(len(self.stages)):
            maps.append(self._stage(index, maps[-1] if maps else images))
        return maps

    def _stage(self, index: int, image: Tensor) -> Tensor:
        """A stage's map, from the one before it."""
        tokens, grid = self.downsamples[index](image)
        shared: Tensor | None = None
        for block in self.stages[index]:  # type: ignore[attr-defined]
            tokens, shared = block(tokens, grid, shared)
        return tokens_to_map(tokens, grid)

    def shared_states(self, images: Tensor) -> list[Tensor | None]:
        """What each stage's last block used in common with its stage, such as an assignment.

        None where the mechanism shares nothing. It is one ``forward``, listened to.
        """
        states: list[Tensor | None] = []
        handles = [
            blocks[-1].register_forward_hook(lambda _block, _inputs, out: states.append(out[1]))  # type: ignore[index]
            for blocks in self.stages
        ]
        try:
            self(images)
        finally:
            for handle in handles:
                handle.remove()
        return states
