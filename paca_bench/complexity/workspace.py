"""What CPU kernels allocate inside an operator, beside its result.

These buffers are invisible in a graph of operators, yet are live at its worst moment. The
rules follow what torch 2.13 allocates, as its profiler shows; an operator without a rule
needs nothing worth counting.
"""

from __future__ import annotations

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
    """For each thread, in float32: the scores, their maxima and sums, and the output."""
    rows, columns = _flash_blocks(args[0], args[1])
    per_thread = rows * (columns + 2 + int(args[0].shape[-1])) * 4
    if args[0].element_size() < 4:
        per_thread += rows * columns * int(args[0].element_size())
    return per_thread * torch.get_num_threads()


def _flash_backward(args: Sequence[Any]) -> int:
    """For each thread, in float32: a block of probabilities and of their gradients."""
    rows, columns = _flash_blocks(args[1], args[2])
    per_thread = 2 * rows * columns * 4
    if args[1].element_size() < 4:
        per_thread += 2 * rows * columns * int(args[1].element_size())
    return per_thread * torch.get_num_threads()


def _convolution(args: Sequence[Any]) -> int:
    """The weight in oneDNN's blocked layout."""
    return _weight_in_layout_of(args[0], args[1]) + size_bytes(args[1])


def _convolution_backward(args: Sequence[Any]) -> int:
    """Two more copies of the weight's gradient: in oneDNN's blocked layout, and converted."""
    _, source, weight = args[:3]
    return _weight_in_layout_of(source, weight) + size_bytes(weight) + _blocked(weight)


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
