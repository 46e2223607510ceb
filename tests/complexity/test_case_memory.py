from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paca_bench.complexity.case_memory import predict_case_memories
from paca_bench.complexity.memory import MemoryPrediction, predict_case_memory
from paca_bench.errors import PluginError, SpecError, UnsupportedError
from paca_bench.models.subject import case_cost
from paca_bench.record import Case
from tests.fakes import own_registry

PLUGIN = """
from paca_bench.attention.base import Attention
from paca_bench.attention.registry import register_attention
from paca_bench.complexity.cost import Cost


def cost(*, grid, dim):
    return Cost({}, {})


@register_attention("passing", cost=cost)
class Passing(Attention):
    def __init__(self, *, dim, num_heads, grid, fails=False):
        super().__init__()
        if fails:
            raise ZeroDivisionError("it fails\\nin two lines")

    def forward(self, x, grid, shared=None):
        return x + 1.0
"""


def make_case(mechanism: str = "vit", **changes: Any) -> Case:
    clusters = 9 if mechanism == "paca" else None
    axes: dict[str, Any] = {"level": "layer", "host": "nano", "height": 32, "width": 64}
    return Case(
        **{**axes, "mode": "forward", "mechanism": mechanism, "num_clusters": clusters, **changes}
    )


CASES = st.builds(
    make_case,
    st.sampled_from(["vit", "swin", "paca", "pvt_linear"]),
    height=st.sampled_from([32, 80]),
    mode=st.sampled_from(["forward", "train"]),
    batch=st.integers(1, 3),
    dtype=st.sampled_from(["float32", "bfloat16", "float64"]),
    stage=st.sampled_from([1, 3]),
)


@settings(max_examples=15, deadline=None)
@given(st.lists(CASES, max_size=6))
def test_each_is_what_its_case_alone_gives(cases: list[Case]) -> None:
    # Twice over, so that modules are shared and cases repeated.
    cases = [*cases, *reversed(cases)]
    assert predict_case_memories(cases) == [predict_case_memory(case) for case in cases]


def test_checkpointing_is_a_mode_of_training() -> None:
    modes = ("forward", "checkpointed", "train")
    cases = [make_case("paca", level="host", mode=mode) for mode in modes]
    found = predict_case_memories(cases)
    assert found == [predict_case_memory(case) for case in cases]
    forward, checkpointed, train = (one.peak_bytes for one in found)
    # How much a convolution's backward pass copies, and so the margin, depends on the CPU.
    assert forward < checkpointed <= train


def test_what_goes_wrong_ends_its_case_alone() -> None:
    good = make_case()
    cases = [
        make_case(mode="fit"),
        good,
        make_case(options=(("wings", 2),)),
        replace(good, height=2**31, width=2**31),
        make_case("none"),
    ]
    fit, fine, option, huge, unknown = predict_case_memories(cases)

    assert isinstance(fine, MemoryPrediction)
    assert isinstance(fit, SpecError)
    assert "forward, train, checkpointed, not 'fit'" in str(fit)
    assert isinstance(option, SpecError)
    assert "no option 'wings'" in str(option)
    assert isinstance(huge, UnsupportedError)
    assert str(huge).startswith(f"no memory can be predicted for {cases[3].id}: RuntimeError")
    assert isinstance(unknown, SpecError)


def test_no_cases_no_predictions() -> None:
    assert predict_case_memories([]) == predict_case_memories([], processes=2) == []


@pytest.fixture
def registry() -> Iterator[None]:
    with own_registry():
        yield


@pytest.mark.usefixtures("registry")
def test_other_processes_load_the_plugins(tmp_path: Path) -> None:
    plugin = tmp_path / "passing.py"
    plugin.write_text(PLUGIN)
    cases = [
        make_case("passing"),
        make_case("passing", options=(("fails", True),)),
        make_case(batch=2),
        make_case("passing", batch=3),
    ]
    one, fails, here, three = predict_case_memories(cases, processes=2, plugins=[str(plugin)])

    assert isinstance(one, MemoryPrediction)
    assert isinstance(three, MemoryPrediction)
    assert three.peak_bytes == 3 * one.peak_bytes == 3 * one.input_bytes
    assert str(fails).endswith("ZeroDivisionError: it fails")
    assert here == predict_case_memory(cases[2])


def test_a_plugin_that_other_processes_cannot_load(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="no such file"):
        predict_case_memories([make_case()], processes=2, plugins=[str(tmp_path / "nothing.py")])


@pytest.mark.parametrize("mode", ["forward", "train"])
def test_devices_do_not_share_a_module_that_differs_between_them(mode: str) -> None:
    """Alone on CUDA a paca layer holds its assignment, which is then in its peak."""
    cases = [
        make_case("paca", height=256, width=256, stage=1, mode=mode, num_clusters=100, **changes)
        for changes in (
            {"device": "cpu"},
            {"device": "cuda"},
            {"device": "cuda", "options": (("holds_assignment", False),)},
        )
    ]
    fused, held, chosen = (one.peak_bytes for one in predict_case_memories(cases))
    assert fused < held
    assert chosen < held
    moved = [case_cost(case).moved_elements() for case in cases]
    assert moved[0] == moved[2] == moved[1] - 2 * 64 * 64 * 100
