from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from paca_bench.attention.registry import mechanisms
from paca_bench.complexity.memory import predict_case_memory, predict_peak_memory
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


def wants_gradient(case: Case) -> bool:
    return case.level == "layer" and case.mode == "train"


def measured_peak(case: Case, **more: Any) -> int:
    dtype = getattr(torch, case.dtype)
    module = build_subject(case).to(dtype).train(case.mode == "train")
    x = torch.randn(input_shape(case)).to(dtype).requires_grad_(wants_gradient(case))
    return measure_peak_memory(module, x, case.mode, **more).peak_bytes


def predicted_peak(case: Case, **more: Any) -> int:
    return predict_peak_memory(
        lambda: build_subject(case),
        input_shape(case),
        mode=case.mode,
        dtype=getattr(torch, case.dtype),
        input_gradient=wants_gradient(case),
        **more,
    ).peak_bytes


LAYERS = [
    make_case(mechanism, stage=stage, mode=mode, batch=2)
    for mechanism in sorted(mechanisms())
    for stage, mode in ((1, "forward"), (1, "train"), (2, "train"), (4, "forward"))
]
OTHERS = [
    make_case("vit", level="host", mode="train", batch=2),
    make_case("paca", level="host", batch=2),
    make_case("pvt", stage=2, mode="train", dtype="bfloat16"),
    make_case("paca", stage=2, mode="train", dtype="float16"),
    make_case("swin", stage=4, dtype="bfloat16"),
    make_case("vit", stage=2, mode="train", dtype="float64"),
    make_case("hf:pvt_v2", level="model", host="", height=64),
    make_case("vit_tiny_patch16_224", level="model", host="", height=64, mode="train"),
]


@pytest.mark.parametrize("case", LAYERS + OTHERS, ids=lambda case: case.id)
def test_prediction_is_what_is_measured(case: Case) -> None:
    if case.dtype in ("bfloat16", "float16") and torch.cpu.get_capabilities().get("amx_tile"):
        pytest.skip("the copies that oneDNN makes for AMX are not predicted")
    assert predicted_peak(case) == pytest.approx(measured_peak(case), rel=0.05)


CHECKPOINTED = [
    make_case("paca", level="host", mode="train", height=96),
    make_case("swin", level="host", mode="train", height=96),
    make_case("vit", stage=1, mode="train"),
    make_case("pvt_v2_b0", level="model", host="", mode="train"),
]


@pytest.mark.parametrize("case", CHECKPOINTED, ids=lambda case: case.id)
def test_prediction_with_checkpointing(case: Case) -> None:
    predicted = predicted_peak(case, checkpointing=True)

    assert predicted == pytest.approx(measured_peak(case, checkpointing=True), rel=0.05)
    assert predicted == predict_case_memory(replace(case, mode="checkpointed")).peak_bytes
    # A layer is one block: all of it is recomputed at once.
    assert (predicted < predicted_peak(case)) == (case.level != "layer")


def test_checkpointing_changes_nothing_in_inference() -> None:
    case = make_case("paca", level="host")
    assert predicted_peak(case, checkpointing=True) == predicted_peak(case)


@pytest.mark.parametrize("mechanism", ["vit", "paca", "swin"])
@pytest.mark.parametrize("mode", ["forward", "train"])
def test_prediction_of_the_math_kernel(mechanism: str, mode: str) -> None:
    case = make_case(mechanism, stage=2, mode=mode)
    with sdpa_kernel(SDPBackend.MATH):
        measured = measured_peak(case)

    assert predicted_peak(case, kernel="math") == pytest.approx(measured, rel=0.05)


def test_the_module_that_is_given_stays_as_it_was() -> None:
    module = nn.Linear(3, 3)
    before = {name: t.clone() for name, t in module.named_parameters()}
    predict(module, (2, 3), "train", dtype=torch.bfloat16)

    assert all(torch.equal(t, before[name]) for name, t in module.named_parameters())
    assert module.weight.grad is None


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
