"""GELU in place where no gradient needs its input."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def gelu(x: Tensor) -> Tensor:
    """GELU of a tensor that nobody reads afterwards; without gradients it is overwritten.

    A result of tens of megabytes that is allocated anew costs more than its arithmetic: the
    system's allocator gives such memory back, and every page is faulted in again.
    """
    return functional.gelu(x) if x.requires_grad else torch.ops.aten.gelu_(x)


class Gelu(nn.Module):
    """``gelu`` as a module, behind one that makes a new tensor."""

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        return gelu(x)
