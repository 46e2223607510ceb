"""Lower bounds on time: never more than any way of computing the same takes."""

from __future__ import annotations

from typing import Any

import pytest

from paca_bench.complexity.cost import Cost
from paca_bench.complexity.roofline import ITEM_BYTES, Ceilings, lower_bound_s, static_metrics
from paca_bench.complexity.term import C, N, linear
from paca_bench.measure import calibrate
from paca_bench.measure.calibrate import measure_ceilings
from paca_bench.record import DTYPES

KIB, MIB = 2**10, 2**20
CEILINGS = Ceilings({"float32": 1e9}, ((32 * KIB, 2e9), (MIB, 8e9), (64 * MIB, 1e9)))


def one_linear(tokens: int = 1000, channels: int = 10) -> Cost:
    return Cost({"linear": linear(N, C, C)}, {"N": tokens, "C": channels})


def test_ceilings_survive_json() -> None:
    assert Ceilings.from_json(CEILINGS.to_json()) == CEILINGS


@pytest.mark.parametrize(
    ("size", "rate"),
    # A small copy is slow for its overhead, not for the memory: a larger one's rate bounds it.
    [(1, 8e9), (32 * KIB, 8e9), (MIB, 8e9), (2 * MIB, 8e9), (64 * MIB, 1e9), (2**40, 1e9)],
)
def test_a_copy_of_a_size_is_bounded_by_those_around_it(size: int, rate: float) -> None:
    assert CEILINGS.copy_rate(size) == rate


def test_work_or_traffic_bounds_an_operator_whichever_takes_longer() -> None:
    bound = {"batch": 1, "dtype": "float32", "train": False}
    work_bound = lower_bound_s(one_linear(10, 1000), CEILINGS, **bound)
    assert work_bound == pytest.approx(10 * 1000**2 / 1e9)
    moved = 4 * (2 * 1000 * 10 + 100)
    slow_copy = Ceilings({"float32": 1e12}, ((KIB, 1e6),))
    assert lower_bound_s(one_linear(), slow_copy, **bound) == pytest.approx(moved / 1e6)


def test_a_gradient_takes_as_long_as_its_operator() -> None:
    once, trained = (
        lower_bound_s(one_linear(), CEILINGS, batch=2, dtype="float32", train=train)
        for train in (False, True)
    )
    assert trained == pytest.approx(3 * (once or 0.0))


def test_without_a_ceiling_for_the_dtype_there_is_no_bound() -> None:
    assert lower_bound_s(one_linear(), CEILINGS, batch=1, dtype="float16", train=False) is None


def test_macs_alone_bound_a_term_of_unknown_traffic() -> None:
    cost = Cost({"linear": N * C**2}, {"N": 1000, "C": 10})
    slow_copy = Ceilings({"float32": 1e9}, ((KIB, 1.0),))
    axes = {"batch": 3, "dtype": "float32"}
    assert lower_bound_s(cost, slow_copy, **axes, train=False) == pytest.approx(3e-4)
    metrics = static_metrics(cost, **axes, mode="forward", ceilings=slow_copy)
    assert "moved_bytes" not in metrics
    assert metrics["bound_s"] == pytest.approx(3e-4)


def test_the_metrics_of_a_case() -> None:
    metrics = static_metrics(one_linear(), batch=2, dtype="bfloat16", mode="train")
    assert metrics["macs"] == 100_000
    assert metrics["flops"] == 200_000
    assert metrics["backward_macs"] == 200_000
    assert metrics["params"] == 110
    assert metrics["moved_bytes"] == 2 * 3 * (2 * 2 * 10_000 + 100)
    assert metrics["intensity_flops_per_byte"] == 2 * 2 * 300_000 / metrics["moved_bytes"]
    assert "bound_s" not in metrics


def test_every_dtype_has_a_size() -> None:
    assert set(ITEM_BYTES) == set(DTYPES)


class FakeTimer:
    """Each call takes its work at a set rate; counted, not waited for."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.calls = seconds, 0

    def time(self, call: Any) -> float:
        self.calls += 1
        return self.seconds


def test_ceilings_are_of_the_best_time(monkeypatch: pytest.MonkeyPatch) -> None:
    timer = FakeTimer(seconds=1e-3)
    monkeypatch.setattr(calibrate, "make_timer", lambda device: timer)
    monkeypatch.setattr(calibrate, "PRODUCT_SIDES", {"cpu": (8, 16)})
    monkeypatch.setattr(calibrate, "COPY_BYTES", {"cpu": (64, 256)})
    ceilings = measure_ceilings("cpu", ["bfloat16"])
    # Two calls fill what a timer can tell, so each takes half of the fake's millisecond.
    assert ceilings.macs_per_s == {
        "float32": pytest.approx(16**3 / 5e-4),
        "bfloat16": pytest.approx(16**3 / 5e-4),
    }
    assert ceilings.bytes_per_s == (
        (64, pytest.approx(64 / 5e-4)),
        (256, pytest.approx(256 / 5e-4)),
    )


def test_a_dtype_without_instructions_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    timer = FakeTimer(seconds=60.0)
    monkeypatch.setattr(calibrate, "make_timer", lambda device: timer)
    monkeypatch.setattr(calibrate, "PRODUCT_SIDES", {"cpu": (8, 16)})
    monkeypatch.setattr(calibrate, "COPY_BYTES", {"cpu": (64,)})
    measure_ceilings("cpu", ["float16"])
    assert timer.calls == 3 * 3
