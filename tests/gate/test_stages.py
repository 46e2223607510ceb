"""The order and the number of processes, and rates over many gates, with arms of cardboard."""

import math
from collections import Counter

import pytest

from paca_bench.analyse.compare import Change
from paca_bench.analyse.gate import CONFIRMING_LAUNCHES, MIN_LAUNCHES, judge
from paca_bench.gate.stages import ARMS, BASE, HEAD, NULL, State, TwoStages
from paca_bench.record import Status
from paca_bench.workers import Outcome
from tests.gate.fakes import FakeArms, Noise
from tests.gate.rates import rates

LIMIT = math.log1p(0.02)
CRASH = Outcome(status=Status.CRASH, reason="signal 11", seconds=0.1)


def measure(arms, cases=4, budget_s=60.0, seed=0):
    stages = TwoStages(
        arms.start, cases, limit=LIMIT, budget_s=budget_s, seed=seed, clock=arms.clock
    )
    done = stages.run()
    return stages, done


def changes(done):
    return [v.judgement.change for v in judge([case.stages for case in done], 0.02)]


def blocks_of(arms, cases):
    """The first launch after warming and checking: blocks of three processes of one case."""
    counted = arms.log[len(ARMS) + 2 * cases : arms.begins[1]]
    return [counted[i : i + 3] for i in range(0, len(counted), 3)]


def test_a_block_is_one_process_of_each_arm_and_the_next_one_is_its_mirror_image():
    arms = FakeArms(Noise(0.05))
    measure(arms, cases=3, budget_s=200)
    orders = {}
    for block in blocks_of(arms, 3):
        assert len({case for _, case in block}) == 1
        assert sorted(arm for arm, _ in block) == sorted(ARMS)
        orders.setdefault(block[0][1], []).append([arm for arm, _ in block])
    for found in orders.values():
        assert len(found) >= 4
        assert all(found[i] == found[i - 1][::-1] for i in range(1, len(found), 2))
    assert len({tuple(order) for found in orders.values() for order in found}) > 3


def test_cases_are_shuffled_in_each_round_and_the_seed_repeats_it():
    def cases_in_order(seed):
        arms = FakeArms(Noise(0.05))
        measure(arms, cases=6, budget_s=120, seed=seed)
        return [block[0][1] for block in blocks_of(arms, 6)]

    first = cases_in_order(1)
    rounds = [first[i : i + 6] for i in range(0, 24, 6)]
    assert all(sorted(one) == list(range(6)) for one in rounds)
    assert len(set(map(tuple, rounds))) > 1
    assert cases_in_order(1) == first != cases_in_order(2)


def test_equal_code_on_a_steady_machine_ends_early_and_needs_no_second_stage():
    arms = FakeArms(Noise(0.003))
    stages, done = measure(arms, budget_s=120)
    assert changes(done) == [Change.SAME] * 4
    assert arms.starts == MIN_LAUNCHES
    assert stages.seconds < 60
    assert not any(case.confirming for case in done)


def test_a_suspect_is_measured_again_in_further_launches_and_alone():
    arms = FakeArms(Noise(0.003), slower={2: 1.1})
    stages, done = measure(arms, budget_s=120)
    assert changes(done) == [Change.SAME, Change.SAME, Change.SLOWER, Change.SAME]
    assert arms.starts == MIN_LAUNCHES + CONFIRMING_LAUNCHES
    launches = [len(case.confirming) for case in done]
    assert launches == [0, 0, CONFIRMING_LAUNCHES, 0]
    assert stages.seconds < 90


def test_what_the_processes_of_a_server_have_in_common_is_no_change():
    """Equal code, servers that differ by as much as the threshold, and no other noise."""
    for seed in range(20):
        arms = FakeArms(Noise(0.001, server=0.02), seed=seed)
        assert Change.SLOWER not in changes(measure(arms, budget_s=120, seed=seed)[1])


def test_swapping_the_sides_flips_the_verdicts():
    there = changes(measure(FakeArms(Noise(0.003), slower={0: 1.1, 1: 0.9}))[1])
    back = changes(measure(FakeArms(Noise(0.003), slower={0: 1 / 1.1, 1: 1 / 0.9}))[1])
    assert there[:2] == [Change.SLOWER, Change.FASTER]
    assert back == [change.swapped for change in there]


def test_drift_is_no_change():
    arms = FakeArms(Noise(0.005, drift=0.5))
    assert Change.SLOWER not in changes(measure(arms, budget_s=60)[1])


@pytest.mark.parametrize("budget_s", [5.0, 30.0, 90.0])
def test_the_budget_bounds_the_measuring(budget_s):
    # Of such gates one in a hundred calls a case changed, which this seed does not.
    arms = FakeArms(Noise(0.2), seed=1)
    stages, done = measure(arms, budget_s=budget_s)
    assert stages.seconds <= budget_s
    # And is used up where it is needed.
    assert stages.seconds > 0.8 * budget_s
    assert set(changes(done)) == {Change.INCONCLUSIVE}


def test_too_small_a_budget_still_gives_each_case_an_interval_and_decides_nothing():
    _, done = measure(FakeArms(slower={0: 2.0}), budget_s=0.1)
    assert [[len(blocks) for blocks in case.screening] for case in done] == [[1, 1]] * 4
    assert set(changes(done)) == {Change.INCONCLUSIVE}


def test_time_goes_where_it_is_uncertain():
    """One noisy case among quiet ones gets most of the blocks."""
    arms = FakeArms(Noise(0.003))
    noisy = FakeArms(Noise(0.05), seed=1)
    quiet_noise = arms._noise
    arms._noise = lambda: (noisy._noise if arms.log[-1][1] == 1 else quiet_noise)()
    _, done = measure(arms, budget_s=60)
    counts = [len(case.blocks) for case in done]
    assert counts[1] > 5 * max(counts[0], *counts[2:])


def test_more_suspects_than_can_be_confirmed():
    """The plainest go first, and what is left out says so."""
    arms = FakeArms(Noise(0.02), slower={i: 1.06 + 0.05 * i for i in range(8)})
    _, done = measure(arms, cases=8, budget_s=40)
    confirmed = [case.index for case in done if case.stages.is_confirmed]
    assert 0 < len(confirmed) < 8
    assert 7 in confirmed
    verdicts = judge([case.stages for case in done], 0.02)
    reasons = [verdicts[i].judgement.reason for i in range(8) if i not in confirmed]
    assert all("budget" in reason for reason in reasons)


@pytest.mark.parametrize(("arm", "side"), [(BASE, BASE), (HEAD, HEAD), (NULL, BASE)])
def test_a_case_that_crashes_is_measured_no_further_and_the_others_are(arm, side):
    arms = FakeArms(Noise(0.003), fails={(arm, 1): CRASH})
    _, done = measure(arms)
    assert done[1].failures == {side: CRASH}
    assert done[1].state is State.FAILED
    assert Counter(arms.log)[arm, 1] <= 2
    assert all(len(done[i].screening) >= MIN_LAUNCHES for i in (0, 2, 3))


def test_a_wrong_result_of_both_sides_is_kept_for_both():
    wrong = Outcome(status=Status.WRONG, reason="far off", seconds=0.1)
    arms = FakeArms(fails={(BASE, 0): wrong, (HEAD, 0): wrong})
    _, done = measure(arms)
    assert done[0].failures == {BASE: wrong, HEAD: wrong}
    assert not done[0].screening


def test_rates_of_a_few_gates():
    """The same code as ``python -m tests.gate.rates``, whose rates are over hundreds."""
    assert rates(3, Noise(0.015)).alarms == 0
    assert rates(3, Noise(0.015), slowdown=0.05).found == 1
    assert rates(4, Noise(0.02), cases=1, slowdown=0.03, budget_s=60).found == 1
