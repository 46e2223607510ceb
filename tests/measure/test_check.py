"""A wrong output is found, a right one passes, in each dtype."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from paca_bench.measure.check import (
    WrongResult,
    check_against_float64,
    check_finite,
    check_shape,
)


def linear(dtype: torch.dtype) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    return nn.Linear(64, 8).to(dtype), torch.randn(16, 64).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_rounding_is_no_error(dtype: torch.dtype) -> None:
    module, x = linear(dtype)
    with torch.inference_mode():
        assert check_against_float64(module, x, module(x)) < 0.05


@pytest.mark.parametrize(
    ("dtype", "off"), [(torch.float32, 1e-3), (torch.bfloat16, 0.2), (torch.float64, 1e-6)]
)
def test_a_deviation_beyond_rounding_is_one(dtype: torch.dtype, off: float) -> None:
    module, x = linear(dtype)
    with torch.inference_mode():
        out = module(x)
        out[3, 5] += off * out.abs().max()
    with pytest.raises(WrongResult, match=r"deviates from float64 by .* is allowed"):
        check_against_float64(module, x, out)


def test_a_half_precision_result_passed_off_as_float32_is_wrong() -> None:
    module, x = linear(torch.float32)
    out = (module.half()(x.half())).float()
    with pytest.raises(WrongResult):
        check_against_float64(module.float(), x, out)


def test_nan_in_the_output_never_passes() -> None:
    module, x = linear(torch.float32)
    with torch.inference_mode():
        out = module(x)
    out = out.clone()
    out[0, 0] = torch.nan
    with pytest.raises(WrongResult):
        check_finite(out)
    with pytest.raises(WrongResult):
        check_against_float64(module, x, out)


@pytest.mark.parametrize("out", [torch.zeros(2, 3), (torch.zeros(3, 2),), None])
def test_another_shape_or_type_is_wrong(out: object) -> None:
    with pytest.raises(WrongResult, match=r"expected a tensor of shape \(3, 2\)"):
        check_shape(out, (3, 2))


def test_the_module_is_left_as_it_was() -> None:
    module, x = linear(torch.float32)
    with torch.inference_mode():
        check_against_float64(module, x, module(x))
    assert next(module.parameters()).dtype is torch.float32
