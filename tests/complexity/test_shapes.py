from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.functional import conv1d, conv_transpose2d

from paca_bench.attention.registry import mechanisms
from paca_bench.complexity.liveness import Liveness
from paca_bench.complexity.memory import predict_case_memory
from paca_bench.complexity.shape_rules import results_by_rule
from paca_bench.errors import UnsupportedError
from paca_bench.record import Case
from tests.complexity.fake_memory import fake_peak

aten = torch.ops.aten


def make_case(mechanism: str, **changes: Any) -> Case:
    clusters = 9 if mechanism == "paca" else None
    axes: dict[str, Any] = {"level": "layer", "host": "nano", "height": 80, "width": 64}
    axes |= {"mode": "train", "num_clusters": clusters}
    return Case(**{**axes, "mechanism": mechanism, **changes})


CASES = [
    *(make_case(name, batch=2, dtype="bfloat16") for name in sorted(mechanisms())),
    *(make_case(name, mode="forward", stage=4) for name in sorted(mechanisms())),
    make_case("swin", options=(("shifted", True),), height=256),
    make_case("paca", level="host"),
    make_case("pacavit_convmixer_tiny_100", level="model", host="", mode="forward"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_the_peak_is_that_of_fake_tensors(case: Case) -> None:
    assert predict_case_memory(case).peak_bytes == fake_peak(case)


def on_shapes(function: Any, *tensors: Tensor) -> Any:
    live = Liveness()
    with live:
        return function(*(live.given(t) for t in tensors)), live


def test_a_view_shares_its_storage() -> None:
    (view, copy), live = on_shapes(lambda x: (x[1:, ::2], x.exp()), torch.empty(4, 6))

    assert (view.shape, view.stride(), view.storage_offset()) == ((3, 3), (6, 2), 6)
    assert live.now == 4 * 6 * 4
    del copy
    assert live.now == 0


def test_results_in_a_list_and_in_place() -> None:
    def split(x: Tensor) -> list[Tensor]:
        parts = list(x.exp().split(2))
        parts[0].add_(1).t_()
        return parts

    parts, live = on_shapes(split, torch.empty(5, 3))

    assert [part.shape for part in parts] == [(3, 2), (2, 3), (1, 3)]
    assert parts[0].stride() == (1, 3)
    assert live.now == 5 * 3 * 4
    del parts
    assert live.now == 0


def test_convolutions_of_other_kinds() -> None:
    def call(line: Tensor, image: Tensor, empty: Tensor) -> list[Tensor]:
        whole = conv1d(line, torch.empty(4, 3, 5), padding=2)
        return [
            whole,
            conv_transpose2d(image, torch.empty(3, 2, 2, 2), stride=2),
            empty[2:, 3:] + 1,
        ]

    sizes = (2, 3, 9), (1, 3, 4, 5), (2, 6)
    results, live = on_shapes(call, *(torch.empty(size) for size in sizes))

    assert [tuple(r.shape) for r in results] == [(2, 4, 9), (1, 2, 8, 10), (0, 3)]
    assert live.now == 4 * (2 * 4 * 9 + 2 * 8 * 10)


def test_a_number_keeps_its_type() -> None:
    (whole, broken), _ = on_shapes(lambda x: (x * 2, x * 2.0), torch.ones(3, dtype=torch.int64))

    assert (whole.dtype, broken.dtype) == (torch.int64, torch.float32)


def test_constants_may_be_real_tensors() -> None:
    out, live = on_shapes(lambda x: x + torch.tensor([1.0, 2.0]), torch.empty(4, 2))

    assert out.shape == (4, 2)
    # The sum, and the copy that torch.tensor makes.
    assert live.peak <= 4 * 2 * 4 + 2 * 4


def test_what_depends_on_values_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="depends on the values"):
        on_shapes(lambda x: x[0, 0].item(), torch.empty(2, 2))
    with pytest.raises(UnsupportedError, match="depends on the values"):
        on_shapes(lambda x: x.nonzero(), torch.empty(2, 2))


def test_a_shape_is_of_no_use_outside_of_its_trace() -> None:
    out, _ = on_shapes(lambda x: x.exp(), torch.empty(2))

    with pytest.raises(UnsupportedError, match="outside of its trace"):
        out.exp()


SIDES = st.integers(1, 5)
DTYPES = st.sampled_from([torch.float32, torch.bfloat16, torch.float64])


@st.composite
def images(draw: st.DrawFn) -> Tensor:
    """``[B, C, H, W]``, contiguous or with channels last, dense or not."""
    batch, channels, height, width = (draw(SIDES) for _ in range(4))
    dtype = draw(DTYPES)
    if draw(st.booleans()):
        tokens = torch.empty(batch, height * width, 2 * channels, dtype=dtype)
        tokens = tokens[..., :channels] if draw(st.booleans()) else tokens
        return tokens.unflatten(1, (height, width)).permute(0, 3, 1, 2)
    return torch.empty(batch, channels, height, width, dtype=dtype)


def check(operator: Any, *args: Any) -> None:
    """The rule for ``operator``, if it has an opinion, is what torch gives for fake tensors."""
    _, live = on_shapes(lambda: None)
    by_rule = results_by_rule(
        str(operator.overloadpacket),
        [live.given(a) if isinstance(a, Tensor) else a for a in args],
    )
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        fakes = [mode.from_tensor(a) if isinstance(a, Tensor) else a for a in args]
        by_torch = operator(*fakes)
    if by_rule is not None:
        assert layouts(by_rule) == layouts(by_torch)


def layouts(results: Any) -> list[Any]:
    results = [results] if isinstance(results, Tensor) else results
    return [None if t is None else layout(t) for t in results]


def layout(tensor: Tensor) -> Any:
    """But for the strides of sides of length 1, which mean nothing."""
    strides = [s for n, s in zip(tensor.shape, tensor.stride(), strict=True) if n > 1]
    return tensor.shape, strides, tensor.dtype, tensor.untyped_storage().nbytes()


@settings(max_examples=40, deadline=None)
@given(images(), st.booleans())
def test_rules_of_elementwise_operators(image: Tensor, same: bool) -> None:
    other = image if same else image.contiguous()
    check(aten.gelu.default, image)
    check(aten.gelu_backward.default, other, image)
    check(aten.add.Tensor, image, other)


@settings(max_examples=25, deadline=None)
@given(st.tuples(SIDES, SIDES, SIDES), DTYPES, st.tuples(st.booleans(), st.booleans()))
def test_rules_of_layer_norm(
    size: tuple[int, int, int], dtype: torch.dtype, wanted: tuple[bool, bool]
) -> None:
    x = torch.empty(size, dtype=dtype)
    weight = bias = torch.empty(size[-1:], dtype=dtype)
    rows = torch.empty(*size[:-1], 1, dtype=dtype)
    shape = [size[-1]]
    check(aten.native_layer_norm.default, x, shape, weight, bias, 1e-5)
    mask = [*wanted, wanted[1]]
    check(aten.native_layer_norm_backward.default, x, x, shape, rows, rows, weight, bias, mask)


@settings(max_examples=40, deadline=None)
@given(
    images(),
    st.sampled_from([1, 2, 3, 5]),
    st.integers(1, 3),
    st.integers(0, 2),
    st.sampled_from([8, "depthwise"]),
    st.tuples(st.booleans(), st.booleans(), st.booleans()),
)
def test_rules_of_convolution(
    x: Tensor, kernel: int, stride: int, padding: int, outputs: int | str, wanted: tuple[bool, ...]
) -> None:
    if min(x.shape[2:]) + 2 * padding < kernel:
        return
    channels = x.shape[1]
    groups, outputs = (channels, channels) if outputs == "depthwise" else (1, 8)
    weight = torch.empty(outputs, channels // groups, kernel, kernel, dtype=x.dtype)
    bias = torch.empty(outputs, dtype=x.dtype)
    settings = ([stride] * 2, [padding] * 2, [1, 1], False, [0, 0], groups)
    check(aten.convolution.default, x, weight, bias, *settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        out = aten.convolution.default(x, weight, bias, *settings)
    check(aten.convolution_backward.default, out, x, weight, [outputs], *settings, list(wanted))


@settings(max_examples=25, deadline=None)
@given(st.tuples(SIDES, SIDES, SIDES, SIDES), SIDES, DTYPES, st.booleans())
def test_rules_of_attention_and_product(
    size: tuple[int, int, int, int], keys: int, dtype: torch.dtype, of_tokens: bool
) -> None:
    batch, heads, queries, dim = size

    def split(tokens: int) -> Tensor:
        if of_tokens:
            return torch.empty(batch, tokens, 3, heads, dim, dtype=dtype)[:, :, 1].transpose(1, 2)
        return torch.empty(batch, heads, tokens, dim, dtype=dtype)

    query, key = split(queries), split(keys)
    out, sums = torch.empty_like(query), torch.empty(batch, heads, queries)
    attention = aten._scaled_dot_product_flash_attention_for_cpu
    check(attention.default, query, key, key)
    backward = aten._scaled_dot_product_flash_attention_for_cpu_backward.default
    check(backward, out, query, key, key, out, sums, 0.0, False)
    matrix = torch.empty(queries, dim, dtype=dtype)
    check(
        aten.addmm.default,
        torch.empty(keys, dtype=dtype),
        matrix,
        torch.empty(dim, keys, dtype=dtype),
    )
