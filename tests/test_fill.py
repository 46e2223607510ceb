"""The fill against check values that another program wrote."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from torch import Tensor

from tests.fill import fill_value, image_input

CHECKS = json.loads((Path(__file__).parent / "data" / "fill_check.json").read_text())
IMAGE = "_input_2x3x224x224_seed0"


def digest(value: Tensor) -> str:
    return hashlib.sha256(value.numpy().astype("<f4").tobytes()).hexdigest()


@pytest.mark.parametrize("key", [key for key in CHECKS if key != IMAGE])
def test_fill_reproduces_the_recorded_values(key: str) -> None:
    value = fill_value(key, tuple(CHECKS[key]["shape"]))
    assert digest(value) == CHECKS[key]["sha256_f32_le"]


def test_image_reproduces_the_recorded_values() -> None:
    assert digest(image_input(224, 224)) == CHECKS[IMAGE]["sha256_f32_le"]
