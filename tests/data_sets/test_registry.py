from __future__ import annotations

import pytest

from paca_bench.data.registry import DEFAULT_DATASET, describe_datasets, load_dataset
from paca_bench.errors import DataError


def test_what_the_list_shows_is_what_can_be_asked_for() -> None:
    assert [name for name, _ in describe_datasets()] == ["mnist5k", "folder:DIR"]
    assert all(description for _, description in describe_datasets())
    assert load_dataset(DEFAULT_DATASET).name == DEFAULT_DATASET


@pytest.mark.parametrize("spec", ["cifar10", "", "hf:mnist", "MNIST5K"])
def test_unknown_names_list_the_known(spec: str) -> None:
    with pytest.raises(DataError, match=f"unknown data set '{spec}'.*mnist5k, folder:DIR"):
        load_dataset(spec)


@pytest.mark.parametrize("spec", ["folder", "folder:", "mnist5k:", "mnist5k:10"])
def test_malformed_specs_show_the_form(spec: str) -> None:
    with pytest.raises(DataError, match=f"'{spec}' is not of the form (folder:DIR|mnist5k);"):
        load_dataset(spec)


def test_unknown_on_error() -> None:
    with pytest.raises(DataError, match="'raise' or 'skip', not 'ignore'"):
        load_dataset("mnist5k", on_error="ignore")
