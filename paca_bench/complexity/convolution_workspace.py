"""What a convolution on the CPU allocates for itself, beside its result.

torch hands it to oneDNN, or computes it natively as a matrix product over unfolded columns:
small inputs, 1x1 kernels, and dtypes that this CPU's oneDNN cannot do. The rules follow what
torch 2.13 allocates, as its profiler shows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

# Side of a block of channels in oneDNN's layouts, in elements of float32.
_CHANNEL_BLOCKS = {"AVX2": 8, "AVX512": 16}
# Output channels that oneDNN's kernels take at a time, beyond the first few.
_OUTPUT_BLOCKS = {"AVX2": 24}
_SMALL_OUTPUT = 32
# From this side on, a kernel's gradient takes another way, image by image.
_LARGE_KERNEL = 14


def convolution_workspace(args: Sequence[Any]) -> int:
    """Bytes for ``aten.convolution(input, weight, bias, stride, ...)``."""
    x, weight, bias, *settings = args
    with_onednn, layout = convolution_backend(x, weight, settings, bias=bias)
    copied = _copied(layout, x, weight)
    if settings[3]:  # transposed
        return copied + _bytes(weight)
    sides = _output_sides(x, weight, settings)
    result = int(x.shape[0] * weight.shape[0]) * math.prod(sides) * int(x.element_size())
    if not with_onednn:
        # Each group's result is held until all are put together.
        together = result if settings[-1] > 1 else 0
        return copied + max(together, _columns(x, weight, settings))
    if layout == torch.channels_last:
        return copied + _padded(weight)
    return copied + max(_reordered(x) + _bytes(weight), result)


def convolution_backward_workspace(args: Sequence[Any]) -> int:
    """Bytes for ``aten.convolution_backward(gradient, input, weight, bias_sizes, ...)``."""
    grad, x, weight, bias_sizes, *settings, wanted = args
    with_onednn, layout = convolution_backend(x, weight, settings, bias_sizes=bias_sizes)
    copied = _copied(layout, grad, x, weight)
    if settings[3]:  # transposed
        return copied + _bytes(weight)
    if not with_onednn:
        results = (_bytes(t) if want else 0 for t, want in zip((x, weight), wanted, strict=False))
        together = sum(results) if settings[-1] > 1 else 0
        return copied + max(together, _columns(x, weight, settings))
    if layout == torch.channels_last:
        # oneDNN makes the weight's gradient in its own layout, and converts it in a copy.
        return copied + _bytes(weight) + _blocked(x, weight)
    if max(weight.shape[2:]) >= _LARGE_KERNEL:
        return copied + 4 * _bytes(weight) + _bytes(x) // int(x.shape[0])
    reordered = _reordered(x)
    return copied + max(reordered + _bytes(grad), _bytes(weight), 2 * reordered - _bytes(weight))


def convolution_backend(
    x: Tensor, weight: Tensor, settings: Sequence[Any], **bias: Any
) -> tuple[bool, torch.memory_format]:
    """Whether torch gives a convolution to oneDNN, and the layout that it works in.

    By torch's own decision, from shapes alone; it is asked about images only, and taken to use
    oneDNN wherever that can be for other numbers of dimensions.

    Args:
        x: input.
        weight: kernel.
        settings: stride, padding, dilation, transposed, output_padding, groups.
        **bias: the tensor as ``bias``, or its sizes as ``bias_sizes``.
    """
    if x.dim() != 4:
        return x.dtype == torch.float32, torch.contiguous_format
    names = ("stride", "padding", "dilation", "transposed", "output_padding", "groups")
    named = {"bias": None, **bias, **dict(zip(names, settings, strict=True))}
    backend = torch._C._select_conv_backend(x, weight, **named)
    layout = torch._C._conv_determine_backend_memory_format(x, weight, backend)
    return "Mkldnn" in str(backend), layout


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _is_depthwise(weight: Tensor) -> bool:
    return weight.dim() == 4 and weight.shape[1] == 1


def _output_sides(x: Tensor, weight: Tensor, settings: Sequence[Any]) -> list[int]:
    stride, padding, dilation, *_ = settings
    return [
        (side + 2 * pad - spread * (kernel - 1) - 1) // step + 1
        for side, pad, spread, kernel, step in zip(
            x.shape[2:], padding, dilation, weight.shape[2:], stride, strict=True
        )
    ]


def _columns(x: Tensor, weight: Tensor, settings: Sequence[Any]) -> int:
    """Bytes of one group's input, unfolded to the kernel's extent at every output position."""
    if all(side == 1 for side in weight.shape[2:]) and set(settings[0]) == {1}:
        return 0
    positions = math.prod(_output_sides(x, weight, settings))
    return int(x.shape[0]) * positions * math.prod(weight.shape[1:]) * x.element_size()


def _copied(layout: torch.memory_format, *tensors: Tensor) -> int:
    """Bytes of those of the ``tensors`` that are copied to have the ``layout``."""
    return sum(_bytes(t) for t in tensors if not t.is_contiguous(memory_format=layout))


def _reordered(x: Tensor) -> int:
    """Bytes of the input in oneDNN's blocks of channels, if it has enough channels for one."""
    return _bytes(x) if x.shape[1] >= min(_CHANNEL_BLOCKS.values()) else 0


def _padded(weight: Tensor) -> int:
    """Bytes of the weight in oneDNN's layout, with whole blocks of output channels."""
    outputs = int(weight.shape[0])
    block = _OUTPUT_BLOCKS.get(torch.backends.cpu.get_cpu_capability(), 1)
    if _is_depthwise(weight) or outputs <= _SMALL_OUTPUT:
        return _bytes(weight)
    return _bytes(weight) // outputs * (-(-outputs // block) * block)


def _blocked(x: Tensor, weight: Tensor) -> int:
    """Bytes of the weight's gradient in oneDNN's layout, with what it is computed in.

    A depthwise kernel larger than 3x3 has no layout of its own: each group's single channel
    is padded to a whole block on both sides. Where the kernel is higher than the map, another
    way is taken, with three times the weight.
    """
    if not _is_depthwise(weight) or max(weight.shape[2:]) <= 3:
        return _bytes(weight)
    if x.shape[2] < weight.shape[2]:
        return 3 * _bytes(weight)
    block = _CHANNEL_BLOCKS.get(torch.backends.cpu.get_cpu_capability(), 1)
    return _bytes(weight) * block**2
