"""Closed-form costs of the parts that architectures are made of, for one image. No torch."""

from __future__ import annotations

from functools import cache

from paca_bench.complexity.cost import Cost
from paca_bench.complexity.expr import symbols
from paca_bench.complexity.term import (
    C,
    D,
    N,
    N_half,
    N_in,
    Term,
    convolution,
    depthwise,
    k,
    linear,
    norm,
    parameters,
    r,
)

IMAGE_CHANNELS = 3

p, K, N_image = symbols("p K N_image")
_STEM = {
    "convolution1": convolution(N_image, N_half, 9, IMAGE_CHANNELS, D, of_image=True),
    "convolution2": convolution(N_half, N, 9, D, C),
    "norm": norm(C),
}
_TRANSITION = {"convolution": convolution(N_in, N, 9, D, C), "norm": norm(C)}
_PATCHES = {"convolution": convolution(N_image, N, k**2, IMAGE_CHANNELS, C, of_image=True)}
_EMBED = {"convolution": convolution(N_in, N, k**2, D, C)}
_MLP = {"linear": linear(N, C, r * C) + linear(N, r * C, C)}
_CONV_MLP = {**_MLP, "depthwise": depthwise(N, 9, r * C, tokens_in=N_in)}
_HEAD = {"linear": linear(1, C, K)}


def stem_cost(pixels: int, half: int, tokens: int, dim: int) -> Cost:
    """Two 3x3 convolutions of stride 2, 3 -> C/2 -> C, and a LayerNorm.

    ``pixels``, ``half`` and ``tokens`` are positions before, between and after them.
    """
    values = {"N_image": pixels, "N_half": half, "N": tokens, "C": dim, "D": dim // 2}
    return Cost(_STEM, values)


def transition_cost(tokens_in: int, tokens: int, inputs: int, outputs: int) -> Cost:
    """A 3x3 convolution of stride 2, D -> C, and a LayerNorm."""
    return Cost(_TRANSITION, {"N_in": tokens_in, "N": tokens, "D": inputs, "C": outputs})


def patches_cost(pixels: int, tokens: int, outputs: int, kernel_size: int) -> Cost:
    """``3k²CN``: a convolution of the image to N patches."""
    return Cost(_PATCHES, {"N_image": pixels, "N": tokens, "C": outputs, "k": kernel_size})


def embed_cost(tokens_in: int, tokens: int, inputs: int, outputs: int, kernel_size: int) -> Cost:
    """``k²DCN``: a strided convolution, D -> C channels, of the image where D = 3."""
    if inputs == IMAGE_CHANNELS:
        return patches_cost(tokens_in, tokens, outputs, kernel_size)
    values = {"N_in": tokens_in, "N": tokens, "D": inputs, "C": outputs, "k": kernel_size}
    return Cost(_EMBED, values)


def convolution_cost(
    tokens: int, inputs: int, outputs: int, kernel_size: int, *, bias: bool = True
) -> Cost:
    """``k²DCN`` for a dense convolution of stride 1, D -> C channels, at N positions."""
    values = {"N": tokens, "D": inputs, "C": outputs, "k": kernel_size}
    return Cost(_convolution_terms(bias), values)


@cache
def _convolution_terms(bias: bool) -> dict[str, Term]:
    return {"convolution": convolution(N, N, k**2, D, C, bias=bias)}


def depthwise_cost(tokens: int, channels: int, kernel_size: int, *, learned: bool = True) -> Cost:
    """``k²CN`` for a depthwise convolution; one whose weights are fixed has no parameters."""
    values = {"N": tokens, "C": channels, "k": kernel_size}
    return Cost(_depthwise_terms(learned), values)


@cache
def _depthwise_terms(learned: bool) -> dict[str, Term]:
    return {"depthwise": depthwise(N, k**2, C, learned=learned)}


def linear_cost(tokens: int, inputs: int, outputs: int, *, bias: bool = True) -> Cost:
    """``DCN`` for a linear map, D -> C channels, of N tokens."""
    return Cost(_linear_terms(bias), {"N": tokens, "D": inputs, "C": outputs})


@cache
def _linear_terms(bias: bool) -> dict[str, Term]:
    return {"linear": linear(N, D, C, bias=bias)}


def mlp_cost(tokens: int, dim: int, ratio: int) -> Cost:
    """``2rNC²`` for two linear maps, C -> rC -> C."""
    return Cost(_MLP, {"N": tokens, "C": dim, "r": ratio})


def conv_mlp_cost(tokens: int, dim: int, ratio: int, *, tokens_in: int | None = None) -> Cost:
    """``2rNC² + 9rNC``: with a depthwise 3x3 convolution between the linear maps.

    ``tokens_in``: positions that the convolution reads, if not N.
    """
    read = tokens if tokens_in is None else tokens_in
    return Cost(_CONV_MLP, {"N": tokens, "C": dim, "r": ratio, "N_in": read})


def norm_cost(channels: int, count: int = 1) -> Cost:
    """Weight and bias of ``count`` norms; a norm is not matrix-like work."""
    return Cost(_norm_terms(count), {"C": channels})


@cache
def _norm_terms(count: int) -> dict[str, Term]:
    return {"norm": count * norm(C)}


def table_cost(name: str, size: int) -> Cost:
    """A table of ``size`` learned numbers that are only added."""
    return Cost({name: parameters(p)}, {"p": size})


def head_cost(channels: int, num_classes: int) -> Cost:
    """The classifier, on one pooled token; nothing where there are no classes."""
    return Cost(_HEAD, {"C": channels, "K": num_classes})
