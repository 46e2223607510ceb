"""Which kernel is named, on real modules."""

import pytest
import torch

from paca_bench.attention.registry import create_attention
from paca_bench.measure.kernel import kernel_path
from paca_bench.models.host import Layer

GRID = (7, 7)


@pytest.mark.parametrize(
    ("mechanism", "mode", "path"),
    [
        ("vit", "forward", "flash (CPU)"),
        ("vit", "train", "flash (CPU)"),
        ("paca", "forward", "flash (CPU)"),
        ("swin", "forward", "flash (CPU)"),
        # The bias wants a gradient, which the fused kernel cannot give.
        ("swin", "train", "math"),
    ],
)
def test_the_kernel_that_runs_is_named(mechanism: str, mode: str, path: str) -> None:
    module = Layer(create_attention(mechanism, dim=32, num_heads=2, grid=GRID), GRID)
    assert kernel_path(module, torch.randn(1, 49, 32), mode) == path


def test_a_module_without_attention_has_none() -> None:
    assert kernel_path(torch.nn.Linear(4, 4), torch.randn(1, 2, 4), "forward") == "none"
