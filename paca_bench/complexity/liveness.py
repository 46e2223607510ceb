"""The most bytes of storages that are alive at once, while a call runs on shapes alone."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from paca_bench.complexity.shapes import Operators, Result, ShapeTensor, restride, shape_tensor

_operators = Operators()


class Liveness(TorchDispatchMode):
    """While active, runs operators on shapes and keeps the sum of live bytes and its maximum.

    A storage counts from the operator that made it until the last tensor on it is gone.

    Attributes:
        now: bytes of the storages that are alive.
        peak: the largest sum so far, with what an operator held for itself at that time.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = 0
        self.peak = 0
        _operators.start()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: torch would wrap each dispatch for ``torch.compile``, which doubles its cost."""
        return False

    def given(
        self, tensor: Tensor, dtype: torch.dtype | None = None, *, requires_grad: bool = False
    ) -> ShapeTensor:
        """A shape of ``tensor``'s layout, in ``dtype`` if given, that costs nothing."""
        layout = _operators.layout(tensor, dtype)
        return shape_tensor(layout, _Storage(self, 0), requires_grad=requires_grad)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        tensors: list[ShapeTensor] = []
        key: tuple[Any, ...] = (func, *[self._key(arg, tensors) for arg in args])
        if kwargs:
            key += (*kwargs, *[self._key(value, tensors) for value in kwargs.values()])
        answer = _operators.answer(func, key, args, kwargs or {}, tensors)
        results = [self._make(result, tensors) for result in answer.results]
        self.peak = max(self.peak, self.now + answer.workspace_bytes)
        return results[0] if answer.collect is None else answer.collect(results)

    def _make(self, result: Result, tensors: Sequence[ShapeTensor]) -> Any:
        layout, source, value = result
        if layout is not None:
            storage = _Storage(self, value) if source is None else tensors[source].held
            return shape_tensor(layout, storage)
        if source is None:
            return value
        if value is not None:
            restride(tensors[source], value)
        return tensors[source]

    def _key(self, value: Any, tensors: list[ShapeTensor]) -> Any:
        """What stands for an argument in a key; its tensors are appended to ``tensors``."""
        kind = type(value)
        if kind is ShapeTensor:
            tensors.append(value)
            return value.strided
        if kind is int or value is None:
            return value
        if kind is list or kind is tuple:
            return tuple([self._key(part, tensors) for part in value])
        if isinstance(value, Tensor):
            # A constant, or a tensor that is no parameter of the module's.
            tensors.append(self.given(value))
            return tensors[-1].strided
        # Beside its type, for 1, 1.0 and True are equal, and their results are not.
        return (kind, value)


class _Storage:
    """Counts as alive as long as there is a reference to it."""

    __slots__ = ("_bytes", "_ledger")

    def __init__(self, ledger: Liveness, size: int) -> None:
        self._ledger = ledger
        self._bytes = size
        ledger.now += size

    def __del__(self) -> None:
        self._ledger.now -= self._bytes


@contextmanager
def weights_as_shapes(
    module: nn.Module, live: Liveness, dtype: torch.dtype
) -> Iterator[Collection[ShapeTensor]]:
    """Within, the module's parameters and buffers are shapes, which are given.

    Those of floating-point numbers are in ``dtype``. One that is used in several places stays
    one.
    """
    shapes: dict[int, ShapeTensor] = {}
    before: list[tuple[dict[str, Any], dict[str, Any]]] = []
    for part in module.modules():
        for tensors in (part._parameters, part._buffers):
            before.append((tensors, dict(tensors)))
            for name, tensor in tensors.items():
                if tensor is None:
                    continue
                if id(tensor) not in shapes:
                    kind = dtype if tensor.is_floating_point() else None
                    shapes[id(tensor)] = live.given(
                        tensor, kind, requires_grad=tensor.requires_grad
                    )
                tensors[name] = shapes[id(tensor)]  # type: ignore[assignment]
    try:
        yield shapes.values()
    finally:
        for tensors, originals in before:
            tensors.update(originals)
