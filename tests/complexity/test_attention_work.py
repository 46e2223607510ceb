"""Attention is one operator forward and one backward, whichever kernel computes it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from paca_bench.complexity.dispatch import Counts, count, count_call
from paca_bench.complexity.fvcore_handles import fvcore_backward_macs
from paca_bench.errors import CountError

BATCH, HEADS, QUERIES, KEYS, WIDTH = 2, 3, 5, 7, 8
SCORES = BATCH * HEADS * QUERIES * KEYS
PRODUCT = SCORES * WIDTH
# Elements of queries or output, of keys or values, and of a mask without its batch.
Q, K, MASK = BATCH * HEADS * QUERIES * WIDTH, BATCH * HEADS * KEYS * WIDTH, HEADS * QUERIES * KEYS


class Attend(nn.Module):
    """Attention of an input to keys and values that are parameters, with or without a mask."""

    def __init__(self, attend: Any, *, masked: bool = False, **options: Any) -> None:
        super().__init__()
        self.attend = attend
        self.options = options
        self.key = nn.Parameter(torch.zeros(BATCH, HEADS, KEYS, WIDTH))
        self.value = nn.Parameter(torch.zeros(BATCH, HEADS, KEYS, WIDTH))
        self.mask = nn.Parameter(torch.zeros(1, HEADS, QUERIES, KEYS)) if masked else None

    def forward(self, query: Tensor) -> Tensor:
        return self.attend(query, self.key, self.value, attn_mask=self.mask, **self.options)


def explicit(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None) -> Tensor:
    scores = query @ key.transpose(-2, -1)
    return (scores if attn_mask is None else scores + attn_mask).softmax(-1) @ value


def backward(module: nn.Module, *, input_gradient: bool = True) -> Counts:
    shape = (BATCH, HEADS, QUERIES, WIDTH)
    counts = count(module, shape, backward=True, input_gradient=input_gradient)
    assert counts.backward is not None
    return counts.backward


@pytest.mark.parametrize("kernel", [SDPBackend.MATH, SDPBackend.FLASH_ATTENTION])
@pytest.mark.parametrize("masked", [False, True])
def test_backward_is_four_products_whatever_torch_would_pick(
    masked: bool, kernel: SDPBackend
) -> None:
    module = Attend(F.scaled_dot_product_attention, masked=masked)

    with sdpa_kernel(kernel):
        counts = backward(module)

    assert counts.by_operator == {"paca_bench.attention_backward": 4 * PRODUCT}
    assert counts.by_category == {"attention_product": 4 * PRODUCT}
    # The mask is the same for both images, so its gradient is a sum over them.
    assert counts.elementwise_ops == SCORES * (2 if masked else 1)
    assert counts.moved_bytes == 4 * (4 * Q + 4 * K + (2 * MASK if masked else 0))


@pytest.mark.parametrize("masked", [False, True])
def test_backward_is_that_of_explicit_attention(masked: bool) -> None:
    whole = backward(Attend(F.scaled_dot_product_attention, masked=masked))
    parts = backward(Attend(explicit, masked=masked))

    assert (whole.macs, whole.elementwise_ops) == (parts.macs, parts.elementwise_ops)
    assert parts.by_category == {"matmul": 4 * PRODUCT}
    # Only the explicit one stores scores.
    assert whole.moved_bytes < parts.moved_bytes


def test_backward_is_that_of_the_kernel_on_real_tensors() -> None:
    query = torch.randn(BATCH, HEADS, QUERIES, WIDTH)
    key, value = (torch.randn(BATCH, HEADS, KEYS, WIDTH) for _ in range(2))
    aten = torch.ops.aten
    out, sums = aten._scaled_dot_product_flash_attention_for_cpu(query, key, value)

    real = count_call(
        aten._scaled_dot_product_flash_attention_for_cpu_backward,
        *(torch.ones_like(out), query, key, value, out, sums, 0.0, False),
    )

    whole = backward(Attend(F.scaled_dot_product_attention))
    assert (real.macs, real.elementwise_ops) == (whole.macs, whole.elementwise_ops)
    assert real.moved_bytes == whole.moved_bytes


def test_backward_of_the_kernel_that_takes_the_gradient_of_a_mask() -> None:
    query, key, value, mask, sums, seed = (
        torch.empty(BATCH, HEADS, *shape, device="meta")
        for shape in ((QUERIES, WIDTH), *2 * [(KEYS, WIDTH)], (QUERIES, KEYS), (QUERIES,), ())
    )
    operator = torch.ops.aten._scaled_dot_product_efficient_attention_backward

    counts = count_call(
        operator,
        *(query, query, key, value, mask, query, sums, seed, seed, 0.0),
        [True, True, True, True],
    )

    # Every score of the mask is its own, so that no gradients are summed.
    assert (counts.macs, counts.elementwise_ops) == (4 * PRODUCT, SCORES)
    assert counts.moved_bytes == 4 * (4 * Q + 4 * K + 2 * SCORES)


def test_the_scale_and_causality_make_no_difference() -> None:
    plain = backward(Attend(F.scaled_dot_product_attention))

    assert backward(Attend(F.scaled_dot_product_attention, scale=0.5)) == plain
    assert backward(Attend(F.scaled_dot_product_attention, is_causal=True)) == plain


def test_dropout_is_one_operation_a_score_each_way() -> None:
    counts = count(
        Attend(F.scaled_dot_product_attention, dropout_p=0.1),
        (BATCH, HEADS, QUERIES, WIDTH),
        backward=True,
    )

    assert counts.elementwise_ops == 2 * SCORES
    assert counts.backward is not None
    assert counts.backward.elementwise_ops == 2 * SCORES


@pytest.mark.parametrize(
    ("frozen", "input_gradient", "products"),
    # The gradients of values, of the scores (for all others), of queries and of keys.
    [((), True, 4), ((), False, 3), (("key",), True, 3), (("key", "value"), True, 2)],
)
def test_only_the_gradients_that_are_wanted_count(
    frozen: tuple[str, ...], input_gradient: bool, products: int
) -> None:
    module = Attend(F.scaled_dot_product_attention)
    for name in frozen:
        getattr(module, name).requires_grad_(False)

    counts = backward(module, input_gradient=input_gradient)

    assert counts.macs == products * PRODUCT
    query = torch.ones(BATCH, HEADS, QUERIES, WIDTH)
    by_fvcore = fvcore_backward_macs(module, query, input_gradient=input_gradient)
    assert by_fvcore == products * PRODUCT


def test_values_may_be_wider_than_keys() -> None:
    module = Attend(F.scaled_dot_product_attention)
    module.value = nn.Parameter(torch.zeros(BATCH, HEADS, KEYS, 3 * WIDTH))

    assert backward(module).macs == 2 * (PRODUCT + 3 * PRODUCT)


def test_attention_of_torchs_own_module_is_whole_as_well() -> None:
    class SelfAttend(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.attention(x, x, x, need_weights=False)[0]

    counts = count(SelfAttend(), (1, 5, 8), backward=True)

    assert counts.by_operator["aten.scaled_dot_product_attention"] == 2 * 5 * 5 * 8
    assert counts.backward is not None
    assert counts.backward.by_operator["paca_bench.attention_backward"] == 4 * 5 * 5 * 8
    assert counts.backward_macs == 2 * counts.macs


@pytest.mark.parametrize("backward_too", [False, True])
def test_grouped_queries_are_refused(backward_too: bool) -> None:
    module = Attend(F.scaled_dot_product_attention, enable_gqa=True)

    with pytest.raises(CountError, match=r"\(2, 6, 5, 8\).*enable_gqa.*expand keys and values"):
        count(module, (BATCH, 2 * HEADS, QUERIES, WIDTH), backward=backward_too)


def test_ragged_batches_are_refused() -> None:
    packed = torch.ones(1, 6, 2, 8, device="meta")
    offsets = torch.zeros(3, dtype=torch.int32, device="meta")

    with pytest.raises(CountError, match="ragged"):
        count_call(
            lambda: torch.ops.aten._flash_attention_forward(
                packed, packed, packed, offsets, offsets, 3, 3, 0.0, False, False
            )
        )
