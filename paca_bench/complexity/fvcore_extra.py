"""What fvcore's own rules add to multiply-accumulates, for tables that were printed with it.

fvcore gives norms, pooling and interpolation rough "flops" and adds them to the total. They
are counted here from shapes alone, on the meta device: nothing is computed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from paca_bench.complexity.meta import OnMeta
from paca_bench.complexity.operators import operator_name

# fvcore.nn.jit_handles, for norms with weight and bias in eval mode: flops per element.
WEIGHTS = {"layer_norm": 5, "batch_norm": 2, "bilinear": 4, "pooling": 1}

# Operator -> the kind above; of interpolation the output counts, of all others the input.
_KINDS = {
    "aten.layer_norm": "layer_norm",
    "aten.batch_norm": "batch_norm",
    "aten.upsample_bilinear2d": "bilinear",
    "aten.adaptive_avg_pool2d": "pooling",
}


def fvcore_elements(build: Callable[[], nn.Module], input_shape: Sequence[int]) -> dict[str, int]:
    """Kind of ``WEIGHTS`` -> elements, in one call of ``build()`` in eval mode.

    Args:
        build: makes the module; called with the meta device as default.
        input_shape: of the one input, batch included.
    """
    with torch.device("meta"):
        module = build().eval()
        x = torch.empty(tuple(input_shape))
        # Inference mode hands over composite operators whole, as fvcore sees them.
        with torch.inference_mode(), _Elements() as counting:
            module(x)
    return dict(counting.by_kind)


def extra_flops(elements: Mapping[str, int]) -> int:
    """What fvcore adds for these elements."""
    return sum(WEIGHTS[kind] * count for kind, count in elements.items())


class _Elements(OnMeta):
    def __init__(self) -> None:
        super().__init__()
        self.by_kind: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = super().__torch_dispatch__(func, types, args, kwargs)
        kind = _KINDS.get(operator_name(func))
        if kind is not None:
            counted: Tensor = out if kind == "bilinear" else args[0]
            self.by_kind[kind] += counted.numel()
        return out
