"""Which attention kernel a call really runs."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

# Part of the operator's name -> what people call the kernel, the specific ones first.
_KERNELS = (
    ("_scaled_dot_product_flash_attention_for_cpu", "flash (CPU)"),
    ("_scaled_dot_product_flash_attention", "flash"),
    ("_scaled_dot_product_efficient_attention", "memory-efficient"),
    ("_scaled_dot_product_cudnn_attention", "cuDNN"),
    ("_scaled_dot_product_fused_attention_overrideable", "device's own"),
    ("_softmax", "explicit softmax"),
)


class _Names(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: set[str] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.seen.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def kernel_path(module: torch.nn.Module, x: torch.Tensor) -> str:
    """The attention kernels of one forward pass, as a readable list.

    PaCa's clustering is a softmax of its own, and is named beside the kernel of its
    attention. ``none`` if there is neither a fused attention nor a softmax.
    """
    # Under inference_mode a dispatch mode sees composite operators, not the kernels below.
    with torch.no_grad(), _Names() as names:
        module(x)
    found = [title for name, title in _KERNELS if name in names.seen]
    return " + ".join(found) or "none"
