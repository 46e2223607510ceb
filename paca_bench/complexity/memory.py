"""Predict the peak memory of one call from the lives of its tensors, computing nothing.

The module runs on shapes, for which torch takes the same decisions (layouts, copies,
attention kernel) as for real tensors. Every storage is counted from the operator that made it
until nothing refers to it any more, and the largest sum is the peak; what kernels allocate
for themselves is added by ``workspace``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from paca_bench.complexity.liveness import Liveness, weights_as_shapes
from paca_bench.complexity.workspace import size_bytes
from paca_bench.errors import SpecError
from paca_bench.models.checkpointing import checkpointed
from paca_bench.models.subject import build_subject, input_shape
from paca_bench.record import Case

Kernel = Literal["fused", "math"]


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
    kernel: Kernel = "fused",
    input_gradient: bool = False,
    checkpointing: bool = False,
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
        checkpointing: in ``train``, the blocks keep their inputs alone and run again in the
            backward pass; see ``models.checkpointing``.

    Raises:
        SpecError: ``mode`` is another one.
        UnsupportedError: the module's shapes depend on values, or it has no known blocks to
            checkpoint.
        RuntimeError: torch cannot address tensors of that size.
    """
    if mode not in ("forward", "train"):
        raise SpecError(f"memory is predicted for the modes forward and train, not {mode!r}")
    return predict_module_memory(
        build_on_meta(build),
        input_shape,
        mode=mode,
        dtype=dtype,
        kernel=kernel,
        input_gradient=input_gradient,
        checkpointing=checkpointing,
    )


# Mode of a case -> that of the call, and whether its blocks are checkpointed.
_CASE_MODES = {
    "forward": ("forward", False),
    "train": ("train", False),
    "checkpointed": ("train", True),
}


def predict_case_memory(case: Case) -> MemoryPrediction:
    """Predict the peak of a case's forward pass or training step, as the sweep measures it.

    Raises:
        SpecError, UnsupportedError: the case cannot be built, or is a whole training.
        RuntimeError: torch cannot address tensors of that size.
    """
    check_case_mode(case)
    return predict_built_case(case, build_on_meta(lambda: build_subject(case)))


def predict_built_case(case: Case, module: nn.Module) -> MemoryPrediction:
    """``predict_case_memory`` with the case's module built already."""
    check_case_mode(case)
    mode, checkpointing = _CASE_MODES[case.mode]
    return predict_module_memory(
        module,
        input_shape(case),
        mode=mode,
        dtype=getattr(torch, case.dtype),
        kernel="math" if case.kernel == "math" else "fused",
        input_gradient=case.level == "layer",
        checkpointing=checkpointing,
    )


def is_predicted(case: Case) -> bool:
    """True if memory is predicted for the way in which the case is executed.

    Not for compiled code, another memory format, autocast, or a kernel that torch would not
    pick by itself, but for the one that stores all scores.
    """
    usual = replace(case, kernel="auto", tf32="auto")
    return not usual.execution and case.kernel in ("auto", "math")


def check_case_mode(case: Case) -> None:
    """Raise ``SpecError`` unless memory is predicted for the case's mode."""
    if case.mode not in _CASE_MODES:
        known = ", ".join(_CASE_MODES)
        raise SpecError(f"memory is predicted for the modes {known}, not {case.mode!r}")


def build_on_meta(build: Callable[[], nn.Module]) -> nn.Module:
    """``build()``, with weights that are only shapes and are not initialised."""
    with torch.device("meta"), _NoInitialisation():
        return build()


def predict_module_memory(
    module: nn.Module,
    input_shape: Sequence[int],
    *,
    mode: str,
    dtype: torch.dtype,
    kernel: Kernel = "fused",
    input_gradient: bool = False,
    checkpointing: bool = False,
) -> MemoryPrediction:
    """``predict_peak_memory`` of a module that is there already; its weights are not touched."""
    training = mode == "train"
    module.train(training)
    live = Liveness()
    x = live.given(
        torch.empty(tuple(input_shape), device="meta"),
        dtype,
        requires_grad=training and input_gradient,
    )
    with (
        weights_as_shapes(module, live, dtype) as weights,
        checkpointed(module, checkpointing and training),
        _attention_kernel(kernel),
        torch.set_grad_enabled(training),
        live,
    ):
        out = module(x)
        if training:
            out.float().sum().backward()
    return MemoryPrediction(
        peak_bytes=live.peak,
        weights_bytes=sum(size_bytes(t) for t in weights),
        input_bytes=size_bytes(x),
    )


class _NoInitialisation(TorchFunctionMode):
    """Leaves out what only sets values: shapes have none."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init" or func in _SETS_VALUES:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


_SETS_VALUES = frozenset(
    {Tensor.uniform_, Tensor.normal_, Tensor.fill_, Tensor.zero_, Tensor.erfinv_, Tensor.clamp_}
)


def _attention_kernel(kernel: str) -> AbstractContextManager[None]:
    return sdpa_kernel(SDPBackend.MATH) if kernel == "math" else contextlib.nullcontext()
