"""Which attention kernel a call really runs."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

# Part of the operator's name -> what people call the kernel.
_FUSED = {
    "_scaled_dot_product_flash_attention_for_cpu": "flash (CPU)",
    "_scaled_dot_product_flash_attention": "flash",
    "_scaled_dot_product_efficient_attention": "memory-efficient",
    "_scaled_dot_product_cudnn_attention": "cuDNN",
    "_scaled_dot_product_fused_attention_overrideable": "device's own",
}


class _Names(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: set[str] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.seen.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def kernel_path(module: torch.nn.Module, x: torch.Tensor, mode: str) -> str:
    """The attention kernel of one forward pass in ``mode``.

    The fused kernels that ran; ``math`` where none did but a softmax, whose scores are then
    stored; ``none`` without either. A softmax beside a fused kernel is the mechanism's own,
    such as PaCa's clustering. Training may take another kernel than inference: torch's
    fused ones on CPU have no gradient for a bias.
    """
    # Under inference_mode a dispatch mode sees composite operators, not the kernels below.
    with torch.set_grad_enabled(mode != "forward"), _Names() as names:
        module(x)
    fused = [title for name, title in _FUSED.items() if name in names.seen]
    if fused:
        return " + ".join(fused)
    return "math" if names.seen & {"_softmax", "_safe_softmax"} else "none"
