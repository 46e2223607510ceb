"""Count with fvcore: the third count, whose rules are another project's.

fvcore reads a trace of the module by torch.jit. It has no rule for
``scaled_dot_product_attention``, rounds ``einsum`` to three digits, and adds rough "flops" of
norms, pooling and interpolation to its total; the handles here mend all three, so that its
total is multiply-accumulates and nothing else.

The trace is made on the meta device (``trace_on_meta``), where any size costs the same. That of
a backward pass holds attention as its products and a convolution's gradients as convolutions,
so that it rests on fvcore's own rules alone.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from paca_bench.complexity.meta import MetaCopy
from paca_bench.complexity.trace_on_meta import BackwardReplay, Traceable
from paca_bench.errors import CountError

# What a trace may hold beside matrix-like work and fvcore's own list of views.
NOT_MACS = frozenset(
    f"aten::{name}"
    for line in (
        "batch_norm group_norm layer_norm instance_norm rms_norm softmax log_softmax",
        "gelu gelu_ silu sigmoid tanh hardswish leaky_relu elu softplus",
        "exp log sqrt rsqrt pow neg abs",
        "add add_ sub rsub mul mul_ div div_ floor_divide remainder where minimum maximum",
        "eq ne lt gt le ge logical_not logical_and mean sum max min amax amin cumsum norm",
        "avg_pool1d avg_pool2d max_pool2d adaptive_avg_pool1d adaptive_avg_pool2d",
        "adaptive_max_pool2d upsample_nearest2d upsample_bilinear2d upsample_bicubic2d",
        "grid_sampler roll pad index_select embedding meshgrid repeat clone pixel_shuffle flip",
        "stack masked_fill masked_fill_ index_fill index_fill_ rand dropout feature_dropout",
        # What the backward pass is made of.
        "_softmax_backward_data _log_softmax_backward_data gelu_backward threshold_backward",
        "silu_backward sigmoid_backward tanh_backward hardswish_backward elu_backward",
        "native_dropout_backward upsample_nearest2d_backward upsample_bilinear2d_backward",
        "_adaptive_avg_pool2d_backward avg_pool2d_backward max_pool2d_with_indices_backward",
        "slice_backward select_backward index_add index_put constant_pad_nd copy_ _unsafe_view",
        "new_zeros new_empty_strided zeros zeros_like ones_like empty empty_like full_like",
    )
    for name in line.split()
)


def fvcore_macs(module: nn.Module, *inputs: Tensor) -> int:
    """Multiply-accumulates of ``module(*inputs)``, by fvcore.

    Nothing is computed: of the module's tensors and the inputs only the shapes matter.

    Raises:
        CountError: fvcore meets an operator that neither it nor this module knows.
    """
    copy = MetaCopy(module)
    total: int = copy.inside(lambda: _total(module, [t.to("meta") for t in inputs]))
    return total


def fvcore_backward_macs(module: nn.Module, *inputs: Tensor, input_gradient: bool = True) -> int:
    """Multiply-accumulates of the backward pass of ``module(*inputs)``, by fvcore.

    Args:
        module: whose parameters' gradients are computed, of those that want one.
        *inputs: only their shapes matter.
        input_gradient: the inputs' gradients are wanted as well.

    Raises:
        CountError: fvcore meets an operator that neither it nor this module knows.
    """
    copies = [t.detach().to("meta").requires_grad_(input_gradient) for t in inputs]
    return _total(BackwardReplay.of(MetaCopy(module), copies), [])


def _total(module: nn.Module, inputs: Sequence[Tensor]) -> int:
    with warnings.catch_warnings(), torch.no_grad(), Traceable():
        # torch announces that it will drop the scripting and tracing that fvcore lives on.
        warnings.simplefilter("ignore", DeprecationWarning)
        from fvcore.nn import FlopCountAnalysis

        analysis = FlopCountAnalysis(module, tuple(inputs))
        # Cleared first: where fvcore has a handle, it does not let it be ignored.
        analysis.clear_op_handles()
        analysis.set_op_handle(**dict.fromkeys(NOT_MACS), **_handles())
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        analysis.tracer_warnings("none")
        total = analysis.total()
        unknown = analysis.unsupported_ops()
    if unknown:
        raise CountError(
            f"fvcore has no rule for {', '.join(sorted(unknown))}; add one to _handles, or the "
            f"name to NOT_MACS, in paca_bench/complexity/fvcore_handles.py"
        )
    return int(total)


def _shape(value: Any) -> list[int]:
    """The shape of a value of the trace."""
    sizes: list[int] = value.type().sizes()
    return sizes


def _attention(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
    """``q kᵀ`` and ``p v``, of queries, keys and values ``[..., N, d]``."""
    query, key, value = (_shape(v) for v in inputs[:3])
    return math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def _einsum(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
    """The product of the sizes of all indices, of two operands.

    An index of one operand only that is summed over is summed beforehand, by additions.
    """
    equation = inputs[0].toIValue().replace(" ", "")
    operands, _, result = equation.partition("->")
    names = operands.split(",")
    if len(names) != 2 or "." in equation or not result:
        raise CountError(
            f"einsum {equation!r} is not counted: write it as a product of two tensors"
        )
    sizes: dict[str, int] = {}
    for indices, value in zip(names, inputs[1].node().inputs(), strict=True):
        sizes |= zip(indices, _shape(value), strict=True)
    return math.prod(n for i, n in sizes.items() if i in result or all(i in k for k in names))


def _handles() -> dict[str, Callable[[Sequence[Any], Sequence[Any]], Any]]:
    """fvcore's own handles of matrix-like work, and ours for what it lacks or rounds."""
    from fvcore.nn import jit_handles

    return {
        "aten::_convolution": jit_handles.conv_flop_jit,
        "aten::addmm": jit_handles.addmm_flop_jit,
        "aten::bmm": jit_handles.bmm_flop_jit,
        "aten::linear": jit_handles.linear_flop_jit,
        "aten::matmul": jit_handles.matmul_flop_jit,
        "aten::mm": jit_handles.matmul_flop_jit,
        "aten::scaled_dot_product_attention": _attention,
        "aten::einsum": _einsum,
    }
