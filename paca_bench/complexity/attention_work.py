"""What attention costs: one operator forward and one backward, whichever kernel computes it.

Forward it is two products, ``q kᵀ`` and ``p v``, with one elementwise operation for each
score (the softmax), one more if a mask is added and one more for dropout; masked scores are
counted like the others. It moves q, k, v, the mask and the output: the scores are taken as
never stored, as fused kernels do.

Backward it is four products, one for each of the gradients of q, k, v and the scores. A fused
kernel computes the scores a second time instead of keeping them: that is the kernel's choice
and not the mechanism's work, and is not counted. It reads q, k, v, the mask, the output and
its gradient, and writes the gradients that are wanted.

Where gradients are recorded, torch picks a kernel before a dispatch mode can look, and the
kernel decides which operators the backward is made of. ``WholeAttention`` puts the two
operators below in its place, which have a shape and a cost and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from paca_bench.complexity.meta_rules import attention_result
from paca_bench.complexity.operators import Work, register_counter, tensor_bytes
from paca_bench.errors import CountError


def attention_work(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    mask: Tensor | None = None,
    *,
    dropout: bool = False,
) -> Work:
    """Forward, of queries ``[..., N, d]``, keys ``[..., S, d]`` and values ``[..., S, e]``.

    Raises:
        CountError: queries have other heads (or another batch) than keys and values.
    """
    scores = _scores(query, key, value)
    return Work(
        macs=scores * (query.shape[-1] + value.shape[-1]),
        elementwise_ops=scores * (1 + (mask is not None) + dropout),
        moved_bytes=tensor_bytes((query, key, value, mask, out)),
    )


def attention_backward_work(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    mask: Tensor | None = None,
    *,
    wanted: Sequence[bool] = (True, True, True, False),
    dropout: bool = False,
) -> Work:
    """Backward, with the ``wanted`` of the gradients of query, key, value and mask.

    Raises:
        CountError: as ``attention_work``.
    """
    scores = _scores(query, key, value)
    of_query, of_key, of_value, of_mask = wanted
    of_scores = of_query or of_key or of_mask
    width, value_width = query.shape[-1], value.shape[-1]
    # A mask that is the same for several images or heads has the sum of their gradients.
    sums_mask = of_mask and mask is not None and mask.numel() < scores
    written = [t for t, w in zip((query, key, value, mask), wanted, strict=True) if w]
    return Work(
        macs=scores * (value_width * (of_value + of_scores) + width * (of_query + of_key)),
        elementwise_ops=scores * (of_scores * (1 + dropout) + sums_mask),
        # A gradient has the size of what it is the gradient of: so has the output's.
        moved_bytes=tensor_bytes((query, key, value, mask, out, out, *written)),
    )


def _scores(query: Tensor, key: Tensor, value: Tensor) -> int:
    if not query.shape[:-2] == key.shape[:-2] == value.shape[:-2]:
        raise CountError(
            f"attention of queries {tuple(query.shape)} to keys {tuple(key.shape)} and values "
            f"{tuple(value.shape)} is not counted: grouped queries (enable_gqa) have no rule; "
            f"expand keys and values to the batch and heads of the queries"
        )
    return math.prod(query.shape[:-1]) * int(key.shape[-2])


def _argument(args: Sequence[Any], kwargs: Mapping[str, Any], index: int, name: str) -> Any:
    return args[index] if len(args) > index else kwargs.get(name)


@register_counter(
    "aten.scaled_dot_product_attention",
    "aten._scaled_dot_product_attention_math",
    category="attention_product",
)
def _attention(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> Work:
    query, key, value = args[:3]
    out = out if isinstance(out, Tensor) else out[0]
    mask = _argument(args, kwargs, 3, "attn_mask")
    dropout = bool(_argument(args, kwargs, 4, "dropout_p"))
    return attention_work(query, key, value, out, mask, dropout=dropout)


@register_counter(
    "aten._scaled_dot_product_efficient_attention",
    "aten._scaled_dot_product_cudnn_attention",
    "aten._scaled_dot_product_fused_attention_overrideable",
    category="attention_product",
)
def _biased_attention(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> Work:
    query, key, value = args[:3]
    return attention_work(query, key, value, out[0], _argument(args, kwargs, 3, "attn_bias"))


@register_counter(
    "aten._scaled_dot_product_flash_attention",
    "aten._scaled_dot_product_flash_attention_for_cpu",
    category="attention_product",
)
def _flash_attention(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> Work:
    query, key, value = args[:3]
    return attention_work(query, key, value, out[0], kwargs.get("attn_mask"))


@register_counter(
    "aten._flash_attention_forward",
    "aten._efficient_attention_forward",
    category="attention_product",
)
def _heads_last_attention(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> Work:
    """The kernels behind the above, whose tensors are ``[B, N, h, d]``."""
    # Both take (query, key, value, ...); a packed batch of ragged lengths gives its offsets
    # as tensors, and those are not read here.
    if any(isinstance(a, Tensor) and not a.is_floating_point() for a in args[3:]):
        raise CountError(
            "attention over a packed batch of ragged lengths cannot be counted from its shapes; "
            "pass one image at a time"
        )
    query, key, value = (t.transpose(1, 2) for t in args[:3])
    return attention_work(query, key, value, out[0])


@register_counter(
    "aten._scaled_dot_product_flash_attention_backward",
    "aten._scaled_dot_product_flash_attention_for_cpu_backward",
    "aten._scaled_dot_product_cudnn_attention_backward",
    "aten._scaled_dot_product_fused_attention_overrideable_backward",
    category="attention_product",
)
def _fused_backward(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> Work:
    gradient, query, key, value = args[:4]
    # The gradient has the size of the output.
    return attention_backward_work(query, key, value, gradient, kwargs.get("attn_mask"))


@register_counter(
    "aten._scaled_dot_product_efficient_attention_backward", category="attention_product"
)
def _biased_backward(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> Work:
    gradient, query, key, value, bias = args[:5]
    return attention_backward_work(query, key, value, gradient, bias, wanted=args[10])


# The two operators that stand for all kernels on the meta device.
_library = torch.library.Library("paca_bench", "DEF")
_library.define(
    "attention(Tensor query, Tensor key, Tensor value, Tensor? mask, bool dropout) -> Tensor"
)
_library.define(
    "attention_backward(Tensor gradient, Tensor query, Tensor key, Tensor value, Tensor out, "
    "Tensor? mask, bool[4] wanted, bool dropout) -> Tensor[]"
)


@torch.library.impl(_library, "attention", "Meta")
def _stand_in(query: Tensor, key: Tensor, value: Tensor, mask: Any, dropout: bool) -> Tensor:
    return attention_result(query, value)


@torch.library.impl(_library, "attention_backward", "Meta")
def _stand_in_backward(
    gradient: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    mask: Tensor | None,
    wanted: Sequence[bool],
    dropout: bool,
) -> list[Tensor]:
    inputs = (query, key, value, mask)
    return [
        torch.empty(t.shape, dtype=t.dtype, device="meta")
        for t, w in zip(inputs, wanted, strict=True)
        if w and t is not None
    ]


@register_counter("paca_bench.attention", category="attention_product")
def _stand_in_work(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> Work:
    query, key, value, mask, dropout = args
    return attention_work(query, key, value, out, mask, dropout=dropout)


@register_counter("paca_bench.attention_backward", category="attention_product")
def _stand_in_backward_work(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> Work:
    _, query, key, value, out, mask, wanted, dropout = args
    return attention_backward_work(query, key, value, out, mask, wanted=wanted, dropout=dropout)


class _Attention(torch.autograd.Function):
    """The two operators as one function that autograd knows."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, *rest: Any) -> Tensor:
        mask, ctx.dropout = rest
        out: Tensor = torch.ops.paca_bench.attention(query, key, value, mask, ctx.dropout)
        ctx.save_for_backward(query, key, value, out, mask)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        wanted = ctx.needs_input_grad[:4]
        found = iter(
            torch.ops.paca_bench.attention_backward(
                *gradients, *ctx.saved_tensors, wanted, ctx.dropout
            )
        )
        return (*(next(found) if w else None for w in wanted), None)


class WholeAttention(TorchFunctionMode):
    """While active, ``scaled_dot_product_attention`` on meta tensors is the stand-in."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            return _whole_attention(*args, **kwargs)
        if func is F.multi_head_attention_forward:
            # torch leaves this mode for as long as a function of its own runs.
            with mock.patch.object(F, "scaled_dot_product_attention", _whole_attention):
                return func(*args, **kwargs)
        return func(*args, **kwargs)


def _whole_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """In the place of torch's; neither causality nor the scale makes a difference in work."""
    out: Tensor = _Attention.apply(  # type: ignore[no-untyped-call]
        query, key, value, attn_mask, dropout_p > 0
    )
    return out
