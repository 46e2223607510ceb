"""From the outcomes of processes to one record: nothing of a failed group is reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from paca_bench.assemble import assemble
from paca_bench.plan import PlannedCase
from paca_bench.record import Case, Status
from paca_bench.workers import Outcome

CASE = Case(
    level="host", mechanism="vit", host="nano", height=64, width=64, mode="forward", batch=4
)


def planned(*groups: str) -> PlannedCase:
    return PlannedCase(case=CASE, groups=groups, call_s=0.5, wall_s=2.0)


def ok(**values: Any) -> Outcome:
    return Outcome(status=Status.OK, seconds=1.0, **values)


def latency(*samples: float, **details: Any) -> Outcome:
    return ok(samples={"latency_s": list(samples)}, details=details)


CRASH = Outcome(status=Status.CRASH, reason="killed", seconds=0.5)


def test_processes_become_samples_in_their_order_and_one_estimate() -> None:
    outcomes = {"latency": [latency(1.0, 3.0, 2.0), latency(2.2), latency(2.4)]}
    record = assemble(planned("latency"), outcomes)
    assert record.samples == {"latency_s": [[1.0, 3.0, 2.0], [2.2], [2.4]]}
    assert record.metrics["latency_s"] == 2.2
    assert record.metrics["latency_low_s"] < 2.2 < record.metrics["latency_high_s"]
    assert record.metrics["images_per_s"] == pytest.approx(4 / 2.2)
    assert "3 processes" in record.details["latency_method"]
    assert (record.status, record.reasons) == (Status.OK, {})
    assert record.wall_s == 3.0
    assert record.predicted == {"wall_s": 2.0, "call_s": 0.5}


def test_details_of_each_process_are_joined_and_of_the_first_kept() -> None:
    outcomes = {
        "latency": [
            latency(1.0, stable=[True], kernel_path="flash"),
            latency(1.0, stable=[False]),
        ]
    }
    details = assemble(planned("latency"), outcomes).details
    assert details["stable"] == [True, False]
    assert details["kernel_path"] == "flash"


def test_seeds_become_one_accuracy() -> None:
    outcomes = {
        "accuracy": [
            ok(samples={"accuracy": [value]}, details={"num_test": 1000, "seeds": [i]})
            for i, value in enumerate((0.9, 0.92, 0.94))
        ]
    }
    record = assemble(planned("accuracy"), outcomes)
    assert record.metrics["accuracy"] == pytest.approx(0.92)
    assert record.metrics["accuracy_low"] < 0.92 < record.metrics["accuracy_high"]
    assert record.details["seeds"] == [0, 1, 2]
    assert "3 seeds" in record.details["accuracy_method"]


def test_the_rate_and_the_peak_of_trainings_are_kept_with_the_accuracy() -> None:
    def training(rate: float) -> Outcome:
        return ok(
            metrics={"train_peak_memory_bytes": 1000},
            samples={"accuracy": [0.9], "train_images_per_s": [rate]},
            details={"num_test": 100, "train_steps": [7], "data_sha256": "ab"},
        )

    record = assemble(planned("accuracy"), {"accuracy": [training(r) for r in (90, 110, 100)]})
    m = record.metrics
    assert m["train_images_per_s"] == 100
    assert m["train_images_low_per_s"] < 100 < m["train_images_high_per_s"]
    assert m["train_peak_memory_bytes"] == 1000
    assert record.samples["train_images_per_s"] == [[90], [110], [100]]
    assert (record.details["train_steps"], record.details["data_sha256"]) == ([7, 7, 7], "ab")
    single = assemble(planned("accuracy"), {"accuracy": [training(90)]}).metrics
    assert single["train_images_per_s"] == 90
    assert "train_images_low_per_s" not in single, "one seed bounds nothing"


@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_failed_process_fails_the_group_and_no_metric_is_made(place: int) -> None:
    done: list[Outcome] = [latency(1.0), latency(1.1)]
    done.insert(place, CRASH)
    record = assemble(planned("complexity", "latency"), {"complexity": [ok(metrics={"macs": 7})],
                                                         "latency": done})  # fmt: skip
    assert record.statuses == {"complexity": Status.OK, "latency": Status.CRASH}
    assert record.metrics == {"macs": 7}
    assert record.samples == {}
    where = f" (process {place + 1} of this case)" if place else ""
    assert record.reasons == {"latency": "killed" + where}
    assert record.status is Status.CRASH
    assert record.wall_s == 3.5, "the time was spent all the same"


@pytest.mark.parametrize(
    ("refused", "expected"),
    [
        (("memory",), {"latency": Status.INTERRUPTED, "memory": Status.OVER_BUDGET}),
        ((), {"latency": Status.INTERRUPTED, "memory": Status.INTERRUPTED}),
    ],
)
def test_a_group_without_outcomes_was_refused_or_interrupted(
    refused: Sequence[str], expected: Mapping[str, Status]
) -> None:
    one = planned("latency", "memory").refuse(refused, Status.OVER_BUDGET, "raise --budget")
    record = assemble(one, {})
    assert record.statuses == expected
    assert record.reasons.keys() == expected.keys()
    assert "--resume" in record.reasons["latency"]
    assert not record.is_final
    assert record.metrics == {}


def test_what_was_measured_counts_more_than_a_refusal() -> None:
    one = planned("latency").refuse(["latency"], Status.OVER_BUDGET, "raise --budget")
    assert assemble(one, {"latency": [latency(1.0)]}).status is Status.OK


# ---- what the machine did meanwhile


def test_many_disturbed_samples_put_a_latency_in_doubt() -> None:
    marked = latency(1.0, 1.0, disturbed=[{"1": ["waited 5 ms for a core"]}])
    clean = latency(1.0, 1.0, disturbed=[{}])
    details = assemble(planned("latency"), {"latency": [marked, clean]}).details
    assert "doubts" not in details
    details = assemble(planned("latency"), {"latency": [marked, marked, clean]}).details
    assert details["doubts"] == {"disturbed": "2 of 6 samples, for example: waited 5 ms for a core"}
    assert details["disturbed"] == [{"1": ["waited 5 ms for a core"]}] * 2 + [{}]


def test_a_call_that_the_clock_cannot_tell_is_in_doubt() -> None:
    clock = {"too_short": True, "resolution_s": 1e-8, "overhead_s": 4e-8}
    done = {"latency": [latency(1e-7, clock=[clock])]}
    details = assemble(planned("latency"), done).details
    assert details["doubts"] == {"short": "a clock adds up to 50.0 ns to it"}


def test_a_peak_that_was_not_predicted_is_in_doubt() -> None:
    apart = {"measured_bytes": 2**20, "predicted_bytes": 2**21, "allowed": 0.05}
    done = {
        "memory": [ok(metrics={"peak_memory_bytes": 2**20}, details={"memory_disagrees": apart})]
    }
    details = assemble(planned("memory"), done).details
    assert details["doubts"] == {"memory": "measured 1.00 MiB, predicted 2.00 MiB"}


def test_a_single_sample_has_no_interval() -> None:
    metrics = assemble(planned("latency"), {"latency": [latency(2.0)]}).metrics
    assert metrics["latency_s"] == 2.0
    assert "latency_low_s" not in metrics


def test_compile_time_is_that_of_the_process_that_found_nothing_compiled() -> None:
    done = [ok(samples={"latency_s": [1.0], "compile_s": [30.0]}), latency(1.0)]
    record = assemble(planned("latency"), {"latency": done})
    assert record.metrics["compile_s"] == 30.0
    assert record.samples["compile_s"] == [[30.0]]


@pytest.mark.parametrize(("graph", "bound"), [(1.0, True), (1.98, False), (3.0, False)])
def test_a_call_is_launch_bound_where_a_graph_is_surely_faster(graph: float, bound: bool) -> None:
    done = [
        ok(samples={"latency_s": [2.1], "latency_warm_s": [warm], "latency_graph_s": [graph]})
        for warm in (2.0, 2.001, 1.999)
    ]
    record = assemble(planned("latency"), {"latency": done})
    assert record.details["launch_bound"] is bound
    assert ("launch_bound" in record.details.get("doubts", {})) is bound
    for name in ("latency_warm", "latency_graph"):
        m = record.metrics
        assert m[f"{name}_low_s"] <= m[f"{name}_s"] <= m[f"{name}_high_s"]
