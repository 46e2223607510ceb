"""The short ways to a result's shape give what torch's CPU kernels give."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from paca_bench.complexity.dispatch import count
from paca_bench.complexity.meta import MetaCopy, OnMeta, run
from paca_bench.complexity.meta_rules import RULES

aten = torch.ops.aten


def image(channels: int = 4) -> Tensor:
    return torch.randn(2, channels, 5, 6)


def last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def tokens() -> Tensor:
    """``[B, N, C]`` as a view of a map."""
    return image().flatten(2).transpose(1, 2)


def heads(count: int, width: int = 4) -> Tensor:
    return torch.randn(2, count, 3, width).transpose(1, 2)


VECTOR = torch.randn(4)
NORM_STATISTICS = (torch.randn(2, 30, 1), torch.rand(2, 30, 1))
CONVOLUTION = ([1, 1], [1, 1], [1, 1], False, [0, 0], 1)
WEIGHT = torch.randn(3, 4, 3, 3)

# Calls of every overload that has a rule.
CALLS: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = [
    (aten.gelu.default, (tokens(),), {}),
    (aten.gelu.default, (image()[:, :, ::2],), {}),
    (aten.relu.default, (last(image()),), {}),
    (aten.add.Tensor, (tokens(), tokens().contiguous()), {}),
    (aten.add.Tensor, (tokens().contiguous(), tokens()), {"alpha": 2}),
    (aten.add.Tensor, (image(), 1.0), {}),
    (aten.add.Tensor, (image(), image().double()), {}),
    (aten.add.Tensor, (image(), VECTOR[:, None, None]), {}),
    (aten.mul.Tensor, (last(image()), image()), {}),
    (aten.gelu_backward.default, (tokens(), tokens().contiguous()), {}),
    (aten.gelu_backward.default, (tokens().contiguous(), tokens()), {}),
    (aten.threshold_backward.default, (tokens(), tokens().contiguous(), 0), {}),
    (aten.threshold_backward.default, (tokens().contiguous(), tokens(), 0), {}),
    (aten.softmax.int, (tokens(), -1), {}),
    (aten.softmax.int, (tokens(), -1, torch.float64), {}),
    (aten._softmax.default, (tokens(), 1, False), {}),
    (aten._softmax_backward_data.default, (tokens(), tokens(), 1, torch.float32), {}),
    (aten.clone.default, (tokens(),), {}),
    (aten.clone.default, (torch.randn(3, 1).expand(3, 4),), {}),
    (aten.clone.default, (tokens(),), {"memory_format": torch.contiguous_format}),
    (aten.clone.default, (image(),), {"memory_format": torch.channels_last}),
    (aten.roll.default, (image(), [1, 2], [1, 3]), {}),
    (aten.roll.default, (tokens(), [1], [1]), {}),
    (aten.stack.default, ([tokens(), tokens(), tokens()],), {}),
    (aten.stack.default, ([image(), image()], -1), {}),
    (aten.sum.dim_IntList, (tokens()[0], [0]), {}),
    (aten.sum.dim_IntList, (tokens()[0], [-1], True), {}),
    (aten.sum.dim_IntList, (tokens(), [0, 1], True), {}),
    (aten.sum.dim_IntList, (tokens()[0], [0]), {"dtype": torch.float64}),
    (aten.slice_backward.default, (image()[:, 1:3], [2, 4, 5, 6], 1, 1, 3, 1), {}),
    (aten.select_backward.default, (image()[:, 1], [2, 4, 5, 6], 1, 1), {}),
    (aten.upsample_bilinear2d.default, (last(image()), [7, 8], False), {}),
    (aten.upsample_bilinear2d.vec, (image(), [7, 8], False, None), {}),
    (aten.upsample_bilinear2d.vec, (image(), None, False, [2.0, 2.0]), {}),
    (aten.linear.default, (tokens(), torch.randn(7, 4), torch.randn(7)), {}),
    (aten.linear.default, (VECTOR, torch.randn(7, 4)), {}),
    (aten.mm.default, (torch.randn(5, 3).T, torch.randn(5, 2)), {}),
    (aten.bmm.default, (tokens(), tokens().transpose(1, 2)), {}),
    (aten.addmm.default, (torch.randn(2), torch.randn(3, 5), torch.randn(2, 5).T), {}),
    (aten.addmm.default, (torch.randn(3, 2), torch.randn(3, 5), torch.randn(5, 2)), {}),
    (aten.scaled_dot_product_attention.default, (heads(5), heads(7), heads(7)), {}),
    (aten.scaled_dot_product_attention.default, (heads(5), heads(7), heads(7, 8)), {}),
    (aten.scaled_dot_product_attention.default, (heads(5)[0], heads(7)[0], heads(7)[0]), {}),
    (
        aten.scaled_dot_product_attention.default,
        (heads(5), heads(7), heads(7), torch.randn(2, 1, 5, 7)),
        {"scale": 0.5},
    ),
    (aten.layer_norm.default, (tokens(), [4], VECTOR, VECTOR), {}),
    (aten.native_layer_norm.default, (tokens(), [4], VECTOR, VECTOR, 1e-6), {}),
    (
        aten.native_layer_norm_backward.default,
        (tokens(), tokens(), [4], *NORM_STATISTICS, VECTOR, VECTOR, [True, True, True]),
        {},
    ),
    (
        aten.batch_norm.default,
        (last(image()), VECTOR, VECTOR, None, None, True, 0.1, 1e-5, False),
        {},
    ),
    *(
        (
            aten.native_batch_norm.default,
            (last(image()), VECTOR, VECTOR, VECTOR.clone(), VECTOR.abs(), training, 0.1, 1e-5),
            {},
        )
        for training in (False, True)
    ),
    *(
        (
            aten.native_batch_norm_backward.default,
            (*(image(), image(), VECTOR, VECTOR, VECTOR), *(VECTOR, VECTOR, True, 1e-5), wanted),
            {},
        )
        for wanted in ([True, True, True], [True, False, False])
    ),
    *(
        (
            aten.convolution_backward.default,
            (image(3), image(), WEIGHT, [3], *CONVOLUTION, wanted),
            {},
        )
        for wanted in ([True, True, True], [False, True, True], [True, True, False])
    ),
]


def layouts(out: Any) -> list[Any]:
    def of(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        # The stride of a dimension of size 1 means nothing.
        strides = [s for n, s in zip(value.shape, value.stride(), strict=True) if n > 1]
        return (tuple(value.shape), strides, value.dtype)

    return [of(value) for value in tree_leaves(out, is_leaf=lambda v: v is None)]


@pytest.mark.parametrize(("func", "args", "kwargs"), CALLS)
def test_results_are_those_of_the_cpu_kernels(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    real = func(*args, **kwargs)
    on_meta = tree_map_only(Tensor, lambda t: t.to("meta"), args)

    assert layouts(run(func, on_meta, kwargs)) == layouts(real)
    assert layouts(run(func, args, kwargs)) == layouts(real)


def test_every_rule_is_tested() -> None:
    assert {func for func, _, _ in CALLS} == set(RULES)


@given(data=st.data(), sides=st.lists(st.integers(1, 4), min_size=2, max_size=4))
@settings(max_examples=60, deadline=None)
def test_sums_of_permuted_tensors(data: st.DataObject, sides: list[int]) -> None:
    def permuted() -> Tensor:
        order = data.draw(st.permutations(range(len(sides))))
        return torch.ones([sides[i] for i in order]).permute(
            *(order.index(i) for i in range(len(sides)))
        )

    a, b = permuted(), permuted()

    assert layouts(run(aten.add.Tensor, (a.to("meta"), b.to("meta")), {})) == layouts(a + b)


@pytest.mark.parametrize(
    ("function", "shapes"),
    [
        (torch.mm, [(3, 4), (5, 6)]),
        (torch.bmm, [(2, 3, 4), (3, 4, 5)]),
        (nn.functional.linear, [(3, 4), (5, 6)]),
        (nn.functional.linear, [(3, 4), (5, 4), (4,)]),
        (torch.addmm, [(4,), (3, 4), (4, 5)]),
        (lambda x, w: nn.functional.layer_norm(x, (4,), w), [(3, 5), (4,)]),
        (nn.functional.scaled_dot_product_attention, [(1, 3, 4), (1, 5, 4), (1, 6, 4)]),
    ],
)
def test_what_cannot_run_is_refused_by_torch(function: Any, shapes: list[tuple[int, ...]]) -> None:
    tensors = [torch.ones(shape, device="meta") for shape in shapes]

    with pytest.raises(RuntimeError), torch.inference_mode(), OnMeta():
        function(*tensors)


class OwnTensors(nn.Module):
    """Makes a tensor for itself, from parameters of two dtypes."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = nn.Parameter(torch.ones(3, dtype=torch.int64), requires_grad=False)
        self.weight = nn.Parameter(torch.ones(4, 3, dtype=torch.bfloat16))

    def forward(self, x: Tensor) -> Tensor:
        return (x + torch.zeros(3, dtype=x.dtype)) @ self.weight.T


def test_a_copy_on_meta_leaves_the_module_as_it_is() -> None:
    module = OwnTensors()
    copy = MetaCopy(module)

    out = copy(copy.new_input((2, 3)))

    assert (out.device.type, tuple(out.shape), out.dtype) == ("meta", (2, 4), torch.bfloat16)
    assert module.weight.device.type == "cpu"
    assert copy.tensors["weight"].requires_grad


def test_a_module_that_is_on_meta_is_not_replaced() -> None:
    with torch.device("meta"):
        module = nn.Linear(3, 4)

    count(module, (2, 3), backward=True)

    assert MetaCopy(module).tensors["weight"] is module.weight
    assert module.weight.grad is None
