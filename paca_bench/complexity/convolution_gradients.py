"""The gradients of a convolution, written as the convolutions that they are.

Dumoulin, Visin, "A guide to convolution arithmetic for deep learning", arXiv:1603.07285: that
of the input is a transposed convolution of the result's gradient by the same weight; that of
the weight is a convolution of the input by the result's gradient, images and channels
exchanged, strides and dilations too.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

convolution = torch.ops.aten.convolution


def input_gradient(
    gradient: Tensor,
    source: Tensor,
    weight: Tensor,
    *,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    groups: int,
) -> Tensor:
    """Of the ``source`` of ``convolution(source, weight)``, from that of its result."""
    extra = [0] * len(stride)
    if not transposed:
        # What the strides left unread at the far end has a gradient of its own, zero.
        extents = _extents(gradient.shape[2:], weight.shape[2:], stride, dilation)
        extra = [
            n + 2 * p - extent
            for n, p, extent in zip(source.shape[2:], padding, extents, strict=True)
        ]
    result: Tensor = convolution(
        gradient, weight, None, stride, padding, dilation, not transposed, extra, groups
    )
    return result


def weight_gradient(
    gradient: Tensor,
    source: Tensor,
    weight: Tensor,
    *,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    groups: int,
) -> Tensor:
    """Of the ``weight`` of ``convolution(source, weight)``, from that of its result."""
    if transposed:
        gradient, source = source, gradient
    extents = _extents(gradient.shape[2:], weight.shape[2:], stride, dilation)
    margins: list[int] = []
    for n, p, extent in zip(source.shape[2:], padding, extents, strict=True):
        # From the last dimension on, as pad wants it; what no position read is cut off.
        margins = [p, extent - n - p, *margins]
    read = pad(source, margins)
    # [B, g*c, ...] -> [c, g*B, ...]: channels become images.
    images = read.unflatten(1, (groups, -1)).permute(2, 1, 0, *range(3, read.dim() + 1))
    # [B, out, ...] -> [out, B, ...]: each result channel becomes a kernel.
    kernels = gradient.transpose(0, 1)
    none = [0] * len(stride)
    result: Tensor = convolution(
        images.flatten(1, 2), kernels, None, dilation, none, stride, False, none, groups
    )
    return result.transpose(0, 1)


def _extents(
    positions: Sequence[int], kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> list[int]:
    """How far a kernel reaches that stands at so many positions."""
    return [
        (count - 1) * step + (size - 1) * spread + 1
        for count, size, step, spread in zip(positions, kernel, stride, dilation, strict=True)
    ]
