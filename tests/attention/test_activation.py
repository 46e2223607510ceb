"""GELU is in place where nothing else wants its input, and nowhere else."""

from __future__ import annotations

import torch
from torch.nn import functional

from paca_bench.attention.activation import Gelu, gelu


def test_without_gradients_the_input_is_overwritten() -> None:
    x = torch.linspace(-4, 4, 33)
    expected = functional.gelu(x)
    result = gelu(x)
    assert result.data_ptr() == x.data_ptr()
    torch.testing.assert_close(result, expected)


def test_an_input_that_the_gradient_needs_is_kept() -> None:
    x = torch.linspace(-4, 4, 33, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(Gelu(), (x,))
    hidden = 2 * x
    before = hidden.detach().clone()
    assert gelu(hidden).requires_grad
    assert torch.equal(hidden, before)
