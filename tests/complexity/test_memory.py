from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from paca_bench.attention.registry import mechanisms
from paca_bench.complexity.memory import predict_peak_memory
from paca_bench.errors import SpecError
from paca_bench.measure.memory import measure_peak_memory
from paca_bench.models.subject import build_subject, input_shape
from paca_bench.record import Case


def predict(module: nn.Module, shape: tuple[int, ...], mode: str = "forward", **more: Any) -> int:
    arguments = {"dtype": torch.float32, **more}
    return predict_peak_memory(lambda: module, shape, mode=mode, **arguments).peak_bytes


class Chain(nn.Module):
    """Six tensors of 1 KiB (for 256 elements) one after the other, at most two at a time."""

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(6):
            x = x.exp()
        return x


class KeepAll(nn.Module):
    """The same six tensors, all kept to the end, and their views."""

    def forward(self, x: Tensor) -> Tensor:
        kept = [x]
        for _ in range(6):
            kept.append(kept[-1].exp().view(-1).view_as(x))
        return kept[-1]


@pytest.mark.parametrize(("module", "kibibytes"), [(Chain(), 2), (KeepAll(), 6)])
def test_lives_of_tensors(module: nn.Module, kibibytes: int) -> None:
    assert predict(module, (256,)) == kibibytes * 1024
    assert predict(module, (256,), dtype=torch.bfloat16) == kibibytes * 512
    assert measure_peak_memory(module, torch.ones(256), "forward").peak_bytes == kibibytes * 1024


def test_base_is_not_part_of_the_peak() -> None:
    prediction = predict_peak_memory(
        lambda: nn.BatchNorm2d(8).eval(), (2, 8, 4, 4), mode="forward", dtype=torch.float32
    )

    # Two parameters and two statistics of 8 floats, and one integer counter.
    assert prediction.weights_bytes == 4 * 8 * 4 + 8
    assert prediction.input_bytes == 2 * 8 * 4 * 4 * 4
    assert prediction.peak_bytes == prediction.input_bytes


def test_gradients_of_weights_count_and_that_of_the_input_if_wanted() -> None:
    weight_bytes = 300 * 300 * 4
    layer = nn.Linear(300, 300, bias=False)

    assert predict(layer, (1, 300), "forward") < weight_bytes
    assert weight_bytes < predict(layer, (1, 300), "train") < 1.1 * weight_bytes
    with_input = predict(layer, (3000, 300), "train", input_gradient=True)
    assert with_input >= predict(layer, (3000, 300), "train") + 3000 * 300 * 4 - weight_bytes


def make_case(mechanism: str, **changes: Any) -> Case:
    axes: dict[str, Any] = {
        "level": "layer",
        "host": "nano",
        "height": 128,
        "width": 96,
        "mode": "forward",
    }
    if mechanism == "paca":
        # oneDNN treats large depthwise kernels differently from one CPU to the next.
        axes |= {"num_clusters": 49, "options": (("kernel_size", 3),)}
    return Case(**{**axes, "mechanism": mechanism, **changes})


LAYERS = [
    (mechanism, "layer", stage, mode)
    for mechanism in sorted(mechanisms())
    for stage, mode in ((1, "forward"), (1, "train"), (2, "train"))
]
HOSTS = [("vit", "host", None, "train"), ("paca", "host", None, "forward")]


@pytest.mark.parametrize(("mechanism", "level", "stage", "mode"), LAYERS + HOSTS)
def test_prediction_is_what_is_measured(
    mechanism: str, level: str, stage: int | None, mode: str
) -> None:
    case = make_case(mechanism, level=level, stage=stage, mode=mode, batch=2)
    wants_gradient = level == "layer" and mode == "train"
    x = torch.randn(input_shape(case), requires_grad=wants_gradient)

    predicted = predict_peak_memory(
        lambda: build_subject(case),
        input_shape(case),
        mode=mode,
        dtype=torch.float32,
        input_gradient=wants_gradient,
    ).peak_bytes
    measured = measure_peak_memory(build_subject(case), x, mode).peak_bytes

    assert predicted == pytest.approx(measured, rel=0.05)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_prediction_in_other_dtypes(dtype: torch.dtype) -> None:
    case = make_case("pvt", stage=2, mode="train")
    x = torch.randn(input_shape(case), dtype=dtype)

    predicted = predict(build_subject(case), input_shape(case), "train", dtype=dtype)
    measured = measure_peak_memory(build_subject(case).to(dtype), x, "train").peak_bytes

    assert predicted == pytest.approx(measured, rel=0.05)


@pytest.mark.parametrize("mode", ["forward", "train"])
def test_only_the_math_kernel_stores_all_scores(mode: str) -> None:
    tokens = (1024 // 4) ** 2
    case = make_case("vit", stage=1, height=1024, width=1024, mode=mode)
    arguments: dict[str, Any] = {"mode": mode, "dtype": torch.float32}

    fused, math = (
        predict_peak_memory(
            lambda: build_subject(case), input_shape(case), kernel=kernel, **arguments
        ).peak_bytes
        for kernel in ("fused", "math")
    )

    assert math > tokens**2 * 4
    assert fused < tokens**2 * 4 / 100


def test_another_mode_is_refused() -> None:
    with pytest.raises(SpecError, match="forward and train, not 'fit'"):
        predict(nn.Identity(), (1,), "fit")
