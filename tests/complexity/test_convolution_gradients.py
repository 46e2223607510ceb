from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from paca_bench.complexity.convolution_gradients import input_gradient, weight_gradient


@pytest.mark.parametrize("transposed", [False, True])
@given(
    sides=st.lists(st.integers(5, 9), min_size=1, max_size=2),
    kernel_size=st.integers(1, 3),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    dilation=st.integers(1, 2),
    groups=st.sampled_from([1, 2, 4]),
)
@settings(max_examples=60, deadline=None)
def test_gradients_are_those_of_autograd(
    transposed: bool, sides: list[int], kernel_size: int, groups: int, **steps: int
) -> None:
    dims = len(sides)
    options: dict[str, Any] = {name: [value] * dims for name, value in steps.items()}
    options |= {"transposed": transposed, "groups": groups}
    channels = (4, 8 // groups) if transposed else (8, 4 // groups)
    x = torch.randn(2, 4, *sides, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(*channels, *[kernel_size] * dims, dtype=torch.float64, requires_grad=True)
    out = torch.convolution(x, weight, None, **options, output_padding=[0] * dims)
    gradient = torch.randn_like(out)

    expected = torch.autograd.grad(out, (x, weight), gradient)

    with torch.no_grad():
        found = [f(gradient, x, weight, **options) for f in (input_gradient, weight_gradient)]
    torch.testing.assert_close(tuple(found), expected)
