"""``paca-bench analyze``: what every case must cost, without running any."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from paca_bench.analyzer import analyze, make_analysis_spec
from paca_bench.cli import app
from paca_bench.complexity.memory import predict_case_memory
from paca_bench.errors import NothingMeasuredError, PacaBenchError, SpecError, StoreError
from paca_bench.growth import UnknownGrowthWarning
from paca_bench.models.subject import case_cost
from paca_bench.record import Status
from paca_bench.results import load_results
from paca_bench.store import RunFolder
from tests.fakes import own_registry


@pytest.fixture(autouse=True)
def forget_plugins() -> Iterator[None]:
    """What a test's plugin registers is gone for the next test."""
    with own_registry():
        yield


SMALL = {"res": "64..128:32", "clusters": "4,9", "level": "layer,host"}


def test_every_case_has_the_numbers_of_its_closed_form(tmp_path: Path) -> None:
    run = analyze(out=tmp_path / "run", **SMALL)
    records = RunFolder.open(run).records()
    # vit, swin, pvt, pvt_linear and paca twice, at two levels and three sizes.
    assert len(records) == 6 * 2 * 3
    for record in records:
        cost = case_cost(record.case)
        assert cost is not None
        assert record.status is Status.OK
        assert record.metrics["macs"] == cost.macs
        assert record.metrics["flops"] == 2 * cost.macs
        assert record.metrics["params"] == cost.params
        assert record.metrics["backward_macs"] == cost.backward_macs
        assert record.metrics["moved_bytes"] == 4 * (cost.moved_elements() or 0)
        assert record.metrics["macs_exponent"] == cost.exponent
        assert "predicted_peak_memory_bytes" not in record.metrics


def test_the_run_says_how_each_host_and_model_grows(tmp_path: Path) -> None:
    run = analyze(out=tmp_path / "run", res="64,128", level="host,model", mechanism="vit,paca",
                  clusters="4", model="swin_tiny_patch4_window7_224")  # fmt: skip
    growth = {one["label"]: one for one in RunFolder.open(run).header["growth"]}
    assert set(growth) == {"vit", "paca (M=4)", "swin_tiny_patch4_window7_224"}
    assert growth["paca (M=4)"]["winner"] == "stage4"
    assert growth["vit"]["winner"] is None
    assert {one["resolution"] for one in growth.values()} == {128}


def test_memory_is_predicted_on_demand(tmp_path: Path) -> None:
    run = analyze(out=tmp_path / "run", memory=True, mode="forward,train", batch="1,2",
                  res="64", level="layer", mechanism="vit,swin")  # fmt: skip
    for record in RunFolder.open(run).records():
        expected = predict_case_memory(record.case).peak_bytes
        assert record.metrics["predicted_peak_memory_bytes"] == expected


def test_bytes_are_of_the_call_and_macs_of_one_image(tmp_path: Path) -> None:
    run = analyze(out=tmp_path / "run", res="64", level="layer", mechanism="vit",
                  batch="1,4", dtype="float32,bfloat16", mode="forward,train")  # fmt: skip
    frame = load_results(run).set_index(["mode", "batch", "dtype"])
    assert frame["macs"].nunique() == frame["params"].nunique() == 1
    moved = frame["moved_bytes"]
    assert moved["forward", 1, "float32"] == 2 * moved["forward", 1, "bfloat16"]
    assert moved["train", 1, "float32"] == 3 * moved["forward", 1, "float32"]
    weights = 4 * moved["forward", 1, "float32"] - moved["forward", 4, "float32"]
    assert weights == 3 * 4 * 4 * 32**2


def test_what_cannot_be_is_kept_with_its_reason(tmp_path: Path) -> None:
    plugin = tmp_path / "picky.py"
    plugin.write_text(
        "from paca_bench import register_attention\n"
        "from paca_bench.attention.vit import SelfAttention, vit_cost\n"
        "from paca_bench.errors import UnsupportedError\n"
        "def cost(*, grid, dim):\n"
        "    if grid[0] > 16: raise UnsupportedError('too large for picky')\n"
        "    if grid[0] < 9: return 1 // 0\n"
        "    return vit_cost(grid=grid, dim=dim)\n"
        "@register_attention('picky', cost=cost)\n"
        "class Picky(SelfAttention):\n"
        "    pass\n"
    )
    run = analyze(out=tmp_path / "run", res="32,64,128", level="layer", mechanism="picky",
                  plugin=str(plugin), memory=True)  # fmt: skip
    small, middle, large = RunFolder.open(run).records()
    assert small.status is Status.ERROR
    assert "ZeroDivisionError" in small.reason
    assert middle.status is Status.OK
    assert (large.status, large.reason) == (Status.NOT_SUPPORTED, "complexity: too large for picky")
    assert large.metrics == {}
    with pytest.raises(NothingMeasuredError, match="too large for picky"):
        analyze(out=tmp_path / "other", res="128", level="layer", mechanism="picky")


@pytest.mark.parametrize(
    ("given", "levels"),
    [
        ({}, ("layer", "host", "model")),
        ({"mechanism": "vit"}, ("host", "layer")),
        ({"model": "pvt_tiny"}, ("model",)),
        ({"model": "pvt_tiny", "level": "model,host"}, ("model", "host")),
    ],
)
def test_the_levels_that_are_looked_at(given: dict[str, Any], levels: tuple[str, ...]) -> None:
    spec = make_analysis_spec({"res": "64", **given})
    assert spec.levels == levels
    assert spec.modes == ("forward",)
    assert spec.metrics == ("complexity",)


def test_what_is_there_already_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("mine")
    with pytest.raises(StoreError, match="is not empty"):
        analyze(out=tmp_path / "run", **SMALL)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["mine.txt"]
    with pytest.raises(SpecError, match="no resolution given"):
        analyze(out=tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_the_command_reports(tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = CliRunner().invoke(
        app, ["analyze", "--res", "64..128:32", "--mechanism", "vit,paca", "--out", str(out)]
    )
    assert result.exit_code == 0
    assert (out / "report.html").exists()
    assert str(out) in result.stdout


# ---- equal cost


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("iso") / "run"
    return analyze(out=out, res="64..512:64", level="layer", mechanism="vit,paca", clusters="4,9",
                   memory=True, mode="forward,train")  # fmt: skip


def iso(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["iso", *arguments])


def test_at_equal_cost_a_linear_mechanism_reaches_further(run: Path) -> None:
    rows = json.loads(iso(str(run), "--json").stdout)["resolutions"]
    assert {row["label"] for row in rows} == {"paca (M=4)", "paca (M=9)"}
    assert {row["mode"] for row in rows} == {"forward"}
    for row in rows:
        if row["same_cost_resolution"] is not None:
            assert row["same_cost_resolution"] > row["resolution"]
            assert row["same_cost_low"] <= row["same_cost_resolution"] <= row["same_cost_high"]
    assert "Side in pixels for the cost of vit" in iso(str(run)).stdout


def test_memory_is_compared_by_its_prediction_where_it_was_not_measured(run: Path) -> None:
    rows = json.loads(iso(str(run), "--metric", "memory", "--json").stdout)["resolutions"]
    assert {row["metric"] for row in rows} == {"predicted_peak_memory_bytes"}
    assert {row["mode"] for row in rows} == {"forward", "train"}


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--metric", "speed"], 2, "--metric 'speed' does not exist"),
        (["--reference", "vti"], 2, "--reference 'vti' is not in the run; did you mean 'vit'?"),
        (["--metric", "latency"], 3, "has no latency of vit"),
    ],
)
def test_what_cannot_be_compared_is_an_error(
    run: Path, arguments: list[str], code: int, says: str
) -> None:
    error = iso(str(run), *arguments).exception
    assert isinstance(error, PacaBenchError)
    assert error.exit_code == code
    assert says in str(error)


def test_a_closed_form_that_fails_at_some_size_ends_nothing_else(tmp_path: Path) -> None:
    plugin = tmp_path / "brittle.py"
    plugin.write_text(
        "from paca_bench import register_attention\n"
        "from paca_bench.attention.pvt import pvt_linear_cost\n"
        "from paca_bench.attention.vit import SelfAttention, vit_cost\n"
        "def cost(*, grid, dim):\n"
        "    assert grid[0] < 999, 'I am for small grids'\n"
        "    if dim == 256: return vit_cost(grid=grid, dim=dim)\n"
        "    return pvt_linear_cost(grid=grid, dim=dim, pool_size=7)\n"
        "@register_attention('brittle', cost=cost)\n"
        "class Brittle(SelfAttention):\n"
        "    pass\n"
    )
    with pytest.warns(UnknownGrowthWarning, match="growth of brittle.*I am for small grids"):
        run = analyze(out=tmp_path / "run", res="64", level="host", mechanism="brittle,paca",
                      clusters="4", plugin=str(plugin))  # fmt: skip
    opened = RunFolder.open(run)
    assert [record.status for record in opened.records()] == [Status.OK, Status.OK]
    assert [one["label"] for one in opened.header["growth"]] == ["paca (M=4)"]
