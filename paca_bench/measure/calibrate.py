"""How fast this device can be at best: a matrix product and a copy."""

from __future__ import annotations

import statistics

import torch

from paca_bench.measure.latency import make_timer

REPEATS = 5


def measure_ceilings(device: str) -> dict[str, float]:
    """``peak_macs_per_s`` (float32 matrix product) and ``peak_bytes_per_s`` (copy).

    The best of a few repeats of a size that takes some milliseconds: a ceiling, not a mean.
    Bytes count the reading and the writing.
    """
    timer = make_timer(device)
    side = 8192 if device.startswith("cuda") else 1024
    a, b = (torch.randn(side, side, device=device) for _ in range(2))
    product = [timer.time(lambda: a @ b) for _ in range(REPEATS)]
    source = torch.randn((256 if device.startswith("cuda") else 16) * 2**20, device=device)
    target = torch.empty_like(source)
    copy = [timer.time(lambda: target.copy_(source)) for _ in range(REPEATS)]
    return {
        "peak_macs_per_s": side**3 / min(product),
        "peak_bytes_per_s": 2 * source.numel() * source.element_size() / min(copy),
        "median_macs_per_s": side**3 / statistics.median(product),
    }
