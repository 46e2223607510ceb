"""Gates of a real project with a plugin: its own code on each side, real workers."""

import pytest

from paca_bench.gate import gate
from paca_bench.gate.output import gate_json
from tests.gate.project import make_project, write

KERNEL = """
from torch import nn
from helper import WIDTH
from paca_bench import register_attention
from paca_bench.attention.base import Attention
from paca_bench.complexity.cost import Cost
from paca_bench.complexity.expr import symbols

N, C = symbols("N C")

@register_attention("mine", cost=lambda *, grid, dim: Cost(
    {{"all": {layers} * N * C**2}},
    {{"N": grid[0] * grid[1], "C": dim}},
    {{"all": {layers} * (C**2 + C)}},
))
class Mine(Attention):
    def __init__(self, *, dim, num_heads, grid):
        super().__init__()
        self.layers = nn.Sequential(*(nn.Linear(dim, dim) for _ in range({layers})))

    def forward(self, x, grid, shared=None):
        return self.layers(x)
"""
SETTINGS = {"plugin": "kernel.py", "mechanism": "mine", "level": "layer", "mode": "forward"}


def kernel(layers):
    return KERNEL.format(layers=layers)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("real") / "project"
    return make_project(
        folder,
        {"kernel.py": kernel(1), "helper.py": "WIDTH = 1"},
        {"kernel.py": kernel(2)},
    )


@pytest.fixture
def gated(project, monkeypatch):
    monkeypatch.chdir(project)
    return lambda *revisions, **more: gate(*revisions, **{**SETTINGS, "res": 32, **more})


def test_each_side_runs_its_own_code(gated, project):
    """The helper beside the plugin is each side's own too; what is edited meanwhile is neither."""
    write(project, {"kernel.py": kernel(1), "helper.py": "WIDTH = 2"})
    found = gated("v2", static_only=True, fail_on="macs!=0")
    assert found.exit_code == 1
    (case,) = found.comparison.cases
    macs = {static.name: (static.base, static.new) for static in case.statics}["macs"]
    assert macs[0] == 2 * macs[1]


def test_a_real_gate_measures_both_sides_and_keeps_the_null(gated, tmp_path):
    # Too short to decide anything, so that no noise of the machine can call it a regression.
    found = gated("v1", "v1", budget="1s", out=tmp_path / "runs")
    assert found.exit_code == 0
    (case,) = found.comparison.cases
    assert len(case.base.processes) == 2 * len(case.new.processes) >= 4
    (facts,) = gate_json(found)["gate"]["cases"].values()
    assert facts["launches"] >= 2
