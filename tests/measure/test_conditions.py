"""Which samples are marked as disturbed, rule by rule."""

from __future__ import annotations

import json
from typing import Any

import pytest

from paca_bench.measure.conditions import (
    FAULT_S,
    Conditions,
    Usual,
    disturbed,
    usual_of,
)
from paca_bench.measure.nvml import GpuReading

CALM: dict[str, Any] = {
    "wall_s": 1.0,
    "user_s": 1.0,
    "system_s": 0.0,
    "minor_faults": 100,
    "major_faults": 0,
    "voluntary_switches": 5,
    "involuntary_switches": 4,
    "waited_s": 0.001,
    "stolen_s": 0.0,
    "throttles": 0,
    "throttled_s": 0.0,
    "frequency_hz": 3e9,
}
USUAL = Usual(minor_faults=100, involuntary_switches=4, frequency_hz=3e9, sm_clock_hz=1.9e9)


def conditions(**changes: Any) -> Conditions:
    return Conditions(**{**CALM, **changes})


def reasons(**changes: Any) -> tuple[str, ...]:
    return disturbed(conditions(**changes), USUAL)


def test_a_calm_sample_is_not_marked() -> None:
    assert reasons() == ()


@pytest.mark.parametrize(
    ("below", "above", "words"),
    [
        ({"waited_s": 0.0099}, {"waited_s": 0.0101}, "waited 10.1 ms for a core"),
        (
            {"minor_faults": 100 + round(0.0099 / FAULT_S)},
            {"minor_faults": 100 + round(0.0101 / FAULT_S)},
            "20200 page faults more than usual",
        ),
        ({"major_faults": 0}, {"major_faults": 1}, "waited for a disk 1 times"),
        ({"throttles": 0}, {"throttles": 1}, "throttled by the CPU quota 1 times"),
        ({"stolen_s": 0.0099}, {"stolen_s": 0.02}, "the hypervisor took 20.0 ms"),
        ({"frequency_hz": 2.86e9}, {"frequency_hz": 2.7e9}, "CPU clock 2700 MHz, 10% below"),
        (
            {"gpu": GpuReading(sm_clock_hz=1.85e9)},
            {"gpu": GpuReading(sm_clock_hz=0.95e9)},
            "SM clock 950 MHz, 50% below",
        ),
        (
            {"gpu": GpuReading(reasons=("idle", "clocks set by the user"))},
            {"gpu": GpuReading(reasons=("software thermal slowdown",))},
            "GPU throttled: software thermal slowdown",
        ),
        (
            # 4 are usual: 10 lie within 3 standard deviations of a Poisson law, 11 do not.
            {"waited_s": None, "involuntary_switches": 10},
            {"waited_s": None, "involuntary_switches": 11},
            "sent away from a core 11 times, usually 4",
        ),
    ],
)
def test_each_rule_marks_above_its_limit_only(
    below: dict[str, Any], above: dict[str, Any], words: str
) -> None:
    assert reasons(**below) == ()
    (reason,) = reasons(**above)
    assert words in reason


def test_the_same_loss_matters_less_in_a_longer_sample() -> None:
    assert reasons(waited_s=0.02, wall_s=1.0)
    assert not reasons(waited_s=0.02, wall_s=10.0)


def test_switches_are_harmless_where_the_wait_is_known_to_be_short() -> None:
    assert reasons(involuntary_switches=1000) == ()


def test_what_is_unknown_marks_nothing() -> None:
    unknown = dict.fromkeys(("stolen_s", "throttles", "throttled_s", "frequency_hz"))
    assert reasons(**unknown) == ()
    assert disturbed(conditions(), Usual(minor_faults=100)) == ()


def test_all_reasons_are_given() -> None:
    assert len(reasons(waited_s=0.5, throttles=2, stolen_s=0.5)) == 3


def test_the_usual_is_the_median_and_ignores_the_unknown() -> None:
    samples = [
        conditions(minor_faults=faults, frequency_hz=hz, gpu=gpu)
        for faults, hz, gpu in (
            (10, 3e9, None),
            (20, None, GpuReading(sm_clock_hz=1.5e9)),
            (9000, 2e9, GpuReading()),
        )
    ]
    assert usual_of(samples) == Usual(
        minor_faults=20, involuntary_switches=4, frequency_hz=2.5e9, sm_clock_hz=1.5e9
    )
    assert usual_of([]) == Usual()


def test_a_case_that_faults_in_every_sample_shows_in_its_share() -> None:
    """No sample differs from the usual, and yet the allocator is what was measured."""
    faulty = conditions(wall_s=0.473, minor_faults=288_000)
    assert disturbed(faulty, usual_of([faulty] * 5)) == ()
    assert faulty.fault_share == pytest.approx(288_000 * FAULT_S / 0.473)
    assert faulty.fault_share > 0.25


def test_conditions_are_json_values() -> None:
    gpu = GpuReading(power_w=100.0, reasons=("idle",))
    values = json.loads(json.dumps(conditions(gpu=gpu).to_json(), allow_nan=False))
    assert values["waited_s"] == 0.001
    assert values["gpu"]["reasons"] == ["idle"]
