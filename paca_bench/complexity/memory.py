"""Predict the peak memory of one call from the lives of its tensors, computing nothing.

The module runs on fake tensors: shapes with a device, for which torch takes the same
decisions (layouts, copies, attention kernel) as for real ones. Every storage is counted from
the operator that made it until nothing refers to it any more, and the largest sum is the
peak; what kernels allocate for themselves is added by ``workspace``.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from paca_bench.complexity.workspace import size_bytes, workspace_bytes
from paca_bench.errors import SpecError
from paca_bench.models.subject import build_subject, input_shape
from paca_bench.record import Case


@dataclass(frozen=True, slots=True)
class MemoryPrediction:
    """Predicted memory of one call.

    Attributes:
        peak_bytes: most bytes of live tensors at once, over the weights, buffers and input.
        weights_bytes: parameters and buffers.
        input_bytes: the input.
    """

    peak_bytes: int
    weights_bytes: int
    input_bytes: int


def predict_peak_memory(
    build: Callable[[], nn.Module],
    input_shape: Sequence[int],
    *,
    mode: str,
    dtype: torch.dtype,
    kernel: Literal["fused", "math"] = "fused",
    input_gradient: bool = False,
) -> MemoryPrediction:
    """Predict the peak of ``build()(x)`` on the CPU.

    Args:
        build: makes the module; called with the meta device as default, so nothing is
            allocated.
        input_shape: of the input ``x``, batch included.
        mode: ``forward`` (inference) or ``train``: forward and backward of the output's sum,
            the gradients of the weights counted as over the base.
        dtype: of weights and input.
        kernel: ``fused`` is what torch picks, which is a fused attention wherever it has one
            (it has none for the gradient of a mask); ``math`` stores all scores.
        input_gradient: in ``train``, ``x`` wants a gradient, as inside a network.

    Raises:
        SpecError: ``mode`` is another one.
    """
    if mode not in ("forward", "train"):
        raise SpecError(f"memory is predicted for the modes forward and train, not {mode!r}")
    with torch.device("meta"):
        module = build().train(mode == "train")
    with FakeTensorMode(), _attention_kernel(kernel):
        weights = {name: _stand_in(t, dtype) for name, t in _named_tensors(module)}
        x = torch.empty(tuple(input_shape), dtype=dtype)
        live = _LiveBytes([*weights.values(), x])
        if mode == "forward":
            with torch.no_grad(), live:
                functional_call(module, weights, (x,))
        else:
            x.requires_grad_(input_gradient)
            with live:
                out = functional_call(module, weights, (x,))
                out.float().sum().backward()
    return MemoryPrediction(
        peak_bytes=live.peak,
        weights_bytes=sum(size_bytes(t) for t in weights.values()),
        input_bytes=size_bytes(x),
    )


def predict_case_memory(case: Case) -> MemoryPrediction:
    """Predict the peak of a case's forward pass or training step, as the sweep measures it.

    Raises:
        SpecError, UnsupportedError: the case cannot be built, or is a whole training.
    """
    return predict_peak_memory(
        lambda: build_subject(case),
        input_shape(case),
        mode=case.mode,
        dtype=getattr(torch, case.dtype),
        input_gradient=case.level == "layer",
    )


class _LiveBytes(TorchDispatchMode):
    """Keeps the sum of bytes of all storages made while it is active, and its maximum."""

    def __init__(self, base: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = 0
        self.peak = 0
        # Storage -> its bytes; the base is known, and costs nothing.
        self._sizes = {t.untyped_storage()._cdata: 0 for t in base}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        for result in tree_leaves(out):
            if isinstance(result, Tensor):
                self._add(result.untyped_storage())
        workspace = workspace_bytes(str(func.overloadpacket), args)
        self.peak = max(self.peak, self.now + workspace)
        return out

    def _add(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self._sizes:
            self._sizes[key] = storage.nbytes()
            self.now += storage.nbytes()
            weakref.finalize(storage, self._remove, key)

    def _remove(self, key: int) -> None:
        self.now -= self._sizes.pop(key)


def _attention_kernel(kernel: str) -> AbstractContextManager[None]:
    return sdpa_kernel(SDPBackend.MATH) if kernel == "math" else contextlib.nullcontext()


def _named_tensors(module: nn.Module) -> list[tuple[str, Tensor]]:
    return [*module.named_parameters(), *module.named_buffers()]


def _stand_in(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """A fake of the same layout on the CPU, in ``dtype`` if it has a floating-point one."""
    kind = dtype if tensor.is_floating_point() else tensor.dtype
    fake = torch.empty_strided(tensor.size(), tensor.stride(), dtype=kind)
    return fake.requires_grad_(tensor.requires_grad)
