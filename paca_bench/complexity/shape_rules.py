"""The results of the operators that cost most to ask torch for, worked out here.

Asked on shapes, torch goes through a definition in Python of these operators, up to ten
milliseconds a call. A rule gives the layouts that torch would give, but for the strides of
sides of length 1, which mean nothing, or None where it is not certain; then torch is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from paca_bench.complexity.convolution_workspace import convolution_backend

# One result or several, on the meta device; None if torch must say.
Results = Tensor | tuple[Tensor | None, ...] | None
# Positional arguments, with tensors without data -> results.
Rule = Callable[[Sequence[Any]], Results]


def results_by_rule(operator: str, args: Sequence[Any]) -> Results:
    """The new tensors that ``operator`` gives, on the meta device; None if torch must say.

    Args:
        operator: such as ``aten.addmm``.
        args: its positional arguments; the others make no difference to these operators.
    """
    rule = _rules.get(operator)
    return rule(args) if rule else None


def _empty(size: Sequence[int], dtype: torch.dtype) -> Tensor:
    return torch.empty(tuple(size), dtype=dtype, device="meta")


def _like(tensor: Tensor) -> Tensor | None:
    """What an elementwise operator makes of ``tensor``: the same strides, if it is dense."""
    if tensor.is_contiguous():
        return _empty(tensor.size(), tensor.dtype)
    like = torch.empty_strided(tensor.size(), tensor.stride(), dtype=tensor.dtype, device="meta")
    if tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last):
        return torch.empty_like(like, memory_format=torch.channels_last)
    dense = torch.empty_like(like).stride() == like.stride() and 1 not in like.size()
    return like if dense else None


def _unary(args: Sequence[Any]) -> Results:
    return _like(args[0])


def _binary(args: Sequence[Any]) -> Results:
    """Of two tensors of one size and layout."""
    first, second = args[:2]
    if not isinstance(second, Tensor) or first.dtype != second.dtype:
        return None
    both_contiguous = first.is_contiguous() and second.is_contiguous()
    if first.size() != second.size() or not (both_contiguous or first.stride() == second.stride()):
        return None
    return _unary(args)


def _addmm(args: Sequence[Any]) -> Results:
    bias, left, right = args
    if not bias.dtype == left.dtype == right.dtype:
        return None
    return _empty((left.size(0), right.size(1)), left.dtype)


def _layer_norm(args: Sequence[Any]) -> Results:
    x, shape, weight, bias, _ = args
    if any(t is not None and t.dtype != x.dtype for t in (weight, bias)):
        return None
    rows = (*x.size()[: -len(shape)], *[1] * len(shape))
    return (_empty(x.size(), x.dtype), _empty(rows, x.dtype), _empty(rows, x.dtype))


def _layer_norm_backward(args: Sequence[Any]) -> Results:
    grad, x, _, _, _, weight, bias, wanted = args
    tensors = (x, weight, bias)
    if not x.numel() or any(t is None or t.dtype != grad.dtype for t in tensors):
        return None
    return tuple(
        _empty(t.size(), t.dtype) if want else None for t, want in zip(tensors, wanted, strict=True)
    )


def _flash(args: Sequence[Any]) -> Results:
    query = args[0]
    batch, heads, queries, _ = query.size()
    stand_in = torch.empty_strided(query.size(), query.stride(), dtype=query.dtype, device="meta")
    exact = torch.float32 if query.element_size() < 4 else query.dtype
    sums = _empty((batch, queries, heads), exact).transpose(1, 2)
    return (torch.empty_like(stand_in), sums)


def _flash_backward(args: Sequence[Any]) -> Results:
    """Gradients lie as ``[B, N, h, d]``."""
    order = (0, 2, 1, 3)
    return tuple(
        torch.empty_permuted(tuple(t.size()), order, dtype=t.dtype, device="meta")
        for t in args[1:4]
    )


def _convolution(args: Sequence[Any]) -> Results:
    x, weight, bias, *settings = args
    stride, padding, dilation, transposed, *_ = settings
    if transposed or x.dim() != 4 or x.dtype != weight.dtype or not x.numel():
        return None
    sides = [
        (side + 2 * pad - spread * (kernel - 1) - 1) // step + 1
        for side, pad, spread, kernel, step in zip(
            x.size()[2:], padding, dilation, weight.size()[2:], stride, strict=True
        )
    ]
    if min(sides) < 1:
        return None
    out = _empty((x.size(0), weight.size(0), *sides), x.dtype)
    return out.to(memory_format=convolution_backend(x, weight, settings, bias=bias)[1])


def _convolution_backward(args: Sequence[Any]) -> Results:
    _, x, weight, bias_sizes, *settings, wanted = args
    if settings[3] or x.dim() != 4 or x.dtype != weight.dtype or not x.numel():
        return None
    _, of_backend = convolution_backend(x, weight, settings, bias_sizes=bias_sizes)
    like_inputs = any(
        t.is_contiguous(memory_format=torch.channels_last) and not t.is_contiguous()
        for t in (x, weight)
    )
    grads: list[Tensor | None] = []
    for tensor, want in zip((x, weight), wanted[:2], strict=True):
        grad = _empty(tensor.size(), tensor.dtype)
        if like_inputs:
            grad = grad.to(memory_format=torch.channels_last)
        grads.append(grad.to(memory_format=of_backend) if want else None)
    return (*grads, _empty(bias_sizes, x.dtype) if wanted[2] else None)


_rules: dict[str, Rule] = {
    "aten.gelu": _unary,
    "aten.gelu_backward": _binary,
    "aten.add": _binary,
    "aten.addmm": _addmm,
    "aten.native_layer_norm": _layer_norm,
    "aten.native_layer_norm_backward": _layer_norm_backward,
    "aten._scaled_dot_product_flash_attention_for_cpu": _flash,
    "aten._scaled_dot_product_flash_attention_for_cpu_backward": _flash_backward,
    "aten.convolution": _convolution,
    "aten.convolution_backward": _convolution_backward,
}
