"""Results of operators on the meta device, for those that torch finds slowly.

torch has a meta kernel for every operator, but many are Python code that takes from 0.1 to
20 ms, most of the time of a count. A rule here makes the result from the arguments' shapes, in
the dtype and layout of torch's CPU kernel. Where a call is unusual or wrong, the rule gives
``NotImplemented`` and torch is asked, so that mistakes are torch's to report.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten

# A tensor, a tuple of tensors and None, or NotImplemented.
Result = Any


def _new(like: Tensor, shape: Sequence[int]) -> Tensor:
    """A contiguous tensor. ``like.new_empty(shape)`` would be Python code as well."""
    return torch.empty(shape, dtype=like.dtype, device="meta")


def _like(x: Tensor, *_: Any, **__: Any) -> Tensor:
    """A tensor of the layout of ``x``, or of a dense one where that has gaps or overlaps."""
    shape, stride = x.shape, x.stride()
    if x.is_contiguous():
        return _new(x, shape)
    last = sum((n - 1) * step for n, step in zip(shape, stride, strict=True))
    if last + 1 == x.numel() and 0 not in stride:
        return torch.empty_strided(shape, stride, dtype=x.dtype, device="meta")
    return torch.empty_like(x)


def _contiguous(x: Tensor, *_: Any, **__: Any) -> Tensor:
    return _new(x, x.shape)


def _of_sizes(grad: Tensor, sizes: Sequence[int], *_: Any) -> Tensor:
    return _new(grad, sizes)


def _match(a: Tensor, b: Any) -> bool:
    """True if the two may meet without torch converting one."""
    return isinstance(b, Tensor) and a.dtype == b.dtype and b.is_meta


def _binary(a: Tensor, b: Any, *_: Any, **__: Any) -> Result:
    # Of two layouts the first operand's is taken.
    return _like(a) if _match(a, b) and a.shape == b.shape else NotImplemented


def _threshold_backward(grad: Tensor, x: Tensor, _threshold: Any) -> Result:
    return _binary(x, grad)


def _roll(x: Tensor, *_: Any, **__: Any) -> Result:
    return _new(x, x.shape) if x.is_contiguous() else NotImplemented


def _softmax(x: Tensor, dim: int, to_float: object = None) -> Result:
    return NotImplemented if to_float else _new(x, x.shape)


def _clone(x: Tensor, *, memory_format: torch.memory_format = torch.preserve_format) -> Result:
    if memory_format is torch.contiguous_format:
        return _new(x, x.shape)
    return _like(x) if memory_format is torch.preserve_format else NotImplemented


def _sum(x: Tensor, dims: Sequence[int] | None, keepdim: bool = False, **dtype: Any) -> Result:
    """Only that of a matrix over rows or columns, such as the gradient of a bias."""
    if x.dim() != 2 or not dims or len(dims) != 1 or dtype:
        return NotImplemented
    rows, columns = x.shape
    if dims[0] % 2 == 0:
        return _new(x, (1, columns) if keepdim else (columns,))
    return _new(x, (rows, 1) if keepdim else (rows,))


def _stack(tensors: Sequence[Tensor], dim: int = 0) -> Result:
    first = tensors[0]
    if not all(_match(first, t) and t.shape == first.shape for t in tensors):
        return NotImplemented
    before = dim % (first.dim() + 1)
    return _new(first, (*first.shape[:before], len(tensors), *first.shape[before:]))


def _upsample(x: Tensor, size: Sequence[int] | None, *_: Any, **__: Any) -> Result:
    if size is None or x.dim() != 4:
        return NotImplemented
    last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    layout = torch.channels_last if last else torch.contiguous_format
    shape = (*x.shape[:2], *size)
    return torch.empty(shape, dtype=x.dtype, device="meta", memory_format=layout)


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Result:
    outputs, inputs = weight.shape
    if not _match(x, weight) or x.shape[-1] != inputs or not _fits(bias, (outputs,)):
        return NotImplemented
    return _new(x, (*x.shape[:-1], outputs))


def _fits(vector: Tensor | None, shape: Sequence[int]) -> bool:
    return vector is None or vector.shape == (*shape,)


def _product(a: Tensor, b: Tensor) -> Result:
    """``[..., n, k] x [..., k, m]``, without broadcasting."""
    if not _match(a, b) or a.shape[:-2] != b.shape[:-2] or a.shape[-1] != b.shape[-2]:
        return NotImplemented
    return _new(a, (*a.shape[:-1], b.shape[-1]))


def _addmm(bias: Tensor, a: Tensor, b: Tensor, **_: Any) -> Result:
    return _product(a, b) if _fits(bias, b.shape[1:]) else NotImplemented


def _attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, *_: Any, **__: Any
) -> Result:
    fit = (
        _match(query, key)
        and _match(query, value)
        and query.shape[:-2] == key.shape[:-2] == value.shape[:-2]
        and query.shape[-1] == key.shape[-1]
        and key.shape[-2] == value.shape[-2]
        and (mask is None or mask.shape[-2:] == (query.shape[-2], key.shape[-2]))
    )
    return attention_result(query, value) if fit else NotImplemented


def attention_result(query: Tensor, value: Tensor) -> Tensor:
    """Of queries ``[B, h, N, d]`` and values ``[B, h, S, e]``: ``[B, h, N, e]``.

    It lies as ``[B, N, h, e]`` in memory, as fused kernels write it.
    """
    if query.dim() != 4 or query.shape[-1] != value.shape[-1]:
        return _new(query, (*query.shape[:-1], value.shape[-1]))
    batch, heads, tokens, width = query.shape
    return _new(query, (batch, tokens, heads, width)).transpose(1, 2)


def _layer_norm(
    x: Tensor, normed: Sequence[int], weight: Tensor | None = None, *_: Any, **__: Any
) -> Result:
    fits = x.shape[x.dim() - len(normed) :] == (*normed,) and _fits(weight, normed)
    return _new(x, x.shape) if fits else NotImplemented


def _native_layer_norm(x: Tensor, normed: Sequence[int], weight: Tensor | None, *_: Any) -> Result:
    out = _layer_norm(x, normed, weight)
    if out is NotImplemented:
        return out
    statistics = (*x.shape[: x.dim() - len(normed)], *(1 for _ in normed))
    return out, _new(x, statistics), _new(x, statistics)


def _layer_norm_backward(
    grad: Tensor, x: Tensor, _normed: Any, _mean: Any, _rstd: Any, *rest: Any
) -> Result:
    weight, bias, wanted = rest
    like = (x, weight, bias)
    return tuple(_new(t, t.shape) if w else None for t, w in zip(like, wanted, strict=True))


def _batch_norm(x: Tensor, weight: Tensor | None, *_: Any) -> Result:
    return _like(x) if _fits(weight, x.shape[1:2]) else NotImplemented


def _native_batch_norm(
    x: Tensor, weight: Tensor | None, _bias: Any, _mean: Any, _var: Any, training: bool, *_: Any
) -> Result:
    out = _batch_norm(x, weight)
    if out is NotImplemented:
        return out
    statistics = x.shape[1:2] if training else (0,)
    return out, _new(x, statistics), _new(x, statistics)


def _batch_norm_backward(grad: Tensor, x: Tensor, *rest: Any) -> Result:
    of_x, of_weight, of_bias = rest[-1]
    channels = x.shape[1:2]
    return (
        _like(x) if of_x else None,
        _new(x, channels) if of_weight else None,
        _new(x, channels) if of_bias else None,
    )


def _convolution_backward(
    grad: Tensor, x: Tensor, weight: Tensor, biases: Sequence[int] | None, *rest: Any
) -> Result:
    of_x, of_weight, of_bias = rest[-1]
    return (
        _like(x) if of_x else None,
        _like(weight) if of_weight else None,
        _new(x, biases or ()) if of_bias else None,
    )


# Overload of an operator -> its result for the arguments of a call.
RULES: Mapping[Any, Callable[..., Result]] = {
    aten.gelu.default: _like,
    aten.relu.default: _like,
    aten.add.Tensor: _binary,
    aten.mul.Tensor: _binary,
    aten.gelu_backward.default: _binary,
    aten.threshold_backward.default: _threshold_backward,
    aten.softmax.int: _softmax,
    aten._softmax.default: _softmax,
    aten._softmax_backward_data.default: _contiguous,
    aten.clone.default: _clone,
    aten.roll.default: _roll,
    aten.stack.default: _stack,
    aten.sum.dim_IntList: _sum,
    aten.slice_backward.default: _of_sizes,
    aten.select_backward.default: _of_sizes,
    aten.upsample_bilinear2d.default: _upsample,
    aten.upsample_bilinear2d.vec: _upsample,
    aten.linear.default: _linear,
    aten.mm.default: _product,
    aten.bmm.default: _product,
    aten.addmm.default: _addmm,
    aten.scaled_dot_product_attention.default: _attention,
    aten.layer_norm.default: _layer_norm,
    aten.native_layer_norm.default: _native_layer_norm,
    aten.native_layer_norm_backward.default: _layer_norm_backward,
    aten.batch_norm.default: _batch_norm,
    aten.native_batch_norm.default: _native_batch_norm,
    aten.native_batch_norm_backward.default: _batch_norm_backward,
    aten.convolution_backward.default: _convolution_backward,
}
