"""Registration: by a decorator alone, and refused early where it could not work later."""

from __future__ import annotations

import inspect
import pkgutil

import pytest
import torch
from torch import Tensor, nn

import paca_bench.attention
from paca_bench.attention import registry
from paca_bench.attention.base import Attention
from paca_bench.attention.registry import (
    Grid,
    Place,
    attention_cost,
    create_attention,
    get_mechanism,
    mechanisms,
    register_attention,
)
from paca_bench.complexity.cost import Cost
from paca_bench.complexity.expr import symbols
from paca_bench.errors import PluginError, SpecError

N, C = symbols("N C")


@pytest.fixture(autouse=True)
def _registrations_are_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_mechanisms", mechanisms())


def mean_cost(*, grid: Grid, dim: int) -> Cost:
    return Cost({"projection": N * C**2}, {"N": grid[0] * grid[1], "C": dim})


class Mean(Attention):
    """Every token becomes ``scale`` times the projected mean of all."""

    def __init__(self, *, dim: int, num_heads: int, grid: Grid, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, grid: Grid, shared: Tensor | None = None) -> Tensor:
        return self.scale * self.proj(x.mean(dim=1, keepdim=True)).expand_as(x)


class Required(Mean):
    """With an option that has no default."""

    def __init__(self, *, dim: int, num_heads: int, grid: Grid, power: int) -> None:
        super().__init__(dim=dim, num_heads=num_heads, grid=grid)


def test_built_ins_are_the_modules_of_the_package() -> None:
    """No list: the mechanisms are what importing the package's modules registers."""
    modules = {
        f"paca_bench.attention.{m.name}"
        for m in pkgutil.iter_modules(paca_bench.attention.__path__)
    }
    found = {m.module.__module__ for m in mechanisms().values()}
    assert found < modules
    parts = ("activation", "base", "registry")
    assert modules - found == {f"paca_bench.attention.{part}" for part in parts}
    for mechanism in mechanisms().values():
        assert mechanism.title
        assert mechanism.source
        assert inspect.getdoc(mechanism.module)


def test_a_class_of_ones_own_is_built_and_costed_like_a_built_in() -> None:
    assert register_attention("mean", cost=mean_cost)(Mean) is Mean
    module = create_attention("mean", dim=8, num_heads=2, grid=(2, 3), scale=2.0)
    assert isinstance(module, Mean)
    assert module(torch.ones(1, 6, 8), (2, 3)).shape == (1, 6, 8)
    assert attention_cost("mean", dim=8, num_heads=2, grid=(2, 3)).macs == 6 * 64
    mechanism = get_mechanism("mean")
    assert mechanism.title == "mean"
    assert mechanism.defaults == {"scale": 1.0}
    assert not mechanism.has_clusters
    assert mechanism.stage_options(Place(2, 1), {"scale": 3.0}) == {"scale": 3.0}
    with pytest.raises(SpecError, match="mean has no option 'scales'"):
        create_attention("mean", dim=8, num_heads=2, grid=(2, 3), scales=2.0)


def test_mechanisms_is_a_copy() -> None:
    mechanisms().clear()
    assert "vit" in mechanisms()


def test_a_required_option_must_be_given() -> None:
    register_attention("required", cost=mean_cost)(Required)
    with pytest.raises(SpecError, match="required needs a value for power"):
        create_attention("required", dim=8, num_heads=2, grid=(2, 3))
    create_attention("required", dim=8, num_heads=2, grid=(2, 3), power=2)


def test_has_clusters_is_read_from_the_constructor() -> None:
    assert {name for name, m in mechanisms().items() if m.has_clusters} == {"paca"}


def test_a_control_says_so() -> None:
    assert {name for name, m in mechanisms().items() if m.control} == {"identity"}
    register_attention("mine", cost=mean_cost, control=True)(Mean)
    assert get_mechanism("mine").control


def test_a_name_is_registered_once() -> None:
    with pytest.raises(PluginError, match=r"'vit' is already registered by .*SelfAttention"):
        register_attention("vit", cost=mean_cost)(Mean)
    register_attention("mean", cost=mean_cost)(Mean)
    with pytest.raises(PluginError, match="choose another name"):
        register_attention("mean", cost=mean_cost)(Mean)


@pytest.mark.parametrize("name", ["", "Mean", "my-mean", "2mean", "mean ", "_mean", "méan"])
def test_a_malformed_name_is_refused(name: str) -> None:
    with pytest.raises(PluginError, match="use lower-case letters, digits and _"):
        register_attention(name, cost=mean_cost)(Mean)
    assert name not in mechanisms()


def test_only_attention_is_registered() -> None:
    for thing in (nn.Linear, Mean(dim=8, num_heads=2, grid=(2, 3)), lambda: None):
        with pytest.raises(PluginError, match="is not a subclass of Attention"):
            register_attention("mean", cost=mean_cost)(thing)


def test_the_constructor_takes_the_shape() -> None:
    class NoGrid(Mean):
        def __init__(self, *, dim: int) -> None:
            super().__init__(dim=dim, num_heads=1, grid=(1, 1))

    with pytest.raises(PluginError, match="its constructor lacks num_heads, grid"):
        register_attention("mean", cost=mean_cost)(NoGrid)


def test_the_cost_asks_only_for_what_the_class_has() -> None:
    def cost(*, grid: Grid, dim: int, window_size: int) -> Cost:
        raise AssertionError("never called")

    with pytest.raises(PluginError, match=r"its cost asks for window_size, .*scale\)"):
        register_attention("mean", cost=cost)(Mean)


def test_public_functions_take_the_shape_by_keyword() -> None:
    """``create_attention("paca", dim=64, ...)``, as the documentation says."""
    for function in (create_attention, attention_cost):
        parameters = inspect.signature(function).parameters
        kinds = {name: p.kind.name for name, p in parameters.items()}
        assert kinds == {
            "mechanism": "POSITIONAL_OR_KEYWORD",
            "dim": "KEYWORD_ONLY",
            "num_heads": "KEYWORD_ONLY",
            "grid": "KEYWORD_ONLY",
            "params": "VAR_KEYWORD",
        }
