"""Is the output of a timed call right? A result that is wrong is not fast."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

# Largest deviation from float64, relative to the largest output, by dtype.
TOLERANCES = {
    torch.float64: 1e-9,
    torch.float32: 2e-4,
    torch.float16: 1e-2,
    torch.bfloat16: 5e-2,
}


class WrongResult(Exception):
    """The output is not finite, has the wrong shape, or strays from the reference."""


def check_finite(out: Tensor) -> None:
    """Raise ``WrongResult`` if any value is NaN or infinite."""
    if not bool(torch.isfinite(out).all()):
        raise WrongResult("the output has values that are not finite")


def check_shape(out: Tensor, expected: tuple[int, ...]) -> None:
    """Raise ``WrongResult`` unless ``out`` has the shape ``expected``."""
    if not isinstance(out, Tensor) or tuple(out.shape) != expected:
        found = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise WrongResult(f"the output is {found}, expected a tensor of shape {expected}")


def check_against_float64(
    module: nn.Module, x: Tensor, out: Tensor, dtype: torch.dtype | None = None
) -> float:
    """Compare ``out = module(x)`` with the same module and input in float64.

    Args:
        module: in any dtype; it is copied.
        x: its input.
        out: what is checked.
        dtype: whose tolerance is allowed, where products were made in a shorter dtype than
            that of ``out``.

    Returns:
        The largest deviation, relative to the largest reference value.

    Raises:
        WrongResult: it is above the dtype's entry in ``TOLERANCES``.
    """
    with torch.inference_mode():
        reference = copy.deepcopy(module).to(torch.float64)(x.detach().to(torch.float64))
        scale = reference.abs().max().clamp_min(torch.finfo(torch.float64).tiny)
        deviation = float((out.to(torch.float64) - reference).abs().max() / scale)
    tolerance = TOLERANCES[dtype or out.dtype]
    if not deviation <= tolerance:
        raise WrongResult(
            f"the output deviates from float64 by {deviation:.2g} of its largest value; "
            f"{tolerance:g} is allowed for {dtype or out.dtype}"
        )
    return deviation
