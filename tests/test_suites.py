"""The suites that ship, and that an installation holds what the checkout does."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from paca_bench.plan import make_plan
from paca_bench.predicted_time import Machine
from paca_bench.spec import DEFAULT_METRICS, make_spec, read_suite, suite_names, suite_title

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "suites").glob("*.toml"))
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS = PYPROJECT["tool"]["setuptools"]


def test_the_names_are_the_files() -> None:
    assert {"smoke", "resolution", "clusters", "accuracy_smoke"} <= set(suite_names())
    assert suite_names() == [path.stem for path in FILES]


@pytest.mark.parametrize("name", [path.stem for path in FILES])
def test_each_makes_a_plan_with_something_to_do(name: str) -> None:
    spec = make_spec(read_suite(name))
    assert suite_title(name)
    planned = make_plan(spec, "cpu", Machine(4e10))
    assert any(one.to_run for one in planned)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_each_can_be_named_by_its_file(path: Path) -> None:
    assert read_suite(str(path)) == read_suite(path.stem) == read_suite(path.name)


def test_smoke_is_small_and_has_every_part_once() -> None:
    spec = make_spec(read_suite("smoke"))
    assert spec.metrics == DEFAULT_METRICS
    assert set(spec.levels) >= {"host", "layer"}
    assert {"vit", "swin", "pvt", "paca"} <= set(spec.mechanisms), "the four families"
    assert spec.clusters
    assert len(spec.resolutions) >= 3, "an exponent needs three points"
    assert spec.budget_s < 30
    assert spec.processes >= 2, "an interval needs two processes"


def test_the_resolution_suite_is_the_main_jobs_ladder() -> None:
    assert (
        make_spec(read_suite("resolution")).resolutions
        == make_spec({"res": "224..1024"}).resolutions
    )


def test_the_cluster_suite_varies_m() -> None:
    spec = make_spec(read_suite("clusters"))
    assert len(spec.clusters) >= 5
    assert "accuracy" in spec.metrics


def test_the_accuracy_suite_trains_a_control_and_three_seeds() -> None:
    spec = make_spec(read_suite("accuracy_smoke"))
    assert "identity" in spec.mechanisms
    assert {"vit", "paca"} <= set(spec.mechanisms)
    assert (spec.seeds, spec.metrics) == (3, ("complexity", "accuracy"))
    assert spec.budget_s < 120
    fits = [p for p in make_plan(spec, "cpu", Machine(4e10)) if p.case.mode == "fit"]
    assert len(fits) == 4
    assert sum(p.wall_s for p in fits) < spec.budget_s


def test_every_folder_of_the_package_is_installed() -> None:
    folders = {
        ".".join(path.relative_to(ROOT).parts)
        for path in (ROOT / "paca_bench").rglob("*")
        if path.is_dir() and path.name != "__pycache__" and any(path.glob("*.*"))
    }
    assert set(SETUPTOOLS["packages"]) == folders | {"paca_bench", "paca_bench.suites"}
    assert SETUPTOOLS["package-dir"]["paca_bench.suites"] == "suites"


def test_every_file_that_is_not_python_is_installed() -> None:
    data = SETUPTOOLS["package-data"]
    for path in (ROOT / "paca_bench").rglob("*"):
        if path.is_dir() or path.suffix in (".py", ".pyc"):
            continue
        package = ".".join(path.parent.relative_to(ROOT).parts)
        assert any(path.match(pattern) for pattern in data.get(package, ())), path
    assert data["paca_bench.suites"] == ["*.toml"]


def test_the_dependencies_are_those_of_the_constraints() -> None:
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert "torch==2.13.0" in constraints.replace(" ", "")
    assert "torch>=2.7" in PYPROJECT["project"]["dependencies"]
