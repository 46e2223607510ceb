"""Options of mechanisms as axes of a sweep, and clusters by stage, from text to the count."""

from __future__ import annotations

from typing import Any

import pytest

from paca_bench.complexity.memory import predict_case_memory
from paca_bench.errors import SpecError
from paca_bench.models.host import Host
from paca_bench.models.subject import build_subject, case_cost
from paca_bench.options import parse_options
from paca_bench.plan import make_plan
from paca_bench.predicted_time import Machine
from paca_bench.record import Case, Status
from paca_bench.spec import make_spec, read_suite
from tests.complexity.three_counts import comparisons

MACHINE = Machine(4e10)
ABLATIONS = ("clusters", "clustering", "sharing")


def cases(**settings: Any) -> list[Case]:
    base = {"res": "64", "level": "host", "mode": "forward", "metrics": "macs", "clusters": "9"}
    return [p.case for p in make_plan(make_spec({**base, **settings}), "cpu", MACHINE)]


def test_an_option_is_varied_where_the_mechanism_has_it() -> None:
    found = cases(mechanism="vit,paca", option=["clustering=conv,mlp", "cluster_norm=true,false"])
    assert [case.label for case in found] == [
        "vit",
        "paca (M=9, cluster_norm=True, clustering=conv)",
        "paca (M=9, cluster_norm=True, clustering=mlp)",
        "paca (M=9, cluster_norm=False, clustering=conv)",
        "paca (M=9, cluster_norm=False, clustering=mlp)",
    ]
    assert len({case.hash for case in found}) == len({case.id for case in found}) == 5


def test_clusters_by_stage_have_a_name_of_their_own_and_change_no_other() -> None:
    one, by_stage = cases(mechanism="paca", clusters="9,2-4-9-16")
    assert (one.num_clusters, one.options) == (9, ())
    assert one.id == "host-nano/paca-M9/64/forward/b1/float32/cpu"
    assert by_stage.label == "paca (M=2-4-9-16)"
    assert by_stage.id == "host-nano/paca-M2-4-9-16/64/forward/b1/float32/cpu"
    assert by_stage.num_clusters is None
    assert Case.from_json(by_stage.to_json()) == by_stage
    assert one.hash != by_stage.hash


def host_of(case: Case) -> Host:
    host = build_subject(case)
    assert isinstance(host, Host)
    return host


def test_every_stage_has_its_clusters_made_once() -> None:
    (case,) = cases(mechanism="paca", clusters="2-0-9-16")
    attentions = [[block.attention for block in stage] for stage in host_of(case).stages]
    assert [[a.num_clusters for a in stage] for stage in attentions] == [
        [m, m] for m in (2, 0, 9, 16)
    ]
    assert [[a.clustering is not None for a in stage] for stage in attentions] == [
        [True, False],
        [False, False],
        [True, False],
        [True, False],
    ]


def test_a_layer_has_the_clusters_of_its_stage() -> None:
    found = cases(mechanism="paca", clusters="2-0-9-16", level="layer", stage="1,2,3,4")
    alone = cases(mechanism="paca", clusters="2,0,9,16", level="layer", stage="1,2,3,4")
    costs = {(c.stage, c.num_clusters): case_cost(c).macs for c in alone}
    assert [case_cost(c).macs for c in found] == [
        costs[place] for place in ((1, 2), (2, 0), (3, 9), (4, 16))
    ]


def test_four_equal_ones_with_none_in_the_last_are_one_number() -> None:
    one, four = cases(mechanism="paca", clusters="9,9-9-9-0")
    assert case_cost(one).macs == case_cost(four).macs


def test_block_wise_makes_more_assignments_than_stage_wise() -> None:
    stage_wise, block_wise = cases(mechanism="paca", option="shares_assignment=true,false")
    (usual,) = cases(mechanism="paca")
    assert case_cost(stage_wise).macs == case_cost(usual).macs < case_cost(block_wise).macs


def test_predicted_memory_respects_them() -> None:
    few, many = cases(mechanism="paca", clusters="2-2-2-0,100-100-100-0", res="224")
    assert predict_case_memory(few).peak_bytes < predict_case_memory(many).peak_bytes


def test_a_layer_alone_shares_nothing() -> None:
    spec = make_spec(
        {"res": "64", "level": "layer", "mechanism": "paca", "option": "shares_assignment=true"}
    )
    refused = make_plan(spec, "cpu", MACHINE)[0].refused
    assert {status for status, _ in refused.values()} == {Status.NOT_SUPPORTED}


@pytest.mark.parametrize("suite", ABLATIONS)
def test_three_counts_agree_for_every_ablation(suite: str) -> None:
    settings = {**read_suite(f"ablation_{suite}"), "metrics": "macs", "level": "host"}
    del settings["model"], settings["accuracy_level"]
    spec = make_spec({**settings, "res": 64})
    for planned in make_plan(spec, "cpu", MACHINE):
        for comparison in comparisons(planned.case):
            assert comparison.found == comparison.expected, (planned.case.id, comparison.what)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"option": "clusterin=conv"}, "did you mean 'clustering'"),
        ({"option": "clustering"}, "is not NAME=VALUES"),
        ({"option": "clustering="}, "is not NAME=VALUES"),
        ({"option": ["clustering=conv", "clustering=mlp"]}, "given twice"),
        ({"option": "num_clusters=4"}, "write --clusters"),
        ({"option": "clustering=pool"}, "unknown clustering 'pool'"),
        ({"option": "cluster_norm=maybe"}, "takes true or false"),
        ({"option": "kernel_size=7.5"}, "takes an integer"),
        ({"option": {"clustering": [["conv"]]}}, "is not a list of"),
        ({"option": "clustering=conv", "mechanism": "vit"}, "they have none"),
        ({"option": "clustering=mlp", "level": "model"}, "add --level host"),
        ({"accuracy_level": "model"}, "add model to it"),
        ({"clusters": "4-9"}, "nor one for each of the 4 stages"),
        ({"clusters": "4-9-x-1"}, "nor one for each of the 4 stages"),
    ],
    ids=str,
)
def test_what_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        cases(**{"mechanism": "paca", **settings})


def test_one_and_true_are_two_values() -> None:
    assert parse_options("a=1,true,1.0,1") == (("a", (1, True, 1.0)),)


def test_only_the_levels_asked_for_are_trained() -> None:
    both = {"level": "host,model", "mechanism": "vit", "model": "deit_tiny_patch16_224"}
    found = cases(**both, metrics="accuracy", accuracy_level="host")
    assert [(case.level, case.mode) for case in found] == [("host", "fit")]
    assert {case.level for case in cases(**both, metrics="accuracy")} == {"host", "model"}
