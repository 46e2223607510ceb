"""What every registered mechanism keeps, whatever it computes."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from paca_bench.attention.base import Attention, tokens_to_map
from paca_bench.attention.registry import Grid, attention_cost, create_attention, mechanisms
from paca_bench.errors import SpecError, UnsupportedError
from tests.attention.cases import DIM, GRIDS, HEADS, SUBJECTS, Subject, randomise, tokens
from tests.attention.naive import REFERENCES

each_subject = pytest.mark.parametrize("subject", SUBJECTS, ids=str)
each_pair = pytest.mark.parametrize(
    ("subject", "grid"),
    [pytest.param(s, g, id=f"{s}-{g[0]}x{g[1]}") for s in SUBJECTS for g in GRIDS if s.supports(g)],
)
each_unsupported_pair = pytest.mark.parametrize(
    ("subject", "grid"),
    [
        pytest.param(s, g, id=f"{s}-{g[0]}x{g[1]}")
        for s in SUBJECTS
        for g in GRIDS
        if not s.supports(g)
    ],
)


def gradients(module: nn.Module, x: Tensor, grid: Grid) -> tuple[Tensor, dict[str, Tensor]]:
    """The output, and the gradients of a weighted sum of it: of every parameter and of ``x``."""
    module.zero_grad()
    x = x.clone().requires_grad_()
    out = module(x, grid)
    (out * weights_of(out)).sum().backward()
    named = {name: p.grad for name, p in module.named_parameters()}
    return out.detach(), {name: g.clone() for name, g in {**named, "x": x.grad}.items()}


def weights_of(out: Tensor) -> Tensor:
    """Fixed weights, as the plain sum of a softmax has no gradient."""
    return torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out).cos()


def test_every_mechanism_and_option_is_covered() -> None:
    known = mechanisms()
    assert {s.mechanism for s in SUBJECTS} == known.keys() == REFERENCES.keys()
    for name, mechanism in known.items():
        varied = {option for s in SUBJECTS if s.mechanism == name for option in s.options}
        # Sharing is tested with the golden outputs and the host: alone it computes nothing.
        assert varied == mechanism.defaults.keys() - {"shares_assignment"}, name


@each_pair
def test_shape_reference_and_gradients(subject: Subject, grid: Grid) -> None:
    module = subject.build(grid)
    out, grads = gradients(module, tokens(grid), grid)
    assert out.shape == (2, grid[0] * grid[1], DIM)
    assert out.dtype == torch.float32

    x = tokens(grid).double().requires_grad_()
    params = {n: p.detach().double().requires_grad_() for n, p in module.named_parameters()}
    expected = REFERENCES[subject.mechanism](params, x, grid, HEADS, **subject.options)
    (expected * weights_of(expected)).sum().backward()
    torch.testing.assert_close(out.double(), expected.detach(), rtol=0, atol=1e-5)
    leaves = {**params, "x": x}
    # One scale for all: the key bias has no effect, so that its gradient is rounding alone.
    scale = max(leaf.grad.abs().max().item() for leaf in leaves.values())
    for name, leaf in leaves.items():
        error = (grads[name].double() - leaf.grad).abs().max().item()
        assert error <= 1e-5 * max(scale, 1), name


@each_pair
def test_float64_is_the_reference_to_rounding(subject: Subject, grid: Grid) -> None:
    module = subject.build(grid, dtype=torch.float64)
    x = tokens(grid, dtype=torch.float64)
    params = dict(module.named_parameters())
    expected = REFERENCES[subject.mechanism](params, x, grid, HEADS, **subject.options)
    torch.testing.assert_close(module(x, grid), expected, rtol=0, atol=1e-12)


@each_pair
def test_any_grid_after_building_for_another(subject: Subject, grid: Grid) -> None:
    elsewhere, here = subject.build((9, 15)), subject.build(grid)
    # Strict: no entry of the state may depend on the grid.
    elsewhere.load_state_dict(here.state_dict())
    x = tokens(grid)
    assert torch.equal(elsewhere(x, grid), here(x, grid))


@each_unsupported_pair
def test_a_grid_that_cannot_work_is_refused_with_what_can(subject: Subject, grid: Grid) -> None:
    side = subject.smallest_side
    message = rf"at least {side}x{side} tokens, not {grid[0]}x{grid[1]}"
    with pytest.raises(UnsupportedError, match=message):
        subject.build(grid)
    with pytest.raises(UnsupportedError, match=message):
        attention_cost(subject.mechanism, dim=DIM, num_heads=HEADS, grid=grid, **subject.options)
    with pytest.raises(UnsupportedError, match=message):
        subject.build((16, 16))(tokens(grid), grid)


# Options that keep the Jacobians small.
GRADCHECKED = [
    Subject("vit", {}),
    Subject("swin", {"window_size": 2, "shifted": True}),
    Subject("pvt", {"sr_ratio": 2}),
    Subject("pvt_linear", {"pool_size": 2}),
    Subject("paca", {"num_clusters": 2, "kernel_size": 3}),
    Subject("paca", {"num_clusters": 2, "clustering": "mlp"}),
    Subject("paca", {"num_clusters": 2, "clustering": "linear", "cluster_norm": False}),
]


@pytest.mark.parametrize("subject", GRADCHECKED, ids=str)
def test_gradcheck(subject: Subject) -> None:
    grid, dim = (3, 5), 4
    module = create_attention(
        subject.mechanism, dim=dim, num_heads=2, grid=grid, **subject.options
    ).double()
    randomise(module, 0)
    names = [name for name, _ in module.named_parameters()]
    leaves = [p.detach().requires_grad_() for p in module.parameters()]
    x = tokens(grid, batch=1, dim=dim, dtype=torch.float64).requires_grad_()

    def call(x: Tensor, *values: Tensor) -> Tensor:
        return torch.func.functional_call(module, dict(zip(names, values, strict=True)), (x, grid))

    assert torch.autograd.gradcheck(call, (x, *leaves))


# Softmax does not change when all its scores move together, so these have no effect at all.
WITHOUT_EFFECT = {"k.bias", "clustering.clustering.2.bias"}


@each_subject
def test_every_parameter_receives_a_gradient(subject: Subject) -> None:
    grid = (16, 17)
    _, grads = gradients(subject.build(grid, dtype=torch.float64), tokens(grid).double(), grid)
    assert all(g.isfinite().all() for g in grads.values())
    mlp = subject.options.get("clustering") == "mlp"
    without_effect = WITHOUT_EFFECT if mlp else {"k.bias"}
    if subject.options.get("num_clusters") == 1:  # one key: all attention goes to it
        without_effect = without_effect | {"q.weight", "q.bias", "k.weight"}
    if subject.options.get("window_size") == 1:
        without_effect = without_effect | {"relative_position_bias_table"}
    if subject.mechanism == "identity":  # nor does the input
        without_effect = {"x"}
    dead = {name for name, g in grads.items() if g.abs().max() < 1e-9}
    assert dead == without_effect & grads.keys()


@each_subject
def test_closed_form_parameters_are_those_of_the_module(subject: Subject) -> None:
    for grid in ((8, 8), (13, 17)):
        cost = attention_cost(
            subject.mechanism, dim=DIM, num_heads=HEADS, grid=grid, **subject.options
        )
        assert cost.params == sum(p.numel() for p in subject.build(grid).parameters())
        assert cost.flops == 2 * cost.macs
        assert all(isinstance(macs, int) and macs > 0 for macs in cost.terms.values())


@each_subject
def test_rows_of_a_batch_do_not_touch_each_other(subject: Subject) -> None:
    grid = (9, 8)
    module = subject.build(grid)
    x = tokens(grid, batch=3)
    clean = module(x, grid)
    x[1] = math.nan
    spoiled = module(x, grid)
    assert torch.equal(spoiled[[0, 2]], clean[[0, 2]])
    assert spoiled[1].isnan().all()
    torch.testing.assert_close(module(x[:1], grid), clean[:1], rtol=0, atol=1e-6)


@each_subject
def test_same_input_gives_the_same_bits(subject: Subject) -> None:
    grid = (9, 8)
    module = subject.build(grid)
    first, second = (gradients(module, tokens(grid), grid) for _ in range(2))
    assert torch.equal(first[0], second[0])
    assert all(torch.equal(first[1][name], second[1][name]) for name in first[1])
    assert torch.equal(copy.deepcopy(module).train()(tokens(grid), grid), first[0])
    assert torch.equal(copy.deepcopy(module).eval()(tokens(grid), grid), first[0])


@each_subject
def test_input_is_left_alone_and_may_be_strided(subject: Subject) -> None:
    grid = (9, 8)
    module = subject.build(grid)
    x = tokens(grid)
    strided = x.transpose(1, 2).contiguous().transpose(1, 2)
    assert not strided.is_contiguous()
    torch.testing.assert_close(module(strided, grid), module(x, grid), rtol=0, atol=1e-6)
    assert torch.equal(x, tokens(grid))


@pytest.fixture
def poisoned_memory() -> Iterator[None]:
    """Memory that nobody wrote holds NaN (or the largest integer)."""
    torch.use_deterministic_algorithms(True)
    assert torch.utils.deterministic.fill_uninitialized_memory
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)


@each_subject
def test_nothing_is_read_before_it_is_written(
    subject: Subject, request: pytest.FixtureRequest
) -> None:
    grid = (9, 8)
    out, grads = gradients(subject.build(grid), tokens(grid), grid)
    request.getfixturevalue("poisoned_memory")
    fresh = create_attention(
        subject.mechanism, dim=DIM, num_heads=HEADS, grid=grid, **subject.options
    )
    assert all(value.isfinite().all() for value in fresh.state_dict().values())
    poisoned_out, poisoned_grads = gradients(subject.build(grid), tokens(grid), grid)
    assert torch.equal(out, poisoned_out)
    assert all(torch.equal(grads[name], poisoned_grads[name]) for name in grads)


@each_subject
@pytest.mark.parametrize("shape", [(2, 71, DIM), (2, 9, 8, DIM), (DIM, 72)], ids=str)
def test_tokens_off_the_grid_are_refused(subject: Subject, shape: tuple[int, ...]) -> None:
    module = subject.build((9, 8))
    with pytest.raises(SpecError, match=r"grid 9x8; expected \[B, 72, C\]"):
        module(torch.zeros(shape), (9, 8))


@each_subject
def test_half_precision_stays_near(subject: Subject) -> None:
    grid = (9, 8)
    module = subject.build(grid)
    reduction = getattr(module, "sr", None)
    if isinstance(reduction, nn.Conv2d) and not right_in_half(reduction, grid):
        pytest.skip("torch's bfloat16 convolution is wrong on this CPU (oneDNN with AMX)")
    expected = module(tokens(grid), grid)
    out = copy.deepcopy(module).bfloat16()(tokens(grid).bfloat16(), grid)
    assert out.dtype == torch.bfloat16
    # bfloat16 keeps 8 bits: 0.4 percent a rounding, and a handful of roundings in a row.
    scale = expected.abs().max().item()
    torch.testing.assert_close(out.float(), expected, rtol=0, atol=0.05 * scale)


def right_in_half(convolution: nn.Conv2d, grid: Grid) -> bool:
    """Whether torch's own bfloat16 convolution is near that in float32.

    On CPUs with AMX that of few channels and a kernel as large as its stride is not.
    """
    image = tokens_to_map(tokens(grid), grid)
    expected = convolution(image)
    error = copy.deepcopy(convolution).bfloat16()(image.bfloat16()).float() - expected
    return bool(error.abs().max() < 0.05 * expected.abs().max())


def test_interface_alone_computes_nothing() -> None:
    base = Attention()
    assert base.make_shared(tokens((2, 2)), (2, 2)) is None
    with pytest.raises(NotImplementedError):
        base(tokens((2, 2)), (2, 2))
