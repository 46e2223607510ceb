"""What CPU kernels allocate inside an operator, beside its result.

These buffers are invisible in a graph of operators, yet are live at its worst moment. The
rules follow what torch 2.13 allocates, as its profiler shows; an operator without a rule
needs nothing worth counting.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from paca_bench.complexity.convolution_workspace import (
    convolution_backward_workspace,
    convolution_workspace,
)

# The positional arguments of a call -> bytes that it holds for its own use.
Workspace = Callable[[Sequence[Any]], int]


def workspace_bytes(operator: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> int:
    """Most bytes that the CPU kernel of ``operator`` holds for itself during one call."""
    rule = _rules.get(operator)
    own = rule(args) if rule else 0
    return own + _mask_copy(kwargs["attn_mask"]) if "attn_mask" in kwargs else own


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


def _mask_copy(mask: Tensor | None) -> int:
    """Bytes of an attention's mask, if it must be copied for its rows to be dense."""
    return 0 if mask is None or mask.stride(-1) == 1 else size_bytes(mask)


def _safe_softmax(args: Sequence[Any]) -> int:
    """One byte for each score and for each row: is it minus infinity?"""
    scores = args[0].numel()
    return int(scores + scores // max(1, int(args[0].shape[-1])))


def _of_all_threads(item_bytes: int, elements: int, rounded: int) -> int:
    """Bytes of ``elements`` in at least float32, and of ``rounded`` again in a shorter type."""
    per_thread = elements * max(item_bytes, 4) + (rounded * item_bytes if item_bytes < 4 else 0)
    return per_thread * torch.get_num_threads()


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
    "aten.convolution": convolution_workspace,
    "aten.convolution_backward": convolution_backward_workspace,
    "aten.mm": _copies(0, 1, of=_not_for_blas),
    "aten.addmm": _copies(1, 2, of=_not_for_blas),
    "aten.bmm": _copies(0, 1, of=_not_for_blas),
    "aten._safe_softmax": _safe_softmax,
    "aten._softmax": _copies(0, of=_not_contiguous),
    "aten._softmax_backward_data": _copies(0, 1, of=_not_contiguous),
    "aten.roll": _first_roll,
}
