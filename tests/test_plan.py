"""The grid of cases, and which of them a budget admits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paca_bench.attention import registry
from paca_bench.axes import parse_duration
from paca_bench.errors import SpecError
from paca_bench.models.subject import case_cost
from paca_bench.plan import ACCURACY_SHARE, PlannedCase, fit_budget, make_plan
from paca_bench.predicted_time import Machine
from paca_bench.record import Case, Status
from paca_bench.spec import make_spec

MACHINE = Machine(4e10)


def plan(machine: Machine = MACHINE, **changes: Any) -> list[PlannedCase]:
    base = {"res": "64,96", "mechanism": "vit,paca", "clusters": "4,9", "metrics": "latency"}
    values: Mapping[str, Any] = {**base, "budget": "10h", **changes}
    return make_plan(make_spec(values), "cpu", machine)


def ids(planned: list[PlannedCase]) -> list[str]:
    return [one.case.id for one in planned]


def test_the_grid_is_the_product_of_the_axes() -> None:
    planned = plan(
        level="host,layer", stage="1,3", mode="forward,train", batch="1,2", dtype="float32,float64"
    )
    # (vit + paca x 2) x 2 resolutions x (host + layer x 2 stages) x 2 x 2 x 2
    assert len(planned) == 3 * 2 * 3 * 2 * 2 * 2
    assert len({one.case.hash for one in planned}) == len(set(ids(planned))) == len(planned)


def test_ids_are_readable_and_stable() -> None:
    assert ids(plan(mode="forward", res="64x96", level="host,layer", stage="2")) == [
        "host-nano/vit/64x96/forward/b1/float32/cpu",
        "host-nano/paca-M4/64x96/forward/b1/float32/cpu",
        "host-nano/paca-M9/64x96/forward/b1/float32/cpu",
        "layer-nano-s2/vit/64x96/forward/b1/float32/cpu",
        "layer-nano-s2/paca-M4/64x96/forward/b1/float32/cpu",
        "layer-nano-s2/paca-M9/64x96/forward/b1/float32/cpu",
    ]
    first = plan(mode="forward", res="64x96", level="host", mechanism="vit")[0].case
    assert first.hash == "94d7ad57025f"


def test_the_order_in_which_axes_are_given_does_not_change_the_cases() -> None:
    one = plan(clusters="4,9", mode="forward,train", mechanism="vit,paca")
    other = plan(clusters="9,4", mode="train,forward", mechanism="paca,vit")
    assert set(ids(one)) == set(ids(other))
    assert {p.case.hash: p.wall_s for p in one} == {p.case.hash: p.wall_s for p in other}


def test_only_a_mechanism_with_clusters_varies_them() -> None:
    found = {(p.case.mechanism, p.case.num_clusters) for p in plan(mechanism="vit,swin,paca")}
    assert found == {("vit", None), ("swin", None), ("paca", 4), ("paca", 9)}


def test_all_registered_mechanisms_where_none_is_named() -> None:
    spec = make_spec({"res": "64", "metrics": "latency"})
    planned = make_plan(spec, "cpu", MACHINE)
    compared = {name for name, m in registry.mechanisms().items() if not m.control}
    assert {p.case.mechanism for p in planned} == compared
    assert "identity" not in compared


def test_a_control_is_measured_where_it_is_named_in_hosts_alone() -> None:
    planned = plan(mechanism="identity,vit", metrics="latency,accuracy", mode="forward")
    found = {(p.case.level, p.case.mode, bool(p.refused)) for p in planned
             if p.case.mechanism == "identity"}  # fmt: skip
    assert found == {("host", "forward", False), ("host", "fit", False), ("layer", "forward", True)}
    layer = next(p for p in planned if p.case.level == "layer" and p.case.mechanism == "identity")
    assert layer.refused["latency"][0] is Status.NOT_SUPPORTED
    assert "take --level host" in layer.refused["latency"][1]
    costs = {p.case.mechanism: p.macs for p in planned if p.case.level == "host"}
    assert 0 < costs["identity"] < costs["vit"]


def test_a_model_is_a_case_of_its_own_level() -> None:
    planned = plan(level="model,host", model="pvt_tiny", mechanism="vit", mode="forward", res="224")
    assert ids(planned) == [
        "model/pvt_tiny/224/forward/b1/float32/cpu",
        "host-nano/vit/224/forward/b1/float32/cpu",
    ]
    assert planned[0].macs > 10**9


def test_accuracy_is_one_training_a_variant_at_its_own_resolution() -> None:
    planned = plan(metrics="complexity,latency,accuracy", accuracy_res="32,64")
    fits = [p for p in planned if p.case.mode == "fit"]
    assert {(p.case.label, p.case.height) for p in fits} == {
        (label, side) for label in ("vit", "paca (M=4)", "paca (M=9)") for side in (32, 64)
    }
    assert {(p.case.level, p.groups) for p in fits} == {("host", ("complexity", "accuracy"))}
    assert all("accuracy" not in p.groups for p in planned if p.case.mode != "fit")


def test_models_are_trained_where_accuracy_is_asked_for_by_name() -> None:
    named = plan(level="model,host", model="pvt_tiny", mechanism="vit", metrics="accuracy")
    assert ids(named) == [
        "model/pvt_tiny/32/fit/b64/float32/cpu",
        "host-nano/vit/32/fit/b64/float32/cpu",
    ]
    assert all(p.macs > 0 and p.call_s > 0 for p in named)
    unnamed = make_plan(make_spec({"res": "64", "model": "pvt_tiny"}), "cpu", MACHINE)
    assert {p.case.mode for p in unnamed} == {"forward", "train"}


@pytest.mark.parametrize(
    ("device", "dtype", "autocast", "expected"),
    [
        ("cpu", "float32", "none", ["none"]),
        ("cpu", "bfloat16", "none", ["none"]),
        ("cpu", "float32", "none,bfloat16", ["none", "bfloat16"]),
        ("cuda:0", "float32", "none", ["none"]),
        ("cuda:0", "bfloat16", "none", ["bfloat16"]),
        ("cuda:0", "float32,bfloat16", "none,bfloat16", ["none", "bfloat16"]),
    ],
)
def test_trainings_in_bfloat16_have_float32_weights(
    device: str, dtype: str, autocast: str, expected: list[str]
) -> None:
    spec = make_spec({"res": "64", "mechanism": "vit", "metrics": "accuracy",
                      "dtype": dtype, "autocast": autocast})  # fmt: skip
    fits = [p.case for p in make_plan(spec, device, MACHINE)]
    assert [case.autocast for case in fits] == expected
    assert {case.dtype for case in fits} == {"float32"}


def test_no_training_is_offered_under_float16() -> None:
    (one,) = plan(mechanism="vit", metrics="accuracy", autocast="float16")
    assert one.refused["accuracy"][0] is Status.NOT_SUPPORTED
    assert "take --autocast bfloat16" in one.refused["accuracy"][1]


def test_what_a_training_is_predicted_to_take_follows_its_budget() -> None:
    def seconds(budget: str) -> dict[str, float]:
        planned = plan(metrics="accuracy", mechanism="vit,identity", train_budget=budget)
        return {p.case.mechanism: p.call_s for p in planned}

    short, long = seconds("steps:100"), seconds("steps:200")
    assert short["identity"] < short["vit"]
    assert all(short[name] < long[name] < 2 * short[name] for name in short)
    assert seconds("images:6400") == short
    timed = seconds("time:60s")
    assert all(60 < timed[name] < 63 for name in timed)
    equal = seconds("macs:2e13")
    assert equal["vit"] == pytest.approx(equal["identity"], rel=0.01)


def test_an_unsupported_case_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    from paca_bench import plan as plan_module
    from paca_bench.errors import UnsupportedError

    def cost(case: Case) -> Any:
        if case.mechanism == "vit":
            raise UnsupportedError("the grid is too small")
        return case_cost(case)

    monkeypatch.setattr(plan_module, "case_cost", cost)
    planned = plan(metrics="complexity,latency,memory", mode="forward", level="host")
    refused = [p for p in planned if p.refused]
    assert [p.case.mechanism for p in refused] == ["vit", "vit"]
    for one in refused:
        assert one.to_run == ()
        assert set(one.refused.values()) == {(Status.NOT_SUPPORTED, "the grid is too small")}
        assert (one.macs, one.wall_s) == (0, 0.0)
    assert all(p.to_run == p.groups for p in planned if p.case.mechanism == "paca")


def test_a_broken_closed_form_refuses_its_cases_and_no_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A user's cost may fail at one shape; the sweep of the others goes on."""
    mechanism = registry.get_mechanism("vit")

    def cost(*, grid: tuple[int, int], dim: int, num_heads: int) -> Any:
        return 1 // 0

    broken = replace(mechanism, name="broken", cost_function=cost)
    monkeypatch.setattr(registry, "_mechanisms", {**registry.mechanisms(), "broken": broken})
    planned = plan(mechanism="broken,vit", level="layer", mode="forward")
    assert [bool(p.refused) for p in planned] == [True, True, False, False]
    status, reason = planned[0].refused["latency"]
    assert status is Status.ERROR
    assert "ZeroDivisionError" in reason
    assert "cost of 'broken'" in reason


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"mechanism": "vti"}, "unknown mechanism 'vti'.*--plugin"),
        ({"model": "diet_tiny", "level": "model"}, "diet_tiny"),
        ({"host": "giant"}, "unknown host 'giant'; choose from pico"),
        ({"metrics": "accuracy", "level": "layer"}, "add --level host"),
        ({"train_budget": "steps:5", "metrics": "accuracy", "mechanism": "x"}, "mechanism 'x'"),
        (
            {"train_budget": "time:5m", "metrics": "accuracy"},
            "time:300s does not fit into --timeout",
        ),
    ],
)
def test_a_sweep_that_cannot_be_planned(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError, match=says):
        plan(**changes)


def test_predictions_grow_with_the_work() -> None:
    times = {p.case.id: p.wall_s for p in plan(batch="1,64", res="512,1024", level="host")}
    vit = "host-nano/vit/{}/{}/b{}/float32/cpu"
    assert times[vit.format(1024, "forward", 1)] > times[vit.format(512, "forward", 1)]
    assert times[vit.format(512, "train", 1)] > times[vit.format(512, "forward", 1)]
    assert times[vit.format(512, "forward", 64)] > times[vit.format(512, "forward", 1)]
    slower = {p.case.id: p.wall_s for p in plan(Machine(1e9), batch="1,64", res="512,1024")}
    assert all(slower[case] > wall_s for case, wall_s in times.items())


# ---- the budget


def planned_case(number: int, wall_s: float, mode: str = "forward") -> PlannedCase:
    case = Case(level="host", mechanism=f"m{number}", host="nano", height=64, width=64, mode=mode)
    groups = ("complexity", "accuracy") if mode == "fit" else ("complexity", "latency", "memory")
    return PlannedCase(case=case, groups=groups, macs=1, call_s=wall_s / 9, wall_s=wall_s)


def admitted(planned: list[PlannedCase]) -> list[PlannedCase]:
    return [one for one in planned if set(one.to_run) - {"complexity"}]


WALLS = st.floats(min_value=0.01, max_value=1000, allow_nan=False)
CASES = st.lists(st.tuples(WALLS, st.booleans()), min_size=1, max_size=25).map(
    lambda items: [
        planned_case(i, wall_s, "fit" if fit else "forward")
        for i, (wall_s, fit) in enumerate(items)
    ]
)


@given(CASES, st.floats(min_value=0.1, max_value=10_000))
@settings(max_examples=300, deadline=None)
def test_what_is_admitted_fits_and_nothing_is_lost(
    cases: list[PlannedCase], budget_s: float
) -> None:
    fitted = fit_budget(cases, budget_s)
    assert [p.case for p in fitted] == [p.case for p in cases]
    inside = admitted(fitted)
    assert sum(p.wall_s for p in inside) <= budget_s * (1 + 1e-9)
    for one in fitted:
        assert "complexity" in one.to_run
        if one not in inside:
            assert {status for status, _ in one.refused.values()} == {Status.OVER_BUDGET}
    # The cheapest of a kind go first: what is left out costs at least as much as what is in.
    for fit in (True, False):
        kind = [p for p in fitted if (p.case.mode == "fit") == fit]
        inner = [p.wall_s for p in kind if p in inside]
        outer = [p.wall_s for p in kind if p not in inside]
        assert max(inner, default=0.0) <= min(outer, default=float("inf"))


@given(CASES, st.floats(min_value=0.1, max_value=10_000))
@settings(max_examples=200, deadline=None)
def test_the_budget_that_the_reason_names_admits_everything(
    cases: list[PlannedCase], budget_s: float
) -> None:
    for one in fit_budget(cases, budget_s):
        for _, reason in one.refused.values():
            named = re.search(r"--budget (\S+)$", reason)
            assert named
            assert len(admitted(fit_budget(cases, parse_duration(named[1])))) == len(cases)


def test_accuracy_keeps_its_share_and_the_rest_goes_to_the_others() -> None:
    cases = [planned_case(i, 10.0, "fit") for i in range(20)]
    cases += [planned_case(100 + i, 10.0) for i in range(20)]
    inside = admitted(fit_budget(cases, 200.0))
    fits = [p for p in inside if p.case.mode == "fit"]
    assert len(fits) == ACCURACY_SHARE * 20
    assert len(inside) == 20


def test_what_one_kind_leaves_the_other_takes() -> None:
    few_fits = [planned_case(0, 10.0, "fit"), *(planned_case(1 + i, 10.0) for i in range(30))]
    assert len(admitted(fit_budget(few_fits, 200.0))) == 20
    few_others = [planned_case(0, 10.0), *(planned_case(1 + i, 10.0, "fit") for i in range(30))]
    assert len(admitted(fit_budget(few_others, 200.0))) == 20
    only_fits = [planned_case(i, 10.0, "fit") for i in range(30)]
    assert len(admitted(fit_budget(only_fits, 200.0))) == 20


def test_static_counts_are_made_whatever_the_budget() -> None:
    (one,) = fit_budget([planned_case(0, 1e6)], 1.0)
    assert one.to_run == ("complexity",)
    (static,) = plan(
        metrics="macs", mechanism="vit", res="1024", mode="train", level="host", budget="1s"
    )
    assert static.to_run == ("complexity",)


# ---- ways to execute


def test_every_way_to_execute_is_a_case_of_its_own() -> None:
    planned = plan(
        mechanism="vit", mode="forward", res="64", level="host", kernel="auto,math", compile="none",
        memory_format="contiguous,channels_last", autocast="none,bfloat16",
    )  # fmt: skip
    assert len({one.case.hash for one in planned}) == len(planned) == 8
    assert not any(one.refused for one in planned)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"level": "layer", "memory_format": "channels_last"}, "--memory-format"),
        ({"level": "host", "tf32": "on"}, "no TF32 on cpu"),
        ({"level": "host", "autocast": "bfloat16", "dtype": "bfloat16"}, "float32 weights"),
    ],
)
def test_a_way_that_means_nothing_is_not_supported(changes: dict[str, str], reason: str) -> None:
    for one in plan(mechanism="vit", **changes):
        (refused,) = set(one.refused.values())
        assert refused[0] is Status.NOT_SUPPORTED
        assert reason in refused[1]


def test_checkpointing_costs_another_forward_pass_and_compiling_some_time() -> None:
    usual = {"mechanism": "vit", "res": "64", "level": "host"}
    train, kept = plan(mode="train,checkpointed", **usual)
    assert kept.call_s == pytest.approx(train.call_s * 4 / 3)
    eager, quick = plan(mode="forward", compile="none,default", **usual)
    assert quick.wall_s > eager.wall_s + 10
    assert quick.call_s == eager.call_s
