"""Traces by torch.jit on the meta device, forward and backward.

torch.jit traces neither out of the box: a convolution escapes the tracer there, and what
autograd runs cannot be traced at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_map_only

from paca_bench.complexity.convolution_gradients import input_gradient, weight_gradient
from paca_bench.complexity.meta import MetaCopy, OnMeta

aten = torch.ops.aten

_TRACER = torch._C._dispatch_key_parse("Tracer")
# benchmark, deterministic, cudnn_enabled, allow_tf32: what _convolution takes over convolution.
_CONVOLUTION_FLAGS = (False, False, True, True)


class Traceable(OnMeta):
    """While active, torch.jit can trace on the meta device.

    The tracer leaves ``convolution`` to be recorded by the ``_convolution`` that a device's
    kernel calls. The meta kernel calls none, so it is called here.
    """

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is aten.convolution.default and torch._C._get_tracing_state() is not None:
            with self, _traced():
                return aten._convolution.default(*args, *_CONVOLUTION_FLAGS)
        if func is aten._convolution.default:
            func, args = aten.convolution.default, args[: -len(_CONVOLUTION_FLAGS)]
        return super().__torch_dispatch__(func, types, args, kwargs)


@contextmanager
def _traced() -> Iterator[None]:
    """Let the tracer see what a dispatch mode runs, which otherwise it does not."""
    torch._C._dispatch_tls_set_dispatch_key_excluded(_TRACER, False)
    try:
        yield
    finally:
        torch._C._dispatch_tls_set_dispatch_key_excluded(_TRACER, True)


# Operator, positional and keyword arguments.
Call = tuple[Any, Sequence[Any], Mapping[str, Any]]


class BackwardReplay(nn.Module):
    """The operators of a backward pass, run once more outside of autograd.

    Each runs on tensors of the shapes that it ran on, not on the results of the others: a
    trace has the operators and their shapes, and not how they are connected.
    """

    def __init__(self, calls: Sequence[Call]) -> None:
        super().__init__()
        self.calls = calls

    @classmethod
    def of(cls, module: MetaCopy, inputs: Sequence[Tensor]) -> BackwardReplay:
        """The backward pass of ``module(*inputs)``, to all tensors that want a gradient.

        Attention is the explicit one, whose backward is made of products and a softmax's.
        """
        recording = _Recording()
        with sdpa_kernel(SDPBackend.MATH):
            module.backward(inputs, recording)
        return cls(recording.calls)

    def forward(self) -> list[Any]:
        """All results: the tracer drops an operator whose result is not returned."""
        return [func(*args, **kwargs) for func, args, kwargs in self.calls]


class _Recording(OnMeta):
    """Keeps the operators that run, in a form that torch.jit can trace.

    It cannot trace those that take a mask of the gradients that are wanted. Among them only a
    convolution's gradients are matrix-like, and are recorded as convolutions.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is aten.convolution_backward.default:
            with self:
                _convolutions(*args)
        elif func not in _MASKED_ELEMENTWISE and not func.is_view:
            # As constants of a trace they must not want a gradient.
            constants = tree_map_only(Tensor, Tensor.detach, (args, kwargs or {}))
            self.calls.append((func, *constants))
        return super().__torch_dispatch__(func, types, args, kwargs)


_MASKED_ELEMENTWISE = (
    aten.native_layer_norm_backward.default,
    aten.native_group_norm_backward.default,
    aten.native_batch_norm_backward.default,
)


def _convolutions(
    gradient: Tensor,
    source: Tensor,
    weight: Tensor,
    _bias: Sequence[int] | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    _output_padding: Sequence[int],
    groups: int,
    wanted: Sequence[bool],
) -> None:
    for gradient_of, is_wanted in zip((input_gradient, weight_gradient), wanted, strict=False):
        if is_wanted:
            gradient_of(
                gradient,
                source,
                weight,
                stride=stride,
                padding=padding,
                dilation=dilation,
                transposed=transposed,
                groups=groups,
            )
