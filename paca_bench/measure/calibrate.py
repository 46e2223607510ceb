"""How fast this device can be at best: a matrix product and a copy."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from paca_bench.complexity.roofline import Ceilings
from paca_bench.measure.latency import Timer, make_timer

# Sides of square products, and bytes that a copy touches: what a cache holds moves faster.
PRODUCT_SIDES = {"cpu": (512, 1024), "cuda": (4096, 8192)}
COPY_BYTES = {
    "cpu": tuple(2**power for power in (15, 18, 21, 24, 27)),
    "cuda": tuple(2**power for power in (20, 23, 26, 29, 31)),
}
# A short product or copy is repeated until it takes about as long as a timer can tell.
SECONDS_PER_TIMING = 2e-3
REPEATS = 5


def measure_ceilings(device: str, dtypes: Sequence[str] = ("float32",)) -> Ceilings:
    """The best rates of a product in each of ``dtypes`` and of copies by size.

    The best of a few repeats: ceilings, not means. Bytes count the reading and the writing.
    A short dtype is granted at least float32's rate, to which any kernel may convert where
    the device has no instructions for it.
    """
    kind, timer = device.partition(":")[0], make_timer(device)
    rates = {
        dtype: _product_rate(timer, device, dtype, PRODUCT_SIDES[kind])
        for dtype in dict.fromkeys(("float32", *dtypes))
    }
    for dtype in rates.keys() & {"float16", "bfloat16"}:
        rates[dtype] = max(rates[dtype], rates["float32"])
    return Ceilings(rates, tuple((n, _copy_rate(timer, device, n)) for n in COPY_BYTES[kind]))


def _product_rate(timer: Timer, device: str, dtype: str, sides: Sequence[int]) -> float:
    """Multiply-accumulates a second.

    A dtype that the device has no instructions for may take a thousand times longer, so the
    larger products are tried only while they are quick.
    """
    best = 0.0
    for side in sides:
        a, b = (torch.randn(side, side, device=device).to(getattr(torch, dtype)) for _ in range(2))
        seconds = _best_time(timer, lambda a=a, b=b: a @ b)  # type: ignore[misc]
        best = max(best, side**3 / seconds)
        if seconds > 20 * SECONDS_PER_TIMING:
            break
    return best


def _copy_rate(timer: Timer, device: str, size: int) -> float:
    """Bytes a second of a copy that touches ``size`` bytes, half of them read."""
    source = torch.ones(size // 2, dtype=torch.int8, device=device)
    target = torch.empty_like(source)
    return size / _best_time(timer, lambda: target.copy_(source))


def _best_time(timer: Timer, call: Callable[[], object]) -> float:
    """Seconds of one ``call``, the best of some repeats."""
    once = min(timer.time(call) for _ in range(2))
    count = max(1, min(int(SECONDS_PER_TIMING / max(once, 1e-9)), 1000))

    def several() -> None:
        for _ in range(count):
            call()

    repeats = 1 if once > 10 * SECONDS_PER_TIMING else REPEATS
    return min(once, *(timer.time(several) / count for _ in range(repeats)))
