"""The least time that a device can take for a closed form: the roofline, operator by operator.

Williams, Waterman, Patterson, "Roofline: An Insightful Visual Performance Model", CACM 2009.
An operator takes no less than its multiply-accumulates at the device's best rate, nor less
than the bytes it must move at the best rate of a copy of that size. Elementwise work is
taken as fused into its neighbours, for free, so the sum is a lower bound for any
implementation that computes these products. No torch.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from paca_bench.complexity.cost import Totals

ITEM_BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True, slots=True)
class Ceilings:
    """How fast a device can be at best, as measured on it.

    Attributes:
        macs_per_s: dtype -> multiply-accumulates a second of a matrix product.
        bytes_per_s: (bytes touched, rate) of copies, by rising bytes: what fits into a cache
            moves faster.
    """

    macs_per_s: Mapping[str, float]
    bytes_per_s: tuple[tuple[int, float], ...]

    def to_json(self) -> dict[str, Any]:
        """JSON values; ``from_json`` is the inverse."""
        rates = [list(point) for point in self.bytes_per_s]
        return {"macs_per_s": dict(self.macs_per_s), "bytes_per_s": rates}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Ceilings:
        """The inverse of ``to_json``."""
        rates = tuple((int(size), float(rate)) for size, rate in data["bytes_per_s"])
        return cls(dict(data["macs_per_s"]), rates)

    def copy_rate(self, size: int) -> float:
        """Bytes a second for an operator that touches ``size`` bytes.

        The best rate among copies of that size and larger, from the nearest smaller one on:
        a larger bound on the rate, and so a smaller one on the time, is the safe side.
        """
        sizes = [point for point, _ in self.bytes_per_s]
        nearest = max(bisect_right(sizes, size) - 1, 0)
        return max(rate for _, rate in self.bytes_per_s[nearest:])


def lower_bound_s(
    cost: Totals, ceilings: Ceilings, *, batch: int, dtype: str, train: bool
) -> float | None:
    """Seconds that one call takes at least; None where the dtype's ceiling is not known.

    ``train`` is forward and backward: a gradient is as much work as the operator itself. Of
    a term whose moved elements are not known, the multiply-accumulates alone bound the time.
    """
    peak = ceilings.macs_per_s.get(dtype)
    if not peak:
        return None
    total = 0.0
    for op in cost.operators:
        passes = 1 + op.gradients if train else 1
        seconds = batch * op.macs / peak
        if op.activations is not None:
            moved = ITEM_BYTES[dtype] * (batch * op.activations + op.fixed)
            seconds = max(seconds, moved / ceilings.copy_rate(moved))
        total += op.count * passes * seconds
    return total


def static_metrics(
    cost: Totals, *, batch: int, dtype: str, mode: str, ceilings: Ceilings | None = None
) -> dict[str, float]:
    """What a closed form says of one case, by the names of a record's metrics.

    ``macs``, ``flops`` and ``backward_macs`` are of one image, ``params`` of the module,
    ``macs_exponent`` is the local exponent of ``macs`` in the number of tokens;
    ``moved_bytes``, ``intensity_flops_per_byte`` and ``bound_s`` of one call in ``mode``.
    What is not known is absent.
    """
    metrics: dict[str, float] = {
        "macs": cost.macs,
        "flops": cost.flops,
        "params": cost.params,
        "backward_macs": cost.backward_macs,
        "macs_exponent": cost.exponent,
    }
    train = mode != "forward"
    moved = cost.moved_elements(batch, train=train)
    if moved:
        done = cost.macs + cost.backward_macs if train else cost.macs
        metrics["moved_bytes"] = ITEM_BYTES[dtype] * moved
        metrics["intensity_flops_per_byte"] = 2 * batch * done / metrics["moved_bytes"]
    if ceilings is not None:
        bound = lower_bound_s(cost, ceilings, batch=batch, dtype=dtype, train=train)
        if bound is not None:
            metrics["bound_s"] = bound
    return metrics
