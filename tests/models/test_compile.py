"""torch.compile takes every mechanism and architecture whole, at a resolution that is not fixed.

``fullgraph`` makes a graph break an error. The backend runs the captured graph as it is: what is
tested is that it can be captured, with sizes as symbols, and still says the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from paca_bench.attention.registry import Grid, get_mechanism
from paca_bench.models.geometry import get_geometry
from paca_bench.models.host import Host
from paca_bench.models.registry import create_model
from tests.attention.cases import SUBJECTS, Subject, tokens

PVT: dict[str, Any] = {
    "widths": (8, 16, 24, 32),
    "depths": (2, 1, 1, 1),
    "num_heads": (1, 2, 3, 4),
}
PACA: dict[str, Any] = {
    "widths": (8, 16, 32, 32),
    "depths": (2, 1, 1, 1),
    "clusters": (5, 4, 3, 0),
}
# One of each architecture and of what it can be made of, small: the graph is what matters.
MODELS: list[tuple[str, dict[str, Any]]] = [
    ("pvt_tiny", PVT),
    ("pvt_v2_b0", PVT),
    ("pvt_v2_b2_li", PVT),
    ("pacavit_tiny_p2cconv_100_0", PACA),
    ("pacavit_small_p2cmlp_100_0", PACA),
    ("pacavit_convmixer_tiny_100", {**PACA, "teacher_depths": (1, 1, 1, 1)}),
]
SWIN: dict[str, Any] = {"dim": 8, "depths": (2, 1, 1, 1), "num_heads": (1, 2, 2, 4)}
SIZES: list[Grid] = [(96, 128), (128, 96), (160, 192)]


@pytest.fixture(autouse=True)
def graphs() -> Iterator[list[int]]:
    """How many nodes each captured graph has, in a list that grows."""
    torch._dynamo.reset()
    captured: list[int] = []
    yield captured
    torch._dynamo.reset()


def compiled(module: nn.Module, graphs: list[int]) -> nn.Module:
    def run_as_it_is(graph: torch.fx.GraphModule, _inputs: list[Tensor]) -> Any:
        graphs.append(len(graph.graph.nodes))
        return graph.forward

    whole: nn.Module = torch.compile(module, fullgraph=True, dynamic=True, backend=run_as_it_is)
    return whole


@pytest.mark.parametrize("subject", SUBJECTS, ids=str)
def test_mechanism(subject: Subject, graphs: list[int]) -> None:
    grids: list[Grid] = [(9, 12), (13, 20)]
    module = subject.build(grids[0])
    fast = compiled(module, graphs)
    for grid in grids:
        x = tokens(grid).requires_grad_()
        torch.testing.assert_close(fast(x, grid), module(x, grid))
    assert graphs


@torch.no_grad()
def agree(module: nn.Module, graphs: list[int], sizes: Sequence[Grid] = SIZES) -> None:
    generator = torch.Generator().manual_seed(0)
    fast = compiled(module.eval(), graphs)
    for size in sizes:
        images = torch.randn(2, 3, *size, generator=generator)
        torch.testing.assert_close(fast(images), module(images))


def host(name: str) -> Host:
    height, width = SIZES[0]
    geometry = get_geometry("pico")
    return Host(get_mechanism(name), geometry, height=height, width=width, num_classes=3)


@pytest.mark.parametrize("name", ["paca", "identity"])
def test_one_graph_of_a_host_serves_all_sizes(name: str, graphs: list[int]) -> None:
    agree(host(name), graphs)
    assert len(graphs) == 1


@pytest.mark.parametrize(("name", "options"), MODELS)
def test_one_graph_of_a_model_serves_all_sizes(
    name: str, options: dict[str, Any], graphs: list[int]
) -> None:
    agree(create_model(name, img_size=SIZES[0], num_classes=3, **options), graphs)
    assert len(graphs) == 1


def test_windows_are_captured_anew_for_a_grid_that_is_not_prepared(graphs: list[int]) -> None:
    agree(host("swin"), graphs, SIZES[:2])
    assert len(graphs) == 2


def test_swin_transformer(graphs: list[int]) -> None:
    model = create_model("swin_tiny_patch4_window7_224", img_size=SIZES[0], num_classes=3, **SWIN)
    agree(model, graphs, SIZES[:2])
    assert len(graphs) == 2


def test_deit_whose_size_is_fixed(graphs: list[int]) -> None:
    size = (64, 96)
    model = create_model("deit_tiny_patch16_224", img_size=size, num_classes=3)
    agree(model, graphs, [size])
    assert len(graphs) == 1
