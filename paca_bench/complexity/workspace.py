"""What CPU kernels allocate inside an operator, beside its result.

These buffers are invisible in a graph of operators, yet are live at its worst moment. The
rules follow what torch 2.13 allocates, as its profiler shows; an operator without a rule
needs nothing worth counting.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

# The positional arguments of a call -> bytes that it holds for its own use.
Workspace = Callable[[Sequence[Any]], int]

# Side of a block of channels in oneDNN's layouts, in elements of float32.
_CHANNEL_BLOCKS = {"AVX2": 8, "AVX512": 16}


def workspace_bytes(operator: str, args: Sequence[Any]) -> int:
    """Most bytes that the CPU kernel of ``operator`` holds for itself during one call."""
    rule = _rules.get(operator)
    return rule(args) if rule else 0


def size_bytes(tensor: Tensor) -> int:
    """Bytes of all elements, stored densely."""
    return tensor.numel() * tensor.element_size()


def _flash_blocks(query: Tensor, key: Tensor) -> tuple[int, int]:
    """The block of scores (queries, keys) that a thread of the CPU flash kernel works on."""
    queries, keys = int(query.shape[-2]), int(key.shape[-2])
    block = 256 if queries >= 768 else 64 if queries >= 192 else 32
    return min(block, queries), min(512, keys)


def _flash(args: Sequence[Any]) -> int:
    """For each thread: the scores, their maxima and sums, and the output, all unreduced."""
    rows, columns = _flash_blocks(args[0], args[1])
    elements = rows * (columns + 2 + int(args[0].shape[-1]))
    return _of_all_threads(args[0].element_size(), elements, rows * columns)


def _flash_backward(args: Sequence[Any]) -> int:
    """For each thread: a block of probabilities and of their gradients."""
    rows, columns = _flash_blocks(args[1], args[2])
    return _of_all_threads(args[1].element_size(), 2 * rows * columns, 2 * rows * columns)


def _of_all_threads(item_bytes: int, elements: int, rounded: int) -> int:
    """Bytes of ``elements`` in at least float32, and of ``rounded`` again in a shorter type."""
    per_thread = elements * max(item_bytes, 4) + (rounded * item_bytes if item_bytes < 4 else 0)
    return per_thread * torch.get_num_threads()


def _convolution(args: Sequence[Any]) -> int:
    """The weight in oneDNN's blocked layout, or the native kernel's columns."""
    source, weight, stride = args[0], args[1], args[3]
    own = size_bytes(weight) if _has_onednn(weight.dtype) else _columns(source, weight, stride)
    return _weight_in_layout_of(source, weight) + own


def _convolution_backward(args: Sequence[Any]) -> int:
    """As forward; oneDNN makes the weight's gradient in its layout, and converts it in a copy."""
    source, weight, stride = args[1], args[2], args[4]
    if _has_onednn(weight.dtype):
        own = size_bytes(weight) + _blocked(weight)
    else:
        own = _columns(source, weight, stride)
    return _weight_in_layout_of(source, weight) + own


def _has_onednn(dtype: torch.dtype) -> bool:
    """True if convolutions of ``dtype`` run in oneDNN on this CPU, and not in torch itself."""
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    if dtype == torch.float16:
        return bool(torch.ops.mkldnn._is_mkldnn_fp16_supported())
    return dtype == torch.float32 and torch.backends.mkldnn.is_available()


def _columns(source: Tensor, weight: Tensor, stride: Sequence[int]) -> int:
    """Bytes of one group's input, unfolded to the kernel's extent at every output position."""
    positions = math.prod(n // s for n, s in zip(source.shape[2:], stride, strict=True))
    return source.shape[0] * positions * math.prod(weight.shape[1:]) * source.element_size()


def _weight_in_layout_of(source: Tensor, weight: Tensor) -> int:
    """Bytes of the copy that gives the weight the input's channels-last layout."""
    if source.dim() != 4 or not source.is_contiguous(memory_format=torch.channels_last):
        return 0
    copied = not weight.is_contiguous(memory_format=torch.channels_last)
    return size_bytes(weight) if copied else 0


def _blocked(weight: Tensor) -> int:
    """Bytes of the weight's gradient in oneDNN's layout.

    A depthwise kernel larger than 3x3 has no layout of its own: each group's single channel
    is padded to a whole block on both sides.
    """
    if weight.dim() == 4 and weight.shape[1] == 1 and max(weight.shape[2:]) > 3:
        block = _CHANNEL_BLOCKS.get(torch.backends.cpu.get_cpu_capability(), 1)
        return size_bytes(weight) * block**2
    return size_bytes(weight)


def _copies(*positions: int, of: Callable[[Tensor], bool]) -> Workspace:
    """The operands at ``positions`` that are copied because their layout does not suit."""
    return lambda args: sum(size_bytes(args[i]) for i in positions if of(args[i]))


def _not_for_blas(matrix: Tensor) -> bool:
    """True unless rows or columns are dense, as BLAS wants them (an expanded gradient is not)."""
    rows, columns = matrix.shape[-2:]
    row_stride, column_stride = matrix.stride()[-2:]
    by_rows = column_stride == 1 and row_stride >= max(1, columns)
    by_columns = row_stride == 1 and column_stride >= max(1, rows)
    return not (by_rows or by_columns)


def _not_contiguous(tensor: Tensor) -> bool:
    return not tensor.is_contiguous()


def _first_roll(args: Sequence[Any]) -> int:
    """A roll over several dimensions is done one after the other."""
    return size_bytes(args[0]) if len(args[2]) > 1 else 0


_rules: dict[str, Workspace] = {
    "aten._scaled_dot_product_flash_attention_for_cpu": _flash,
    "aten._scaled_dot_product_flash_attention_for_cpu_backward": _flash_backward,
    "aten.convolution": _convolution,
    "aten.convolution_backward": _convolution_backward,
    "aten.mm": _copies(0, 1, of=_not_for_blas),
    "aten.addmm": _copies(1, 2, of=_not_for_blas),
    "aten.bmm": _copies(0, 1, of=_not_for_blas),
    "aten._softmax": _copies(0, of=_not_contiguous),
    "aten._softmax_backward_data": _copies(0, 1, of=_not_contiguous),
    "aten.roll": _first_roll,
}
