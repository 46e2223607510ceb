"""Closed-form costs of the parts that architectures are made of, for one image. No torch."""

from __future__ import annotations

from paca_bench.complexity.cost import Cost
from paca_bench.complexity.expr import symbols

N, C, D, k, p = symbols("N C D k p")


def convolution_cost(
    tokens: int, inputs: int, outputs: int, kernel_size: int, *, bias: bool = True
) -> Cost:
    """``k²DCN`` for a dense convolution, D -> C channels, with N output positions."""
    weights = k**2 * D * C
    return Cost(
        {"convolution": weights * N},
        {"N": tokens, "D": inputs, "C": outputs, "k": kernel_size},
        {"convolution": weights + C if bias else weights},
    )


def depthwise_cost(tokens: int, channels: int, kernel_size: int, *, fixed: bool = False) -> Cost:
    """``k²CN`` for a depthwise convolution; a ``fixed`` one has no parameters."""
    params = {} if fixed else {"depthwise": k**2 * C + C}
    return Cost({"depthwise": k**2 * C * N}, {"N": tokens, "C": channels, "k": kernel_size}, params)


def linear_cost(tokens: int, inputs: int, outputs: int, *, bias: bool = True) -> Cost:
    """``DCN`` for a linear map, D -> C channels, of N tokens."""
    return Cost(
        {"linear": D * C * N},
        {"N": tokens, "D": inputs, "C": outputs},
        {"linear": D * C + C if bias else D * C},
    )


def mlp_cost(tokens: int, dim: int, ratio: int, *, depthwise: bool = False) -> Cost:
    """``2rNC²`` for two linear maps, C -> rC -> C; with a depthwise 3x3 between, ``9rNC`` more."""
    terms = {"linear": 2 * ratio * N * C**2}
    params = {"linear": 2 * ratio * C**2 + (ratio + 1) * C}
    if depthwise:
        terms["depthwise"] = 9 * ratio * N * C
        params["depthwise"] = 10 * ratio * C
    return Cost(terms, {"N": tokens, "C": dim}, params)


def norm_cost(channels: int, count: int = 1) -> Cost:
    """Weight and bias of ``count`` norms; a norm is not matrix-like work."""
    return Cost({}, {"C": channels}, {"norm": 2 * count * C})


def table_cost(name: str, size: int) -> Cost:
    """A table of ``size`` learned numbers that are only added."""
    return Cost({}, {"p": size}, {name: p})


def head_cost(channels: int, num_classes: int) -> Cost:
    """The classifier, on one pooled token; nothing where there are no classes."""
    return linear_cost(1, channels, num_classes)
