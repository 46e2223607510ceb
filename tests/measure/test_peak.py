"""Measured against predicted memory, and what is predicted at all."""

from __future__ import annotations

import pytest

from paca_bench.measure import peak
from paca_bench.measure.peak import PredictedOutOfMemory, disagreement, measure_case_memory
from tests.complexity.test_memory import make_case

CASE = make_case("vit", height=64, width=64)


@pytest.mark.parametrize(
    ("device", "measured", "flagged"),
    [
        ("cpu", 1049, False),
        ("cpu", 1051, True),
        ("cpu", 949, True),
        ("cuda:0", 1099, False),
        ("cuda:0", 1101, True),
    ],
)
def test_what_strays_further_than_allowed_is_flagged_with_both_numbers(
    device: str, measured: float, flagged: bool
) -> None:
    found = disagreement(measured, 1000, device)
    assert bool(found) is flagged
    if flagged:
        values = found["memory_disagrees"]
        assert (values["measured_bytes"], values["predicted_bytes"]) == (measured, 1000)


def test_a_case_has_its_peak_counted_and_its_process_looked_at() -> None:
    metrics, details = measure_case_memory(CASE)
    assert metrics["peak_memory_bytes"] == pytest.approx(
        metrics["predicted_peak_memory_bytes"], rel=0.05
    )
    assert "memory_disagrees" not in details
    assert metrics["process_peak_bytes"] >= 0
    assert details["process_peak_method"]


def test_another_way_to_execute_is_measured_and_not_predicted() -> None:
    case = make_case("vit", height=64, width=64, autocast="bfloat16")
    metrics, details = measure_case_memory(case)
    assert "predicted_peak_memory_bytes" not in metrics
    assert metrics["peak_memory_bytes"] > 0
    assert "autocast=bfloat16" in details["memory_not_predicted"]


def test_a_kernel_that_stores_all_scores_is_predicted_to() -> None:
    peaks = {}
    for kernel in ("auto", "math"):
        metrics, details = measure_case_memory(make_case("vit", height=128, kernel=kernel))
        assert "memory_disagrees" not in details
        peaks[kernel] = metrics["predicted_peak_memory_bytes"]
    assert peaks["math"] > peaks["auto"]


def test_what_cannot_fit_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peak, "_free_memory", lambda device: 10)
    with pytest.raises(PredictedOutOfMemory, match="10 B are free") as raised:
        measure_case_memory(CASE)
    assert raised.value.metrics["predicted_peak_memory_bytes"] > 10
