"""What each operator costs: the registry of rules, and the rules of all but matrix-like work.

Matrix-like work (``products``, ``attention_work``) is counted in multiply-accumulates and in
the bytes that it must move, everything else in elementwise operations, by one convention:

- a pointwise operator, a softmax, a normalisation, a dropout or an interpolation is one
  operation for each element of its output, however many instructions it takes;
- a reduction, a pooling or the backward of a normalisation is one operation for each element
  of its input;
- views, copies, gathers and the making of tensors cost nothing (``FREE``);
- only matrix-like work moves bytes: elementwise work is taken as fused into its neighbours,
  so that time computed from the bytes is a lower bound.

An operator without a rule is an error, never a silent zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from paca_bench.errors import CountError


@dataclass(frozen=True, slots=True)
class Work:
    """What one call of an operator costs.

    Attributes:
        macs: multiply-accumulates.
        elementwise_ops: all other arithmetic.
        moved_bytes: operands read once and results written once, in bytes. None, from a rule,
            stands for all of its tensors of two dimensions or more where there are
            multiply-accumulates, else for nothing.
    """

    macs: int = 0
    elementwise_ops: int = 0
    moved_bytes: int | None = None


# Positional arguments, keyword arguments and result of the call -> its cost.
Rule = Callable[[Sequence[Any], Mapping[str, Any], Any], Work]

_rules: dict[str, tuple[str, Rule]] = {}


def register_counter(*operators: str, category: str) -> Callable[[Rule], Rule]:
    """Decorator: the cost of operators, named ``namespace.name`` (``aten.mm``, ``mylib.scan``).

    The decorated function takes the call's positional arguments, its keyword arguments and its
    result, and returns a ``Work``. ``category`` groups multiply-accumulates in the report. An
    operator that is differentiated needs a rule for its backward operator as well.

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


@cache
def operator_name(func: Any) -> str:
    """``namespace.name`` of an overload."""
    return str(func.overloadpacket)


def is_known(operator: str) -> bool:
    """True if ``operator`` is counted as a whole, instead of through its parts."""
    return operator in _rules or operator in _BY_CONVENTION


def operator_work(
    operator: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any
) -> tuple[str, Work]:
    """The category and the cost of one call; its ``moved_bytes`` are a number.

    Raises:
        CountError: no rule knows the operator.
    """
    if operator in _rules:
        category, rule = _rules[operator]
        work = rule(args, kwargs, out)
        if work.moved_bytes is None:
            moved = tensor_bytes(_matrices((args, kwargs, out))) if work.macs else 0
            work = replace(work, moved_bytes=moved)
        return category, work
    if operator in FREE:
        return "free", NOTHING
    if operator in PER_INPUT:
        counted = args
    elif operator in PER_OUTPUT or _is_pointwise(operator):
        counted = out
    else:
        raise CountError(
            f"no counter knows the operator {operator}; add one with "
            f'@paca_bench.complexity.operators.register_counter("{operator}", category=...)'
        )
    return "elementwise", Work(elementwise_ops=_first_tensor(counted).numel(), moved_bytes=0)


NOTHING = Work(moved_bytes=0)


def tensor_bytes(tensors: Iterable[Tensor | None]) -> int:
    """Bytes of the elements of all, each once; of an expanded tensor those it repeats."""
    return sum(_distinct(t) * t.element_size() for t in tensors if t is not None)


def _distinct(tensor: Tensor) -> int:
    stride = tensor.stride()
    if 0 not in stride:
        return tensor.numel()
    return math.prod(n for n, step in zip(tensor.shape, stride, strict=True) if step)


def _matrices(values: Any) -> list[Tensor]:
    return [t for t in tree_leaves(values) if isinstance(t, Tensor) and t.dim() >= 2]


def _first_tensor(value: Any) -> Tensor:
    while isinstance(value, tuple | list):
        value = value[0]
    if not isinstance(value, Tensor):
        raise CountError(f"expected a tensor to count by, found {type(value).__name__}")
    return value


@cache
def _is_pointwise(operator: str) -> bool:
    """By torch's own tag; ``add_`` is what ``add`` is, and ``elu_backward`` what ``elu`` is."""
    namespace, _, name = operator.partition(".")
    base = name.rstrip("_").removesuffix("_backward")
    packet = getattr(getattr(torch.ops, namespace), base, None)
    return packet is not None and any(
        torch.Tag.pointwise in getattr(packet, overload).tags for overload in packet.overloads()
    )


def _names(text: str) -> frozenset[str]:
    return frozenset(f"aten.{name}" for name in text.split())


# One operation for each element of the (first) output, beside what torch tags as pointwise.
PER_OUTPUT = _names(
    """
    softmax log_softmax _softmax _safe_softmax _log_softmax
    _softmax_backward_data _log_softmax_backward_data
    layer_norm group_norm batch_norm rms_norm
    native_layer_norm native_group_norm native_batch_norm _native_batch_norm_legit
    _native_batch_norm_legit_no_training _batch_norm_with_update _batch_norm_no_update
    cudnn_batch_norm _fused_rms_norm
    native_dropout bernoulli bernoulli_ rand_like randn_like uniform_ normal_ cumsum
    upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_bilinear2d
    upsample_bicubic2d _upsample_bilinear2d_aa _upsample_bicubic2d_aa grid_sampler_2d
    upsample_nearest1d_backward upsample_nearest2d_backward upsample_nearest3d_backward
    upsample_bilinear2d_backward upsample_bicubic2d_backward
    _upsample_bilinear2d_aa_backward _upsample_bicubic2d_aa_backward grid_sampler_2d_backward
    _adaptive_avg_pool2d_backward _adaptive_avg_pool3d_backward adaptive_max_pool2d_backward
    avg_pool2d_backward avg_pool3d_backward
    max_pool2d_with_indices_backward max_pool3d_with_indices_backward
    value_selecting_reduction_backward reflection_pad2d_backward replication_pad2d_backward col2im
    """
)

# One operation for each element of the first argument. The gradients of a norm are here, since
# only some of them may be wanted.
PER_INPUT = _names(
    """
    sum mean amax amin max min prod any all argmax argmin std var var_mean logsumexp norm
    linalg_vector_norm topk sort
    _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_max_pool2d avg_pool2d
    avg_pool3d max_pool2d_with_indices max_pool3d_with_indices
    native_layer_norm_backward native_group_norm_backward native_batch_norm_backward
    batch_norm_backward cudnn_batch_norm_backward _fused_rms_norm_backward
    """
)

FREE = _names(
    """
    alias as_strided detach expand permute select slice split split_with_sizes squeeze t
    transpose unbind unfold unsqueeze view view_as_complex view_as_real _reshape_alias as_strided_
    _unsafe_view reshape diagonal narrow lift_fresh flatten chunk

    clone copy copy_ _to_copy contiguous cat stack repeat repeat_interleave roll flip
    constant_pad_nd reflection_pad2d replication_pad2d pixel_shuffle pixel_unshuffle
    channel_shuffle im2col tril triu

    index index_select gather scatter scatter_ scatter_add embedding masked_select nonzero
    index_put index_put_ _unsafe_index _unsafe_index_put index_add slice_scatter
    index_fill index_fill_
    select_scatter slice_backward select_backward unfold_backward embedding_dense_backward

    arange empty empty_like empty_strided eye full full_like linspace new_empty
    new_empty_strided new_full new_ones new_zeros ones ones_like scalar_tensor zeros
    zeros_like zero_ fill_ fill randn rand _local_scalar_dense resize_
    """
)

_BY_CONVENTION = FREE | PER_INPUT | PER_OUTPUT
