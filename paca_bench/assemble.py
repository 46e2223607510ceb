"""From the outcomes of a case's processes to its one record. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from paca_bench.analyse.statistics import Estimate, latency_estimate, seed_estimate
from paca_bench.plan import PlannedCase
from paca_bench.record import Record, Status
from paca_bench.store import now
from paca_bench.units import format_bytes, format_seconds
from paca_bench.workers import Outcome

# From this share of disturbed samples on, a latency is in doubt.
MANY_DISTURBED = 0.25
# A call is launch-bound where it surely takes this many times what it does as a CUDA graph.
LAUNCH_BOUND = 1.1

Outcomes = Mapping[str, Sequence[Outcome]]


def assemble(
    planned: PlannedCase, outcomes: Outcomes, wanted: Mapping[str, int] | None = None
) -> Record:
    """The record of ``planned``, whose groups ended as ``outcomes`` say.

    ``wanted`` is how many processes a group should have; a group that has some, but fewer,
    is ``ok`` with the interval they give, and named as unfinished in the details.

    A group is ``ok`` only if each of its processes was; the first failure gives the status,
    and no estimate is made of the others' samples. A group without outcomes was refused by
    the plan.
    """
    statuses: dict[str, Status] = {}
    reasons: dict[str, str] = {}
    metrics: dict[str, float] = {}
    samples: dict[str, list[list[float]]] = {}
    details: dict[str, Any] = {}
    for group in planned.groups:
        done = outcomes.get(group, ())
        status, reason = _status(planned, group, done)
        statuses[group] = status
        # What a failed process did find out, such as a prediction, is kept.
        for outcome in done:
            metrics |= outcome.metrics
        if status is not Status.OK:
            reasons[group] = reason
            continue
        for outcome in done:
            details |= _merged(details, outcome.details)
            for name, values in outcome.samples.items():
                samples.setdefault(name, []).append(list(values))
    metrics, details = _with_estimates(planned, metrics, samples, details)
    if statuses.get("complexity") is Status.OK:
        metrics = {**planned.static, **metrics}
    if "latency_s" in metrics and "bound_s" in planned.static:
        metrics["bound_s"] = planned.static["bound_s"]
        metrics["roof_share"] = metrics["bound_s"] / metrics["latency_s"]
    if doubts := _doubts(samples, details):
        details["doubts"] = doubts
    short = [g for g, n in (wanted or {}).items() if 0 < len(outcomes.get(g, ())) < n]
    unfinished = [group for group in short if statuses[group] is Status.OK]
    if unfinished:
        details["unfinished"] = unfinished
    return Record(
        case=planned.case,
        statuses=statuses,
        reasons=reasons,
        metrics=metrics,
        samples=samples,
        details=details,
        predicted={"wall_s": planned.wall_s, "call_s": planned.call_s},
        wall_s=sum(o.seconds for done in outcomes.values() for o in done),
        finished_at=now(),
    )


def _status(planned: PlannedCase, group: str, done: Sequence[Outcome]) -> tuple[Status, str]:
    for number, outcome in enumerate(done, start=1):
        if outcome.status is not Status.OK:
            where = f" (process {number} of this case)" if number > 1 else ""
            return outcome.status, outcome.reason + where
    if done:
        return Status.OK, ""
    return planned.refused.get(group, (Status.INTERRUPTED, "the sweep ended first; --resume it"))


def _merged(details: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Per-process lists are joined; of anything else the first process's value stands."""
    return {
        name: [*details[name], *value]
        if name in details and isinstance(value, list)
        else details.get(name, value)
        for name, value in new.items()
    }


def _with_estimates(
    planned: PlannedCase,
    metrics: Mapping[str, float],
    samples: Mapping[str, list[list[float]]],
    details: Mapping[str, Any],
) -> tuple[dict[str, float], dict[str, Any]]:
    """``metrics`` and ``details`` with the latency's and the accuracy's interval added."""
    metrics, details = dict(metrics), dict(details)
    if "latency_s" in samples:
        latency = latency_estimate(samples["latency_s"])
        metrics |= _interval("latency", "_s", latency)
        metrics["images_per_s"] = planned.case.batch / latency.value
        details["latency_method"] = latency.method
    if "compile_s" in samples:
        metrics["compile_s"] = samples["compile_s"][0][0]
    warm, graph = (
        latency_estimate(samples[name]) if name in samples else None
        for name in ("latency_warm_s", "latency_graph_s")
    )
    if warm:
        metrics |= _interval("latency_warm", "_s", warm)
    if graph:
        metrics |= _interval("latency_graph", "_s", graph)
    if warm and graph:
        details["launch_bound"] = warm.low > LAUNCH_BOUND * graph.high
    if "accuracy" in samples:
        values = [value for seed in samples["accuracy"] for value in seed]
        accuracy = seed_estimate(values, trials=details.get("num_test"))
        metrics |= _interval("accuracy", "", accuracy)
        details["accuracy_method"] = accuracy.method
    if "miou" in samples:
        from paca_bench.analyse.dense import joined_confusions, miou_estimate

        classes = len(details["mask_classes"].split("; "))
        miou = miou_estimate(joined_confusions(details["test_confusions"], classes))
        metrics |= _interval("miou", "", miou)
        details["miou_method"] = miou.method
    if "train_images_per_s" in samples:
        metrics |= _interval(
            "train_images", "_per_s", latency_estimate(samples["train_images_per_s"])
        )
    return metrics, details


def _doubts(samples: Mapping[str, list[list[float]]], details: Mapping[str, Any]) -> dict[str, str]:
    """What makes the record's figures worth less than they look; see ``analyse.doubts``."""
    found = {}
    count = sum(map(len, samples.get("latency_s", ())))
    marks = [reasons for process in details.get("disturbed", ()) for reasons in process.values()]
    if len(marks) > MANY_DISTURBED * count:
        found["disturbed"] = f"{len(marks)} of {count} samples, for example: {marks[0][0]}"
    short = [clock for clock in details.get("clock", ()) if clock["too_short"]]
    if short:
        found["short"] = f"a clock adds up to {format_seconds(_clock_s(short[0]))} to it"
    if details.get("launch_bound"):
        found["launch_bound"] = f"over {LAUNCH_BOUND:g} times what it takes as a CUDA graph"
    if apart := details.get("memory_disagrees"):
        measured, predicted = (format_bytes(apart[f"{k}_bytes"]) for k in ("measured", "predicted"))
        found["memory"] = f"measured {measured}, predicted {predicted}"
    return found


def _clock_s(clock: Mapping[str, float]) -> float:
    return clock["resolution_s"] + clock["overhead_s"]


def _interval(name: str, unit: str, estimate: Estimate) -> dict[str, float]:
    if not estimate.is_bounded:
        return {f"{name}{unit}": estimate.value}
    return {
        f"{name}{unit}": estimate.value,
        f"{name}_low{unit}": estimate.low,
        f"{name}_high{unit}": estimate.high,
    }
