"""Count the work of a module from the operators that torch dispatches.

The count runs on the meta device, where a tensor is a shape and nothing is computed, or on
real tensors; it is the same on every device and for every attention kernel. It is the second
of three independent counts, beside the closed form and ``fvcore_handles``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode

from paca_bench.complexity.operators import is_known, operator_work


@dataclass(frozen=True)
class Counts:
    """The work of one call.

    Attributes:
        macs: multiply-accumulates of matrix-like work, forward.
        elementwise_ops: all other arithmetic, by the convention of ``operators``, forward.
        by_operator: operator (``aten.addmm``) -> multiply-accumulates; those without are absent.
        by_module: qualified name of the innermost module that ran it -> multiply-accumulates.
        by_category: ``linear``, ``convolution``, ``matmul``, ``attention_product`` or a
            category that a user registered -> multiply-accumulates.
        backward_macs: multiply-accumulates of the backward pass; None if not asked for.
    """

    macs: int
    elementwise_ops: int
    by_operator: dict[str, int] = field(default_factory=dict)
    by_module: dict[str, int] = field(default_factory=dict)
    by_category: dict[str, int] = field(default_factory=dict)
    backward_macs: int | None = None

    @property
    def flops(self) -> int:
        """Two per multiply-accumulate, by definition."""
        return 2 * self.macs


def count(module: nn.Module, input_shape: Sequence[int], *, backward: bool = False) -> Counts:
    """Count one call ``module(x)``, ``x`` of ``input_shape``, without computing it.

    Args:
        module: on any device; its tensors are replaced by their shapes for the count.
        input_shape: of the one input, batch included.
        backward: also count the backward pass of ``module(x).sum()``, with the gradients of
            all parameters that want one and of the input.

    Raises:
        CountError: an operator has no counter.
    """
    stand_ins = {name: _stand_in(t) for name, t in _named_tensors(module)}
    dtype = next((t.dtype for t in stand_ins.values() if t.is_floating_point()), torch.float32)
    with torch.device("meta"):
        x = torch.empty(tuple(input_shape), dtype=dtype)

        def call(x: Tensor) -> Any:
            return functional_call(module, stand_ins, (x,))

        with _module_names(module) as names:
            forward = _count_forward(call, (x,), names)
        if not backward:
            return forward
        out = call(x.requires_grad_())
        with _Counting([]) as counting:
            out.sum().backward()
    return Counts(**{**vars(forward), "backward_macs": sum(counting.by_operator.values())})


def count_call(function: Callable[..., Any], *args: Any) -> Counts:
    """Count ``function(*args)`` as it runs, on whatever device its tensors are.

    Raises:
        CountError: an operator has no counter.
    """
    return _count_forward(function, args, [])


def _count_forward(function: Callable[..., Any], args: tuple[Any, ...], names: list[str]) -> Counts:
    # Inference mode hands over composite operators whole, scaled_dot_product_attention among
    # them, before torch picks a kernel: that makes the count the same for all kernels.
    with torch.inference_mode(), _Counting(names) as counting:
        function(*args)
    return Counts(
        macs=sum(counting.by_operator.values()),
        elementwise_ops=counting.elementwise_ops,
        by_operator=dict(counting.by_operator),
        by_module=dict(counting.by_module),
        by_category=dict(counting.by_category),
    )


class _Counting(TorchDispatchMode):
    """Adds up the work of every operator; ``names`` ends with the module that is running."""

    def __init__(self, names: list[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names = names
        self.elementwise_ops = 0
        self.by_operator: Counter[str] = Counter()
        self.by_module: Counter[str] = Counter()
        self.by_category: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        operator = str(func.overloadpacket)
        if not is_known(operator):
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        out = func(*args, **kwargs)
        category, work = operator_work(operator, args, kwargs, out)
        self.elementwise_ops += work.elementwise_ops
        if work.macs:
            self.by_operator[operator] += work.macs
            self.by_category[category] += work.macs
            self.by_module[self.names[-1] if self.names else ""] += work.macs
        return out


def _named_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()


def _stand_in(tensor: Tensor) -> Tensor:
    return tensor.detach().to("meta").requires_grad_(tensor.requires_grad)


@contextmanager
def _module_names(module: nn.Module) -> Iterator[list[str]]:
    """A stack of the qualified names of the modules that are running, outermost first."""
    stack: list[str] = []

    def enter(name: str) -> Callable[..., None]:
        return lambda *_: stack.append(name)

    def leave(*_: Any) -> None:
        stack.pop()

    handles = []
    for name, child in module.named_modules():
        handles.append(child.register_forward_pre_hook(enter(name)))
        handles.append(child.register_forward_hook(leave, always_call=True))
    try:
        yield stack
    finally:
        for handle in handles:
            handle.remove()
