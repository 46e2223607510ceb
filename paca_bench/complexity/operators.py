"""What each operator costs: a rule for every operator that the dispatch counter may meet.

Matrix-like work is counted in multiply-accumulates, everything else in elementwise
operations, by one convention:

- a pointwise operator, a softmax, a normalisation, a dropout or an interpolation is one
  operation for each element of its output, however many instructions it takes;
- a reduction or a pooling is one operation for each element of its input;
- an attention operator is its two products, plus one elementwise operation for each score
  (the softmax) and one more if a mask is added, whichever kernel computes it; masked scores
  are counted like the others;
- a convolution is counted with its padding, a bias is part of the product that it follows;
- views, copies, gathers and the making of tensors cost nothing (``FREE``).

An operator without a rule is an error, never a silent zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from paca_bench.errors import CountError


@dataclass(frozen=True, slots=True)
class Work:
    """What one call of an operator costs."""

    macs: int = 0
    elementwise_ops: int = 0


# Positional arguments, keyword arguments and result of the call -> its cost.
Rule = Callable[[Sequence[Any], Mapping[str, Any], Any], Work]

_rules: dict[str, tuple[str, Rule]] = {}


def register_counter(*operators: str, category: str) -> Callable[[Rule], Rule]:
    """Decorator: the cost of operators, named ``namespace.name`` (``aten.mm``, ``mylib.scan``).

    The decorated function takes the call's positional arguments, its keyword arguments and its
    result, and returns a ``Work``. ``category`` groups multiply-accumulates in the report.

    Raises:
        CountError: an operator has a rule already.
    """

    def register(rule: Rule) -> Rule:
        for operator in operators:
            if operator in _rules:
                raise CountError(f"operator {operator} has a counter already; choose another name")
            _rules[operator] = (category, rule)
        return rule

    return register


def is_known(operator: str) -> bool:
    """True if ``operator`` is counted as a whole, instead of through its parts."""
    return any(operator in names for names in (_rules, FREE, REDUCTIONS, PER_OUTPUT))


def operator_work(
    operator: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any
) -> tuple[str, Work]:
    """The category and the cost of one call.

    Raises:
        CountError: no rule knows the operator.
    """
    if operator in _rules:
        category, rule = _rules[operator]
        return category, rule(args, kwargs, out)
    if operator in FREE:
        return "free", Work()
    if operator in REDUCTIONS:
        return "elementwise", Work(elementwise_ops=_first_tensor(args).numel())
    if operator in PER_OUTPUT or _is_pointwise(operator):
        return "elementwise", Work(elementwise_ops=_first_tensor(out).numel())
    raise CountError(
        f"no counter knows the operator {operator}; add one with "
        f'@paca_bench.complexity.operators.register_counter("{operator}", category=...)'
    )


def _first_tensor(value: Any) -> Tensor:
    while isinstance(value, tuple | list):
        value = value[0]
    if not isinstance(value, Tensor):
        raise CountError(f"expected a tensor to count by, found {type(value).__name__}")
    return value


def _is_pointwise(operator: str) -> bool:
    """By torch's own tag; the in-place ``add_`` is what ``add`` is."""
    namespace, _, name = operator.partition(".")
    packet = getattr(getattr(torch.ops, namespace), name.rstrip("_"), None)
    return packet is not None and any(
        torch.Tag.pointwise in getattr(packet, overload).tags for overload in packet.overloads()
    )


@register_counter("aten.linear", category="linear")
def _linear(args: Sequence[Any], kwargs: Mapping[str, Any], out: Tensor) -> Work:
    return Work(macs=out.numel() * args[1].shape[-1])


@register_counter("aten.mm", "aten.mv", "aten.dot", category="linear")
def _matrix_product(args: Sequence[Any], kwargs: Mapping[str, Any], out: Tensor) -> Work:
    return Work(macs=out.numel() * args[0].shape[-1])


@register_counter("aten.addmm", "aten.addmv", "aten._addmm_activation", category="linear")
def _matrix_product_and_bias(args: Sequence[Any], kwargs: Mapping[str, Any], out: Tensor) -> Work:
    return Work(macs=out.numel() * args[1].shape[-1])


@register_counter("aten.bmm", category="matmul")
def _batched_product(args: Sequence[Any], kwargs: Mapping[str, Any], out: Tensor) -> Work:
    return Work(macs=out.numel() * args[0].shape[-1])


@register_counter("aten.baddbmm", "aten.baddbmm_", category="matmul")
def _batched_product_and_bias(args: Sequence[Any], kwargs: Mapping[str, Any], out: Tensor) -> Work:
    return Work(macs=out.numel() * args[1].shape[-1])


@register_counter("aten.addbmm", "aten.addbmm_", category="matmul")
def _summed_batched_product(args: Sequence[Any], kwargs: Mapping[str, Any], out: Tensor) -> Work:
    batch, _, inner = args[1].shape
    return Work(macs=out.numel() * batch * inner)


@register_counter("aten.convolution", "aten._convolution", category="convolution")
def _convolution(args: Sequence[Any], kwargs: Mapping[str, Any], out: Tensor) -> Work:
    source, weight, transposed = args[0], args[1], args[6]
    # A weight is [out, in/groups, kernel...]; of a transposed convolution
    # [in, out/groups, kernel...], which each element of the *input* is spread with.
    elements = source.numel() if transposed else out.numel()
    return Work(macs=elements * math.prod(weight.shape[1:]))


@register_counter("aten.convolution_backward", category="convolution")
def _convolution_backward(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> Work:
    gradient, source, weight, transposed, wanted = *args[:3], args[7], args[10]
    elements = source.numel() if transposed else gradient.numel()
    # The gradients of input and weight are each as much work as the convolution itself.
    return Work(macs=elements * math.prod(weight.shape[1:]) * (wanted[0] + wanted[1]))


def attention_work(query: Tensor, key: Tensor, value: Tensor, *, masked: bool) -> Work:
    """The products ``q kᵀ`` and ``p v`` of ``[..., h, N, d]`` queries, keys and values."""
    scores = math.prod(query.shape[:-1]) * key.shape[-2]
    return Work(
        macs=scores * (query.shape[-1] + value.shape[-1]),
        elementwise_ops=scores * (2 if masked else 1),
    )


@register_counter(
    "aten.scaled_dot_product_attention",
    "aten._scaled_dot_product_attention_math",
    "aten._scaled_dot_product_efficient_attention",
    "aten._scaled_dot_product_cudnn_attention",
    "aten._scaled_dot_product_fused_attention_overrideable",
    category="attention_product",
)
def _attention(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> Work:
    mask = args[3] if len(args) > 3 else kwargs.get("attn_mask", kwargs.get("attn_bias"))
    return attention_work(*args[:3], masked=mask is not None)


@register_counter(
    "aten._scaled_dot_product_flash_attention",
    "aten._scaled_dot_product_flash_attention_for_cpu",
    category="attention_product",
)
def _flash_attention(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> Work:
    return attention_work(*args[:3], masked=kwargs.get("attn_mask") is not None)


@register_counter(
    "aten._flash_attention_forward",
    "aten._efficient_attention_forward",
    category="attention_product",
)
def _heads_last_attention(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> Work:
    """The kernels behind the above, whose tensors are ``[B, N, h, d]``."""
    # Both take (query, key, value, ...); a packed batch of ragged lengths gives its offsets
    # as tensors, and those are not read here.
    if any(isinstance(a, Tensor) and not a.is_floating_point() for a in args[3:]):
        raise CountError(
            "attention over a packed batch of ragged lengths cannot be counted from its shapes; "
            "pass one image at a time"
        )
    query, key, value = (t.transpose(1, 2) for t in args[:3])
    return attention_work(query, key, value, masked=False)


@register_counter(
    "aten._scaled_dot_product_flash_attention_backward",
    "aten._scaled_dot_product_flash_attention_for_cpu_backward",
    "aten._scaled_dot_product_efficient_attention_backward",
    "aten._scaled_dot_product_cudnn_attention_backward",
    "aten._scaled_dot_product_fused_attention_overrideable_backward",
    category="attention_product",
)
def _attention_backward(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> Work:
    """The four products of the gradients.

    A fused kernel computes the scores a second time instead of keeping them. That is the
    kernel's choice, not the mechanism's work, and is not counted; so all paths agree.
    """
    forward = attention_work(*args[1:4], masked=False)
    return Work(macs=2 * forward.macs, elementwise_ops=forward.elementwise_ops)


def _names(text: str) -> frozenset[str]:
    return frozenset(f"aten.{name}" for name in text.split())


# One operation for each element of the (first) output, beside what torch tags as pointwise.
PER_OUTPUT = _names(
    """
    _softmax _safe_softmax _log_softmax _softmax_backward_data _log_softmax_backward_data
    native_layer_norm native_layer_norm_backward native_group_norm native_group_norm_backward
    native_batch_norm native_batch_norm_backward _native_batch_norm_legit
    _native_batch_norm_legit_no_training _batch_norm_with_update _batch_norm_no_update
    batch_norm_backward cudnn_batch_norm cudnn_batch_norm_backward
    _fused_rms_norm _fused_rms_norm_backward
    native_dropout bernoulli bernoulli_ rand_like randn_like uniform_ normal_ cumsum
    upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_bilinear2d
    upsample_bicubic2d _upsample_bilinear2d_aa _upsample_bicubic2d_aa grid_sampler_2d
    upsample_nearest2d_backward upsample_bilinear2d_backward upsample_bicubic2d_backward
    _adaptive_avg_pool2d_backward avg_pool2d_backward max_pool2d_with_indices_backward
    """
)

# One operation for each element of the input.
REDUCTIONS = _names(
    """
    sum mean amax amin max min prod any all argmax argmin std var var_mean logsumexp norm
    linalg_vector_norm topk sort
    _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_max_pool2d avg_pool2d
    avg_pool3d max_pool2d_with_indices max_pool3d_with_indices
    """
)

FREE = _names(
    """
    alias as_strided detach expand permute select slice split split_with_sizes squeeze t
    transpose unbind unfold unsqueeze view view_as_complex view_as_real _reshape_alias as_strided_
    _unsafe_view reshape diagonal narrow lift_fresh

    clone copy copy_ _to_copy contiguous cat stack repeat repeat_interleave roll flip
    constant_pad_nd reflection_pad2d replication_pad2d pixel_shuffle pixel_unshuffle
    channel_shuffle im2col tril triu

    index index_select gather scatter scatter_ scatter_add embedding masked_select nonzero
    index_put index_put_ _unsafe_index _unsafe_index_put index_add slice_scatter
    select_scatter slice_backward select_backward unfold_backward embedding_dense_backward

    arange empty empty_like empty_strided eye full full_like linspace new_empty
    new_empty_strided new_full new_ones new_zeros ones ones_like scalar_tensor zeros
    zeros_like zero_ fill_ fill randn rand _local_scalar_dense resize_
    """
)
