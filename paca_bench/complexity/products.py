"""What matrix-like operators cost, forward and backward; attention has a file of its own.

A linear map, a convolution or a product of tensors is counted by its multiply-accumulates,
with the padding of a convolution and without its bias. It moves its two operands and its
result. Each gradient of it that is wanted is an operator of its own, of as much work as the
forward, which moves its result and the two tensors that it is the product of; so with both
gradients the backward is twice the forward in multiply-accumulates and in bytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from paca_bench.complexity.operators import Work, register_counter, tensor_bytes


def _product(a: Tensor, b: Tensor, out: Tensor, summed: int) -> Work:
    """Each element of ``out`` a sum over ``summed`` products of elements of a and b."""
    return Work(macs=out.numel() * summed, moved_bytes=tensor_bytes((a, b, out)))


@register_counter("aten.linear", category="linear")
def _linear(args: Sequence[Any], kwargs: Mapping[str, Any], out: Tensor) -> Work:
    return _product(args[0], args[1], out, args[1].shape[-1])


@register_counter("aten.mm", "aten.mv", "aten.dot", category="linear")
def _matrix_product(args: Sequence[Any], kwargs: Mapping[str, Any], out: Tensor) -> Work:
    return _product(args[0], args[1], out, args[0].shape[-1])


@register_counter("aten.addmm", "aten.addmv", "aten._addmm_activation", category="linear")
def _matrix_product_and_bias(args: Sequence[Any], kwargs: Mapping[str, Any], out: Tensor) -> Work:
    return _product(args[1], args[2], out, args[1].shape[-1])


@register_counter("aten.bmm", category="matmul")
def _batched_product(args: Sequence[Any], kwargs: Mapping[str, Any], out: Tensor) -> Work:
    return _product(args[0], args[1], out, args[0].shape[-1])


@register_counter("aten.baddbmm", "aten.baddbmm_", category="matmul")
def _batched_product_and_bias(args: Sequence[Any], kwargs: Mapping[str, Any], out: Tensor) -> Work:
    return _product(args[1], args[2], out, args[1].shape[-1])


@register_counter("aten.addbmm", "aten.addbmm_", category="matmul")
def _summed_batched_product(args: Sequence[Any], kwargs: Mapping[str, Any], out: Tensor) -> Work:
    batch, _, inner = args[1].shape
    return _product(args[1], args[2], out, batch * inner)


@register_counter("aten.convolution", "aten._convolution", category="convolution")
def _convolution(args: Sequence[Any], kwargs: Mapping[str, Any], out: Tensor) -> Work:
    source, weight, transposed = args[0], args[1], args[6]
    return Work(
        macs=_convolution_macs(source, weight, out, transposed),
        moved_bytes=tensor_bytes((source, weight, out)),
    )


@register_counter("aten.convolution_backward", category="convolution")
def _convolution_backward(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> Work:
    gradient, source, weight, transposed, wanted = *args[:3], args[7], args[10]
    macs = _convolution_macs(source, weight, gradient, transposed)
    # Both gradients have the size of what they are the gradient of.
    moved = tensor_bytes((source, weight, gradient))
    products = wanted[0] + wanted[1]
    return Work(
        macs=products * macs,
        elementwise_ops=gradient.numel() if wanted[2] else 0,
        moved_bytes=products * moved,
    )


def _convolution_macs(source: Tensor, weight: Tensor, out: Tensor, transposed: bool) -> int:
    # A weight is [out, in/groups, kernel...]; of a transposed convolution
    # [in, out/groups, kernel...], which each element of the *input* is spread with.
    elements = source.numel() if transposed else out.numel()
    return elements * math.prod(weight.shape[1:])
