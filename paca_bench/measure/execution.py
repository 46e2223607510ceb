"""How a case is executed: attention kernel, memory format, compilation, TF32 and autocast.

See ``record.EXECUTION`` for the axes. What cannot be had on a device is not supported; nothing
falls back silently to another way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from paca_bench.record import Case

_BACKENDS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "math": SDPBackend.MATH,
}
_NO_KERNEL = (
    "the attention kernel that was asked for does not exist on this device, or does not take "
    "this call; take --kernel auto"
)
_NO_COMPILER = "torch.compile finds no C++ compiler; install g++ or clang, or set CXX"
_NO_HEADERS = (
    "torch.compile's C++ compiler failed, which is often for lack of Python's headers (Python.h)"
)
_NO_TRITON = "torch.compile needs Triton on CUDA; install triton"
# What torch says where something is missing -> what is.
_NOT_HAD = {
    "No viable backend for scaled_dot_product_attention": _NO_KERNEL,
    "No available kernel": _NO_KERNEL,
    "InvalidCxxCompiler": _NO_COMPILER,
    "No working C++ compiler found": _NO_COMPILER,
    "CppCompileError": _NO_HEADERS,
    "C++ compile error": _NO_HEADERS,
    "TritonMissing": _NO_TRITON,
    "Cannot find a working triton installation": _NO_TRITON,
}


class Recompiled(Exception):
    """A compiled call was compiled again while it was timed."""


class _Autocast(nn.Module):
    """A module whose forward pass, and no more, runs under autocast, as torch recommends."""

    def __init__(self, module: nn.Module, device: str, dtype: torch.dtype) -> None:
        super().__init__()
        self.module = module
        self._device_type = device.partition(":")[0]
        self._dtype = dtype

    def forward(self, x: Tensor) -> Any:
        """See the module."""
        with torch.autocast(self._device_type, self._dtype):
            return self.module(x)


def in_memory_format(case: Case, module: nn.Module, x: Tensor) -> tuple[nn.Module, Tensor]:
    """Weights and images in the case's memory format."""
    if case.memory_format == "contiguous":
        return module, x
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return module, x.contiguous(memory_format=torch.channels_last)


def autocasting(case: Case, module: nn.Module) -> nn.Module:
    """``module`` under the case's autocast, which is not compiled yet."""
    if case.autocast == "none":
        return module
    return _Autocast(module, case.device, getattr(torch, case.autocast))


def compiled(case: Case, module: nn.Module) -> nn.Module:
    """``module`` as ``torch.compile`` would run it, compiled at its first call.

    In one process: a pool of compilers would go on running beside what is timed.
    """
    if case.compile == "none":
        return module
    import torch._inductor.compile_fx
    import torch._inductor.config

    torch._inductor.config.compile_threads = 1
    torch._dynamo.reset()
    return torch.compile(module, mode=case.compile)  # type: ignore[return-value]


@contextmanager
def executing(case: Case) -> Iterator[None]:
    """Within, the attention kernel and TF32 are the case's; as they were afterwards."""
    with ExitStack() as stack:
        if case.kernel != "auto":
            stack.enter_context(sdpa_kernel(_BACKENDS[case.kernel]))
        if case.tf32 != "auto":
            stack.enter_context(_tf32(case.tf32 == "on"))
        yield


@contextmanager
def _tf32(allowed: bool) -> Iterator[None]:
    """TF32 of products and convolutions; both, because a layer has both."""
    backends: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [backend.allow_tf32 for backend in backends]
    for backend in backends:
        backend.allow_tf32 = allowed
    try:
        yield
    finally:
        for backend, value in zip(backends, before, strict=True):
            backend.allow_tf32 = value


def compiled_graphs() -> int:
    """How many graphs Dynamo has compiled in this process, those compiled again included."""
    from torch._dynamo.utils import counters

    return int(counters["stats"]["unique_graphs"])


@contextmanager
def no_recompilation(case: Case, graphs: Callable[[], int] = compiled_graphs) -> Iterator[None]:
    """Raise ``Recompiled`` at the end if anything was compiled within.

    Args:
        case: of which nothing is asked where it is not compiled.
        graphs: the number of graphs compiled so far.
    """
    if case.compile == "none":
        yield
        return
    before = graphs()
    yield
    again = graphs() - before
    if again:
        raise Recompiled(
            f"torch.compile compiled {again} graph{'s' if again > 1 else ''} again while the "
            f"call was timed; its shapes or branches change from call to call"
        )


def not_had(error: BaseException) -> str:
    """What this device or installation lacks, if ``error`` says that it does; empty if not."""
    seen: BaseException | None = error
    while seen is not None:
        text = f"{type(seen).__name__}: {seen}"
        for words, reason in _NOT_HAD.items():
            if words in text:
                return reason
        seen = seen.__cause__
    return ""
