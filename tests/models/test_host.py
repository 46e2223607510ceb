"""The host pyramid: the same for all mechanisms, but for the attention in its blocks."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from paca_bench.attention.paca import Clustering, PatchToClusterAttention
from paca_bench.attention.pvt import SpatialReductionAttention
from paca_bench.attention.registry import Grid, get_mechanism, mechanisms
from paca_bench.attention.swin import WindowAttention
from paca_bench.errors import SpecError
from paca_bench.models.geometry import (
    GEOMETRIES,
    Geometry,
    get_geometry,
    host_cost,
    local_reach,
    stage_grid,
)
from paca_bench.models.host import Host
from tests.attention import naive
from tests.attention.cases import randomise

NANO = get_geometry("nano")
# Three blocks in a stage, to tell "every second" and "all but the first" apart.
DEEP = Geometry("deep", (16, 24, 32, 48), (1, 2, 4, 4), (3, 3, 3, 3))
SIZES = [(32, 32), (64, 64), (224, 160)]

each_mechanism = pytest.mark.parametrize("name", sorted(mechanisms()))
each_size = pytest.mark.parametrize("size", SIZES, ids=lambda s: f"{s[0]}x{s[1]}")


def build(name: str, size: Grid, geometry: Geometry = NANO, **options: Any) -> Host:
    height, width = size
    mechanism = get_mechanism(name)
    return Host(mechanism, geometry, height=height, width=width, num_classes=10, **options)


def images(size: Grid, batch: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, 3, *size, generator=generator)


@each_mechanism
@each_size
def test_builds_and_runs(name: str, size: Grid) -> None:
    host = build(name, size)
    with torch.no_grad():
        logits = host(images(size))
    assert logits.shape == (2, 10)
    assert logits.isfinite().all()
    assert (logits[0] - logits[1]).abs().max() > 1e-6


@each_mechanism
@pytest.mark.parametrize("size", [(33, 47), (64, 96)], ids=str)
@torch.no_grad()
def test_runs_at_another_size_than_built_for(name: str, size: Grid) -> None:
    # 40 x 72 gives every stage another grid than the sizes here, and PVT its 8 x 8 tokens.
    elsewhere, here = build(name, (40, 72), DEEP), build(name, size, DEEP)
    elsewhere.load_state_dict(here.state_dict())
    assert torch.equal(elsewhere(images(size)), here(images(size)))


@each_mechanism
def test_every_parameter_receives_a_gradient(name: str) -> None:
    size = (64, 64)
    host = build(name, size, DEEP)
    randomise(host, 0)
    host.double()
    logits = host(images(size).double())
    functional.cross_entropy(logits, torch.tensor([1, 2])).backward()
    grads = {key: p.grad for key, p in host.named_parameters()}
    assert all(g is not None and g.isfinite().all() for g in grads.values())
    dead = {key for key, g in grads.items() if g.abs().max() < 1e-14}
    # The key bias moves all scores of a query together, which softmax does not see.
    # A control adds nothing, whatever the norm before it gives.
    without_effect = "norm1." if get_mechanism(name).control else "attention.k.bias"
    assert all(without_effect in key for key in dead)


@each_mechanism
@pytest.mark.parametrize("geometry", [*GEOMETRIES.values(), DEEP], ids=lambda g: g.name)
def test_closed_form_parameters_are_those_of_the_module(name: str, geometry: Geometry) -> None:
    for height, width in SIZES:
        with torch.device("meta"):
            host = build(name, (height, width), geometry)
        cost = host_cost(get_mechanism(name), geometry, height, width, num_classes=10)
        assert cost.params == sum(p.numel() for p in host.parameters())


def outside_attention(host: Host) -> list[tuple[str, torch.Size]]:
    entries = host.state_dict().items()
    return [(key, value.shape) for key, value in entries if ".attention." not in key]


@each_mechanism
def test_hosts_differ_in_nothing_but_attention(name: str) -> None:
    size = (64, 64)
    host, reference = build(name, size), build("vit", size)
    assert outside_attention(host) == outside_attention(reference)
    costs = [host_cost(get_mechanism(n), NANO, *size, num_classes=10).terms for n in (name, "vit")]
    rest, reference_rest = (
        {term: macs for term, macs in c.items() if ".attention" not in term} for c in costs
    )
    assert rest == reference_rest
    assert rest


def naive_host(p: dict[str, Tensor], image: Tensor, geometry: Geometry) -> Tensor:
    """The host with plain attention, in functions of its weights."""

    def norm(x: Tensor, name: str) -> Tensor:
        return naive.layer_norm(p, name, x, 1e-6)

    def sub(name: str) -> dict[str, Tensor]:
        return {k.removeprefix(f"{name}."): v for k, v in p.items() if k.startswith(f"{name}.")}

    for stage, (depth, heads) in enumerate(zip(geometry.depths, geometry.heads, strict=True)):
        for layer in range(2 if stage == 0 else 1):
            name = f"downsamples.{stage}.convolutions.{layer}"
            weight, bias = p[f"{name}.weight"], p[f"{name}.bias"]
            image = functional.conv2d(image, weight, bias, stride=2, padding=1)
        grid = (image.shape[2], image.shape[3])
        x = norm(image.flatten(2).mT, f"downsamples.{stage}.norm")
        for block in range(depth):
            name = f"stages.{stage}.{block}"
            x = x + naive.vit(sub(f"{name}.attention"), norm(x, f"{name}.norm1"), grid, heads)
            h = naive.linear(p, f"{name}.mlp.fc1", norm(x, f"{name}.norm2"))
            h = naive.gelu(h + naive.depthwise(p, f"{name}.mlp.depthwise", h, grid))
            x = x + naive.linear(p, f"{name}.mlp.fc2", h)
        image = x.mT.unflatten(2, grid)
    return naive.linear(p, "head", norm(x, "norm").mean(1))


@torch.no_grad()
def test_host_is_what_its_description_says() -> None:
    size = (33, 47)
    host = build("vit", size, DEEP)
    randomise(host, 0)
    host.double()
    image = images(size).double()
    expected = naive_host(dict(host.named_parameters()), image, DEEP)
    torch.testing.assert_close(host(image), expected, rtol=1e-11, atol=1e-11)


def calls(host: nn.Module, kind: type[nn.Module]) -> list[tuple[str, tuple[Any, ...]]]:
    """A list that every forward of a module of ``kind`` adds its name and arguments to."""
    seen: list[tuple[str, tuple[Any, ...]]] = []
    for name, module in host.named_modules():
        if isinstance(module, kind):
            module.register_forward_pre_hook(lambda _, args, n=name: seen.append((n, args)))
    return seen


@torch.no_grad()
def test_paca_shares_one_assignment_in_each_of_the_first_three_stages() -> None:
    size = (64, 96)
    host = build("paca", size, DEEP, num_clusters=9)
    made, attended = calls(host, Clustering), calls(host, PatchToClusterAttention)
    host(images(size))
    assert [name for name, _ in made] == [
        f"stages.{stage}.0.attention.clustering" for stage in range(3)
    ]
    assert len(attended) == 12
    for stage in range(4):
        shared = [args[2] for name, args in attended if name.startswith(f"stages.{stage}.")]
        if stage == 3:
            assert shared == [None] * 3
        else:
            tokens = math.prod(stage_grid(*size, stage + 1))
            assert shared[0].shape == (2, 9, tokens)
            assert shared[1] is shared[0]
            assert shared[2] is shared[0]


@torch.no_grad()
def test_paca_block_wise_makes_an_assignment_in_every_block() -> None:
    host = build("paca", (64, 64), DEEP, num_clusters=9, shares_assignment=False)
    made, attended = calls(host, Clustering), calls(host, PatchToClusterAttention)
    host(images((64, 64)))
    assert len(made) == 9
    assert len({id(args[2]) for _, args in attended if args[2] is not None}) == 9
    cost = host_cost(get_mechanism("paca"), DEEP, 64, 64, num_clusters=9, shares_assignment=False)
    shared = host_cost(get_mechanism("paca"), DEEP, 64, 64, num_clusters=9)
    once, thrice = (c.terms["stage2.attention.clustering"] for c in (shared, cost))
    assert thrice == 3 * once


def test_paca_fourth_stage_is_plain_attention() -> None:
    host = build("paca", (64, 64), DEEP)
    clusters = [[b.attention.num_clusters for b in blocks] for blocks in host.stages]
    assert clusters == [[100] * 3] * 3 + [[0] * 3]
    assert not [
        key for key in host.state_dict() if key.startswith("stages.3.") and "cluster" in key
    ]


def test_pvt_reduces_by_8_4_2_1() -> None:
    host = build("pvt", (64, 64), DEEP)
    ratios = [m.sr_ratio for m in host.modules() if isinstance(m, SpatialReductionAttention)]
    assert ratios == [8] * 3 + [4] * 3 + [2] * 3 + [1] * 3


def test_swin_shifts_every_second_block() -> None:
    host = build("swin", (64, 64), DEEP)
    shifted = [m.shifted for m in host.modules() if isinstance(m, WindowAttention)]
    assert shifted == [False, True, False] * 4


def test_options_reach_every_block() -> None:
    host = build("swin", (64, 64), DEEP, window_size=4)
    assert {m.window_size for m in host.modules() if isinstance(m, WindowAttention)} == {4}
    with pytest.raises(SpecError, match="swin has no option 'window'"):
        build("swin", (64, 64), DEEP, window=4)
    with pytest.raises(SpecError, match="swin has no option 'window'"):
        host_cost(get_mechanism("swin"), DEEP, 64, 64, window=4)


@pytest.mark.parametrize("size", [(224, 224), (33, 47), (1, 1), (230, 170)], ids=str)
def test_stage_grids_are_those_of_the_convolutions(size: Grid) -> None:
    image = torch.empty(1, 3, *size, device="meta")
    convolution = nn.Conv2d(3, 3, 3, stride=2, padding=1, device="meta")
    image = convolution(image)
    for stage in (1, 2, 3, 4):
        image = convolution(image)
        assert stage_grid(*size, stage) == image.shape[2:]


@pytest.mark.parametrize("name", ["pico", "nano"])
@pytest.mark.parametrize("stage", [1, 2, 3, 4])
def test_without_attention_a_token_sees_what_local_reach_says(name: str, stage: int) -> None:
    """The pixels on which a token in the middle depends, by its gradient."""
    geometry = get_geometry(name)
    reach = local_reach(geometry, stage)
    side = -(-(reach + 2) // 32) * 32
    host = build("identity", (side, side), geometry)
    images = torch.randn(1, 3, side, side, requires_grad=True)
    tokens = host.forward_features(images)[stage - 1]
    middle = tokens.shape[-1] // 2
    tokens[0, :, middle, middle].sum().backward()
    assert images.grad is not None
    columns = (images.grad[0] != 0).any(0).any(0).nonzero().flatten()
    assert int(columns[-1] - columns[0]) + 1 == reach


def test_unknown_host_lists_the_known() -> None:
    with pytest.raises(SpecError, match="unknown host 'huge'; choose from pico, nano, tiny, small"):
        get_geometry("huge")
