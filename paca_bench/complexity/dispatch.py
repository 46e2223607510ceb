"""Count the work of a module, forward and backward, from the operators that torch dispatches.

The count runs on the meta device, where a tensor is a shape and nothing is computed, or on
real tensors; it is the same on every device and for every attention kernel. It is the second
of three independent counts, beside the closed form and ``fvcore_handles``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

# products: imported for the rules that it registers.
from paca_bench.complexity import products  # noqa: F401
from paca_bench.complexity.attention_work import WholeAttention
from paca_bench.complexity.meta import MetaCopy, run
from paca_bench.complexity.module_names import ModuleNames
from paca_bench.complexity.operators import is_known, operator_name, operator_work


@dataclass(frozen=True)
class Counts:
    """The work of one pass.

    Attributes:
        macs: multiply-accumulates of matrix-like work.
        elementwise_ops: all other arithmetic, by the convention of ``operators``.
        moved_bytes: operands and results of matrix-like work, each moved once, in bytes.
        by_operator: operator (``aten.addmm``) -> multiply-accumulates; those without are absent.
        by_module: qualified name of the innermost module that ran it -> multiply-accumulates.
        by_category: ``linear``, ``convolution``, ``matmul``, ``attention_product`` or a
            category that a user registered -> multiply-accumulates.
        bytes_by_operator: operator -> moved bytes.
        bytes_by_category: category -> moved bytes.
        backward: the work of the backward pass alone; None if not asked for.
    """

    macs: int
    elementwise_ops: int
    moved_bytes: int
    by_operator: dict[str, int] = field(default_factory=dict)
    by_module: dict[str, int] = field(default_factory=dict)
    by_category: dict[str, int] = field(default_factory=dict)
    bytes_by_operator: dict[str, int] = field(default_factory=dict)
    bytes_by_category: dict[str, int] = field(default_factory=dict)
    backward: Counts | None = None

    @property
    def flops(self) -> int:
        """Two per multiply-accumulate, by definition."""
        return 2 * self.macs

    @property
    def backward_macs(self) -> int | None:
        """Multiply-accumulates of the backward pass; None if not asked for."""
        return None if self.backward is None else self.backward.macs


def count(
    module: nn.Module,
    input_shape: Sequence[int],
    *,
    backward: bool = False,
    input_gradient: bool = True,
) -> Counts:
    """Count one call ``module(x)``, ``x`` of ``input_shape``, without computing it.

    Args:
        module: on any device; its tensors are replaced by their shapes for the count.
        input_shape: of the one input, batch included.
        backward: also count the backward pass from a gradient of all outputs to those of all
            parameters that want one and of ``x``.
        input_gradient: in the backward pass, ``x`` wants a gradient, as inside a network; False
            for images, whose gradient nobody asks for.

    Raises:
        CountError: an operator has no counter.
    """
    copy = MetaCopy(module)
    x = copy.new_input(input_shape)
    with ModuleNames(module) as names:
        forward = _Counting(names)
        with torch.inference_mode(), forward:
            copy(x)
        if not backward:
            return forward.counts()
        backwards = _Counting(names)
        with WholeAttention():
            copy.backward([x.requires_grad_(input_gradient)], backwards)
        return replace(forward.counts(), backward=backwards.counts())


def count_call(function: Callable[..., Any], *args: Any) -> Counts:
    """Count ``function(*args)`` as it runs, on whatever device its tensors are.

    Raises:
        CountError: an operator has no counter.
    """
    counting = _Counting()
    with torch.inference_mode(), counting:
        function(*args)
    return counting.counts()


class _Counting(TorchDispatchMode):
    """Adds up the work of every operator.

    Inference mode hands over composite operators whole, ``scaled_dot_product_attention`` among
    them, before torch picks a kernel: that makes the count of a forward pass the same for all
    kernels.
    """

    def __init__(self, names: ModuleNames | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._names = names
        self._elementwise_ops = 0
        self._by_operator: Counter[str] = Counter()
        self._by_module: Counter[str] = Counter()
        self._by_category: Counter[str] = Counter()
        self._bytes_by_operator: Counter[str] = Counter()
        self._bytes_by_category: Counter[str] = Counter()

    def counts(self) -> Counts:
        """The sums so far."""
        return Counts(
            macs=self._by_operator.total(),
            elementwise_ops=self._elementwise_ops,
            moved_bytes=self._bytes_by_operator.total(),
            by_operator=dict(self._by_operator),
            by_module=dict(self._by_module),
            by_category=dict(self._by_category),
            bytes_by_operator=dict(self._bytes_by_operator),
            bytes_by_category=dict(self._bytes_by_category),
        )

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        # Function modes would look at every access to a shape.
        with torch._C.DisableTorchFunction():
            return self._count(func, args, kwargs or {})

    def _count(self, func: Any, args: Any, kwargs: Mapping[str, Any]) -> Any:
        operator = operator_name(func)
        if not is_known(operator):
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        out = run(func, args, kwargs)
        category, work = operator_work(operator, args, kwargs, out)
        self._elementwise_ops += work.elementwise_ops
        if work.macs:
            self._by_operator[operator] += work.macs
            self._by_category[category] += work.macs
            self._by_module[self._names.innermost() if self._names else ""] += work.macs
        if work.moved_bytes:
            self._bytes_by_operator[operator] += work.moved_bytes
            self._bytes_by_category[category] += work.moved_bytes
        return out
