"""What the published architectures have in common: MLPs, the pre-norm block, initialisation."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn.functional import relu

from paca_bench.attention.activation import gelu
from paca_bench.attention.base import Attention, map_grid, map_to_tokens, tokens_to_map
from paca_bench.attention.registry import Grid
from paca_bench.errors import SpecError


class Embedding(nn.Module):
    """A map to the tokens of a coarser grid: a projection, then a LayerNorm of ``eps``."""

    def __init__(self, proj: nn.Module, dim: int, *, eps: float) -> None:
        super().__init__()
        self.proj = proj
        self.norm = nn.LayerNorm(dim, eps=eps)

    def forward(self, image: Tensor) -> tuple[Tensor, Grid]:
        """``[B, D, H, W]`` -> ``[B, N, C]``, and the grid that the N tokens lie on."""
        image = self.proj(image)
        return self.norm(map_to_tokens(image)), map_grid(image)


class Mlp(nn.Module):
    """``fc2(GELU(fc1(x)))``."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        """``[B, N, C]`` -> the same; the grid does not matter."""
        return self.fc2(gelu(self.fc1(x)))


class ConvMlp(nn.Module):
    """An MLP with a depthwise 3x3 convolution: ``fc2(GELU(dw(h)))`` with ``h = fc1(x)``.

    Args:
        dim: channels C.
        hidden: channels of ``h``.
        shortcut: ``h + dw(h)`` in place of ``dw(h)``, as in PaCa.
        rectify: ``h = ReLU(fc1(x))``, as in PVT v2 with linear attention.
    """

    def __init__(
        self, dim: int, hidden: int, *, shortcut: bool = False, rectify: bool = False
    ) -> None:
        super().__init__()
        self.shortcut = shortcut
        self.rectify = rectify
        self.fc1 = nn.Linear(dim, hidden)
        self.dwconv = DepthwiseConv(hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        """``[B, H*W, C]`` -> the same."""
        hidden = self.fc1(x)
        if self.rectify:
            hidden = relu(hidden)
        image = tokens_to_map(hidden, grid)
        mixed = self.dwconv(image)
        if self.shortcut:
            mixed += image
        return self.fc2(gelu(map_to_tokens(mixed)))


class DepthwiseConv(nn.Module):
    """A depthwise 3x3 convolution; a module of its own for the official key."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)

    def forward(self, image: Tensor) -> Tensor:
        """``[B, C, H, W]`` -> the same."""
        return self.dwconv(image)


class Block(nn.Module):
    """Attention and MLP, each behind a LayerNorm of ``eps`` and beside a residual path."""

    is_block = True  # for activation checkpointing

    def __init__(self, dim: int, attention: Attention, mlp: nn.Module, *, eps: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.attn = attention
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = mlp

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        """``[B, N, C]`` -> the same."""
        x = x + self.attn(self.norm1(x), grid)
        return x + self.mlp(self.norm2(x), grid)


def classifier(channels: int, num_classes: int) -> nn.Module:
    """A linear head; no head, as in the official repositories, for 0 classes."""
    return nn.Linear(channels, num_classes) if num_classes else nn.Identity()


def init_weights(model: nn.Module, *, convolutions: bool = False) -> None:
    """The official start: linear weights from a truncated normal of std 0.02, biases zero.

    With ``convolutions``, their weights too, normal with variance 2 / fan-out (He et al.,
    ICCV 2015, counting a group's outputs); else they keep torch's own start. Norms start at
    one and zero by themselves.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
        elif isinstance(module, nn.Conv2d) and convolutions:
            area = module.kernel_size[0] * module.kernel_size[1]
            fan_out = area * module.out_channels // module.groups
            nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def check_images(images: Tensor) -> Grid:
    """(H, W) of images ``[B, 3, H, W]``.

    Raises:
        SpecError: ``images`` are not that.
    """
    if images.dim() != 4 or images.shape[1] != 3:
        raise SpecError(f"images of shape {tuple(images.shape)}; expected [B, 3, H, W]")
    return (images.shape[2], images.shape[3])
