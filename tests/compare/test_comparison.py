"""Two sides from disk to an exit code: what is compared, what is refused, what never passes."""

import itertools
import json
from dataclasses import replace

import pytest

from paca_bench.analyse.compare import Change
from paca_bench.compare import compare
from paca_bench.compare.sides import load_side
from paca_bench.compare.wording import headline, sentences
from paca_bench.errors import NothingMeasuredError, SpecError, StoreError
from paca_bench.record import Record, Status
from tests.builders import censored, make_fit_record, make_record
from tests.compare.sides import benchmark_file, record, run


@pytest.fixture
def sides(tmp_path):
    """Makes BASE and NEW from records, and compares them."""
    numbers = itertools.count()

    def make(base, new, base_facts=None, new_facts=None, **settings):
        number = next(numbers)
        return compare(
            run(tmp_path / f"base{number}", base, **(base_facts or {})),
            run(tmp_path / f"new{number}", new, **(new_facts or {})),
            **settings,
        )

    return make


def said(comparison):
    return " ".join([headline(comparison), *sentences(comparison)])


def without_timing(one: Record) -> Record:
    return replace(one, statuses={"complexity": Status.OK}, samples={})


def failed(one: Record, status: Status, reason: str = "") -> Record:
    return censored(one, status=status, reason=reason)


# ---- verdicts and exit codes


def test_the_same_code_twice_is_clean(sides):
    found = sides([record("vit"), record("pvt")], [record("vit", seed=1), record("pvt", seed=1)])
    assert found.exit_code == 0
    assert found.count(Change.SAME) == 2
    assert headline(found) == "No regression found in 2 cases."
    assert "Exactly equal" in said(found)
    assert "Smallest slowdown that would have been found" in said(found)


def test_a_slower_case_is_a_regression_and_swapped_it_is_none(sides):
    base, new = [record("vit"), record("pvt")], [record("vit", slower=1.2), record("pvt", seed=1)]
    found = sides(base, new)
    assert found.exit_code == 1
    assert [case.id for case in found.slower] == [new[0].case.id]
    assert "1 of 2 cases slower" in headline(found)
    back = sides(new, base)
    assert back.exit_code == 0
    assert back.count(Change.FASTER) == 1


@pytest.mark.parametrize(
    ("metric", "rise", "code"),
    [
        ("macs", 1, 1),
        ("params", 1, 1),
        ("predicted_peak_memory_bytes", 1, 0),
        ("predicted_peak_memory_bytes", 10**6, 1),
        ("elementwise_ops", 1, 0),
    ],
)
def test_any_change_of_a_count_is_found_without_timing(sides, metric, rise, code):
    base = without_timing(record("vit"))
    new = replace(base, metrics={**base.metrics, metric: base.metrics[metric] + rise})
    found = sides([base], [new])
    assert found.exit_code == code
    assert [static.metric for _, static in found.static_changes] == [metric]
    assert "Changed, exactly" in said(found)
    back = sides([new], [base])
    assert back.exit_code == 0
    assert len(back.static_changes) == 1


def test_counts_beyond_a_floats_precision_are_told_apart(sides):
    big = 2**60
    found = sides([record("vit", macs=big)], [record("vit", macs=big + 1)])
    assert found.exit_code == 1


def test_unequal_either_way_if_asked(sides):
    base, new = [record("vit", macs=9)], [record("vit", macs=8)]
    assert sides(base, new).exit_code == 0
    assert sides(base, new, fail_on="macs!=0").exit_code == 1


def test_only_what_is_named_can_fail(sides):
    base, new = [record("vit")], [record("vit", slower=1.5, macs=1)]
    assert sides(base, new, fail_on="params>0").exit_code == 0


def test_one_changed_count_among_thousands_is_found(tmp_path):
    records = [
        without_timing(make_record("vit", resolution=32 * n, batch=b))
        for n in range(1, 65)
        for b in range(1, 17)
    ]
    base = run(tmp_path / "base", records)
    changed = {**records[500].metrics, "macs": 1}
    records[500] = replace(records[500], metrics=changed)
    new = run(tmp_path / "new", records)
    found = compare(base, new, fail_on="macs!=0")
    assert found.exit_code == 1
    assert [case.id for case, _ in found.static_changes] == [records[500].case.id]


# ---- conditions


@pytest.mark.parametrize(
    ("fact", "value"),
    [
        ("torch", "2.14.0"),
        ("threads", 8),
        ("cpu", "Another CPU"),
        ("malloc", {"MALLOC_MMAP_THRESHOLD_": "1"}),
        ("gpu", {"name": "Made-up GPU"}),
    ],
)
def test_another_machine_refuses_the_latency_and_compares_the_counts(sides, fact, value):
    base, new = [record("vit")], [record("vit", slower=1.5)]
    found = sides(base, new, new_facts={fact: value})
    assert found.exit_code == 3
    assert not found.judged
    assert str(value.get("name", "MMAP") if isinstance(value, dict) else value) in headline(found)
    assert "--allow-different" in headline(found)
    assert found.cases[0].statics
    allowed = sides(base, new, new_facts={fact: value}, allow_different=True)
    assert allowed.exit_code == 1
    assert "Not the same on both sides" in said(allowed)


def test_another_machine_is_no_matter_where_only_counts_may_fail(sides):
    new_facts = {"cpu": "Another CPU"}
    assert sides([record()], [record()], new_facts=new_facts, fail_on="macs>0").exit_code == 0
    changed = sides([record(macs=1)], [record(macs=2)], new_facts=new_facts)
    assert changed.exit_code == 1


def test_another_kernel_refuses_only_that_case(sides):
    base = [record("vit"), record("pvt")]
    found = sides(base, [record("vit", kernel="math"), record("pvt", seed=1)])
    assert found.exit_code == 3
    assert [case.id for case in found.refused] == [base[0].case.id]
    assert "kernel path: flash → math" in headline(found)


@pytest.mark.parametrize("axis", [{"device": "cuda:0"}, {"dtype": "bfloat16"}])
def test_another_device_or_dtype_pairs_counts_only(sides, axis):
    one = record("vit")
    other = replace(one, case=replace(one.case, **axis))
    found = sides([one], [other])
    assert found.exit_code == 3
    assert [static.name for static in found.cases[0].statics] == [
        "macs",
        "params",
        "elementwise_ops",
    ]
    assert next(iter(axis.values())) in headline(found)


def test_a_side_that_mixes_conditions_is_not_averaged(tmp_path):
    (tmp_path / "base").mkdir()
    run(tmp_path / "base" / "a", [record("vit")])
    run(tmp_path / "base" / "b", [record("vit", seed=1)], torch="2.14.0")
    found = compare(tmp_path / "base", run(tmp_path / "new", [record("vit", seed=2)]))
    assert found.exit_code == 3
    assert "torch: 2.13.0 and 2.14.0 → 2.13.0" in headline(found)


# ---- nothing compared never passes


@pytest.mark.parametrize("name", ["base", "new"])
def test_a_missing_side(tmp_path, name):
    there = run(tmp_path / "there", [record()])
    paths = {"base": there, "new": there, name: tmp_path / "missing"}
    with pytest.raises(NothingMeasuredError, match=rf"{name.upper()} .*missing does not exist"):
        compare(**paths)


def test_an_empty_folder_and_an_empty_run(tmp_path):
    there = run(tmp_path / "there", [record()])
    (tmp_path / "empty").mkdir()
    with pytest.raises(NothingMeasuredError, match="empty folder"):
        compare(tmp_path / "empty", there)
    with pytest.raises(NothingMeasuredError, match="holds no case"):
        compare(run(tmp_path / "none", [make_fit_record("vit")]), there)


def test_disjoint_cases(sides):
    found = sides([record("vit")], [record("pvt")])
    assert found.exit_code == 3
    assert "no case in common" in headline(found)


def test_no_metric_in_common(sides):
    found = sides([record()], [record()], fail_on="backward_macs>0")
    assert found.exit_code == 3
    assert "no case has backward macs on both sides" in headline(found)


@pytest.mark.parametrize("status", [Status.CRASH, Status.ERROR, Status.WRONG, Status.TIMEOUT])
@pytest.mark.parametrize("crashed", ["base", "new"])
def test_a_crashed_side(sides, status, crashed):
    good = [record("vit"), record("pvt")]
    bad = [failed(record("vit"), status, "signal 11"), record("pvt", seed=1)]
    base, new = (bad, good) if crashed == "base" else (good, bad)
    found = sides(base, new)
    assert found.exit_code == 3
    assert f"latency on {crashed.upper()}: {status} (signal 11)" in headline(found)


def test_what_fails_on_both_sides_is_no_news(sides):
    bad = failed(record("vit"), Status.OUT_OF_MEMORY)
    assert sides([bad, record("pvt")], [bad, record("pvt", seed=1)]).exit_code == 0


def test_a_regression_outranks_what_could_not_be_compared(sides):
    bad = failed(record("vit"), Status.CRASH)
    found = sides([record("vit"), record("pvt", macs=1)], [bad, record("pvt", macs=2)])
    assert found.exit_code == 1


def test_strict_fails_on_what_stays_open(sides):
    one = record("vit")
    single = replace(one, samples={"latency_s": one.samples["latency_s"][:1]})
    assert sides([one], [single]).exit_code == 0
    found = sides([one], [single], strict=True)
    assert found.exit_code == 4
    assert "inconclusive" in headline(found)
    left_out = sides([one, record("pvt")], [record("vit", seed=1)], strict=True)
    assert left_out.exit_code == 4
    assert "not in NEW" in headline(left_out)
    assert "In BASE and not in NEW: 1 case" in said(left_out)


def test_what_new_never_measured_is_said_and_open(sides):
    base = [record("vit"), record("pvt")]
    late = failed(record("vit"), Status.OVER_BUDGET)
    uncounted = {k: v for k, v in late.metrics.items() if k != "macs"}
    new = [replace(late, metrics=uncounted), record("pvt", seed=1)]
    found = sides(base, new)
    assert found.exit_code == 0
    assert "In BASE and not in NEW: latency of 1 case and macs of 1 case." in said(found)
    assert sides(base, new, strict=True).exit_code == 4


# ---- sources


def test_several_runs_of_a_side_are_more_processes(tmp_path):
    (tmp_path / "base").mkdir()
    for number in range(3):
        run(tmp_path / "base" / str(number), [record("vit", seed=number)])
    side = load_side(tmp_path / "base", "BASE")
    assert side.runs == 3
    (case,) = side.cases.values()
    assert len(case.processes) == 24


def test_runs_of_different_code_are_not_one_side(tmp_path):
    (tmp_path / "base").mkdir()
    run(tmp_path / "base" / "a", [record("vit", macs=1)])
    run(tmp_path / "base" / "b", [record("vit", macs=2)])
    with pytest.raises(StoreError, match=r"disagree in macs of host-nano/vit.*1 and 2"):
        load_side(tmp_path / "base", "BASE")


def test_one_pytest_benchmark_file_a_side_decides_counts_but_no_latency(tmp_path):
    base = benchmark_file(tmp_path / "base.json")
    found = compare(base, benchmark_file(tmp_path / "new.json", slower=1.5))
    assert found.exit_code == 0
    assert found.count(Change.INCONCLUSIVE) == 2
    assert "one process" in said(found)
    assert found.judged[0][1].ratio.value == pytest.approx(1.5, rel=0.03)
    changed = compare(base, benchmark_file(tmp_path / "changed.json", macs=1001))
    assert changed.exit_code == 1


def test_several_pytest_benchmark_files_a_side_decide(tmp_path):
    for name, slower in (("base", 1.0), ("new", 1.2)):
        (tmp_path / name).mkdir()
        for number in range(6):
            benchmark_file(tmp_path / name / f"{number}.json", slower, f"{name}{number}")
    found = compare(tmp_path / "base", tmp_path / "new")
    assert found.exit_code == 1
    assert found.count(Change.SLOWER) == 2


def test_a_benchmark_saved_without_its_samples_counts_by_its_median(tmp_path):
    file = benchmark_file(tmp_path / "base.json")
    content = json.loads(file.read_text())
    for one in content["benchmarks"]:
        del one["stats"]["data"]
    file.write_text(json.dumps(content))
    cases = load_side(file, "BASE").cases.values()
    assert [case.processes for case in cases] == [[[0.01]], [[0.01]]]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("not json", "is not JSON"),
        ("[]", "no list of benchmarks"),
        ('{"benchmarks": [1]}', "not a JSON object"),
        ('{"benchmarks": [{}]}', "has no name"),
        ('{"benchmarks": [{"name": "a", "stats": {"data": [0]}}]}', "not positive numbers"),
        ('{"benchmarks": [{"name": "a", "stats": {"data": ["x"]}}]}', "not positive numbers"),
    ],
)
def test_a_damaged_file_is_unreadable_input(tmp_path, content, says):
    file = tmp_path / "base.json"
    file.write_text(content)
    with pytest.raises(StoreError, match=says):
        load_side(file, "BASE")


def test_a_damaged_run_is_unreadable_input(tmp_path):
    base = run(tmp_path / "base", [record()])
    (base / "records.jsonl").write_text("{}\n{}\n")
    with pytest.raises(StoreError, match="line 1"):
        compare(base, base)


def test_an_interrupted_run_is_said(tmp_path):
    base = run(tmp_path / "base", [record()], finished=False)
    found = compare(base, run(tmp_path / "new", [record(seed=1)]))
    assert "did not come to its end" in said(found)


def test_all_moved_the_same_way_is_doubted(sides):
    names = ("vit", "pvt", "swin", "pvt_linear")
    found = sides([record(n) for n in names], [record(n, slower=1.03) for n in names])
    assert found.exit_code == 0
    assert "All 4 cases moved the same way" in said(found)


def test_a_senseless_q(sides):
    with pytest.raises(SpecError, match="q must lie"):
        sides([record()], [record()], q=2.0)
