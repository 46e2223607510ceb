import itertools
import re
from dataclasses import replace
from pathlib import Path

import pytest

from paca_bench.analyse.summary import verdict
from paca_bench.record import Status
from paca_bench.results import load_results
from tests.builders import (
    LAWS,
    RESOLUTIONS,
    censored,
    make_fit_record,
    make_record,
    make_run,
    make_training,
    whole_sweep,
)


def say(tmp_path, *runs):
    paths = [make_run(tmp_path / "abc"[i], records).path for i, records in enumerate(runs)]
    return verdict(load_results(paths))


def curve(mechanism, clusters=None, sides=RESOLUTIONS, **axes):
    return [make_record(mechanism, clusters, resolution=side, **axes) for side in sides]


def one(sentences, *words):
    """The only sentence with all of the words."""
    found = [s for s in sentences if all(word in s for word in words)]
    assert len(found) == 1, (words, sentences)
    return found[0]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return say(tmp_path_factory.mktemp("whole"), whole_sweep())


def test_whole_sweep_is_put_into_few_sentences(whole):
    assert "from 224 to 1024 px" in whole.question
    assert "host nano, forward" in whole.question
    assert 4 <= len(whole.sentences) <= 10
    assert all(re.search(r"\d", s) and s.endswith((".", ".)")) for s in whole.sentences)


def test_the_fastest_is_named_with_its_interval(whole):
    first = whole.sentences[0]
    assert "At 1024 px" in first
    assert "paca (M=25) is fastest" in first
    # Laws: (2e-3 + 1e-6 N + 2e-10 N²) / (2e-3 + 1.4e-6 N) at N = 65536.
    value, low, high = map(float, re.search(r"vit (\S+) \[(\S+), (\S+)\]", first).groups())
    assert low <= value <= high
    assert value == pytest.approx(9.86, rel=0.05)
    assert "Welch" in first


def test_growth_says_what_is_linear(whole):
    layer = one(whole.sentences, "attention alone (stage 1)")
    host = one(whole.sentences, "Growth of host nano")
    for sentence in (layer, host):
        assert re.search(r"vit p = 1\.\d\d \[.*?\] in latency, more than linear", sentence)
        assert re.search(
            r"paca \(M=49\) p = 0\.\d\d \[.*?\] in latency, less than linear", sentence
        )
        assert "in MACs" in sentence


def test_the_claim_linear_is_judged(whole):
    text = one(whole.sentences, "Is growth linear (attention alone")
    # Laws: 2e-3 + 1e-6 N + 2e-10 N² (at the top 1.93 without the constant), 2e-3 + 1.6e-6 N.
    vit, paca = text.partition("paca (M=49): ")[::2]
    assert re.search(r"in latency it does not hold, 1\.\d\d \[1\.\d\d, (1\.\d\d|2\.00)\]", vit)
    assert re.search(r"in MACs it does not hold, 1\.93 \[1\.93, 1\.93\]", vit)
    assert "law linear + quadratic" in vit
    assert re.search(r"in latency it (holds|is not shown), 1\.00 \[1\.00, 1\.\d\d\]", paca)
    assert "in MACs it holds, 1.00 [1.00, 1.00]" in paca
    assert "at most 1.1" in text


def test_the_claim_says_how_far_it_was_measured(tmp_path):
    records = curve("vit", sides=(*RESOLUTIONS, 1536))
    records[-1] = censored(records[-1], status=Status.TIMEOUT, reason="no result; raise --timeout")
    data = records[-1].to_json()
    data["metrics"]["latency_lower_bound_s"] = 1.0
    records[-1] = type(records[-1]).from_json(data)
    text = one(say(tmp_path, records).sentences, "Is growth linear (host nano, forward")
    assert "measured up to N = 65536 of 147456, 1 lower bound respected" in text


def test_memory_accuracy_clusters_and_gaps_are_named(whole):
    assert "vit 72.6 times" in one(whole.sentences, "peak memory")
    accuracy = one(whole.sentences, "Trained and tested at 32 px")
    assert "paca (M=49) reaches 93.0% [91.8%, 94.2%] (t over 3 seeds)" in accuracy
    assert "inconclusive beside" in accuracy
    assert "vit 93.0% (+0.0 [" in accuracy
    assert "its MACs by 1.42 (exact)" in one(whole.sentences, "From M=25 to M=100")
    assert one(whole.sentences, "Not measured, of 133 cases").count("--budget") == 1


def test_close_latencies_are_not_called_faster(tmp_path):
    records = [make_record(name, latency_s=0.01, noise=0.05) for name in ("vit", "swin")]
    first = say(tmp_path, records).sentences[0]
    assert "Not distinguishable from it" in first
    assert "fastest" not in first
    assert "faster" not in first


def test_different_kernel_paths_are_said(tmp_path):
    vit, swin = make_record("vit"), make_record("swin")
    swin = replace(swin, details={**swin.details, "kernel_path": "explicit"})
    assert (
        "different kernel paths (flash: vit; explicit: swin)"
        in (say(tmp_path, [vit, swin]).sentences[0])
    )


def test_same_kernel_path_needs_no_caution(whole):
    assert not any("kernel path" in s for s in whole.sentences)


def test_a_crossover_lies_in_its_interval(tmp_path):
    # vit 1e-6 N + 2e-10 N², pvt_linear 1.8e-6 N: equal at a side of 253 px.
    records = [*curve("vit", noise=0.005), *curve("pvt_linear", noise=0.005)]
    text = one(say(tmp_path, records).sentences, "becomes faster than")
    assert "pvt_linear becomes faster than vit" in text
    at, low, high = map(int, re.search(r"about (\d+) px \[(\d+), (\d+)\]", text).groups())
    assert low <= 253 <= high
    assert low <= at <= high


def test_one_case_has_a_verdict_without_comparison(tmp_path):
    said = say(tmp_path, [make_record("paca", 49)])
    assert said.question.startswith("What does paca (M=49) cost at 224 px")
    assert "No other mechanism" in said.sentences[0]
    assert not any("fastest" in s or "faster than" in s for s in said.sentences)
    assert one(said.sentences, "at least three resolutions")
    assert "--metrics accuracy" in said.sentences[-1]


def test_what_failed_at_the_largest_resolution_is_named(tmp_path):
    records = [*curve("paca", 49), *curve("swin"), *curve("vit")]
    records[-1] = censored(records[-1], status=Status.OUT_OF_MEMORY, reason="allocator")
    said = say(tmp_path, records)
    assert "Not measured there: vit (out of memory)." in said.sentences[0]
    assert "lower --batch" in said.sentences[-1]


def test_what_was_measured_alone_is_not_compared(tmp_path):
    vit = curve("vit", sides=(224, 320))
    records = [*vit, censored(make_record("vit", resolution=448))]
    records += curve("paca", 49, sides=(224, 320, 448))
    first = say(tmp_path, records).sentences[0]
    assert first.startswith("At 320 px")
    assert "At 448 px only paca (M=49) was measured" in first


def test_nothing_measured_is_said(tmp_path):
    assert say(tmp_path, []).sentences[0] == "Nothing was measured."
    failed = censored(censored(make_record("vit")), "memory")
    data = failed.to_json()
    data["statuses"]["complexity"] = Status.ERROR.value
    said = say(tmp_path / "failed", [type(failed).from_json(data)])
    assert said.sentences[0] == "Nothing was measured."
    assert "latency of 1 case, over budget" in said.sentences[-1]


def test_only_counted_macs_say_nothing_about_speed(tmp_path):
    records = [censored(r) for r in (*curve("vit"), *curve("paca", 49))]
    said = say(tmp_path, records)
    assert "No latency was measured" in said.sentences[0]
    assert re.search(r"paca \(M=49\), 4\.\d+ G", said.sentences[0])
    assert "in MACs" in one(said.sentences, "Growth of host")
    assert not any("faster" in s for s in said.sentences)


def test_only_trainings(tmp_path):
    said = say(tmp_path, [make_fit_record("paca", 49, 0.95), make_fit_record("vit", None, 0.85)])
    assert "higher than vit 85.0%" in said.sentences[0]
    assert "--metrics complexity,latency,memory" in said.sentences[-1]


def test_worse_accuracy_is_said(tmp_path):
    records = [make_record("paca", 25), make_record("paca", 100)]
    records += [make_fit_record("paca", 25, 0.95), make_fit_record("paca", 100, 0.85)]
    sentences = say(tmp_path, records).sentences
    assert "accuracy at 32 px falls, from 95.0%" in one(sentences, "From M=25 to M=100")


def test_the_same_training_under_two_names_is_the_same(tmp_path):
    one = make_training("paca", 49, images=200)
    two = replace(one, case=replace(one.case, mechanism="mine", num_clusters=None))
    text = say(tmp_path, [one, two]).sentences[0]
    assert "the same within 1 point as mine" in text
    assert "false discoveries controlled" in text


def test_accuracies_of_few_and_many_clusters_are_those_of_one_resolution(tmp_path):
    records = [make_record("paca", 25), make_record("paca", 100)]
    records += [make_training("paca", 25, resolution=r, logit=r / 16) for r in (32, 64)]
    records += [make_training("paca", 100, logit=2)]
    text = one(say(tmp_path, records).sentences, "From M=25 to M=100")
    first = records[2].metrics["accuracy"]
    assert f"accuracy at 32 px does not change distinguishably, from {100 * first:.1f}%" in text


def test_the_front_is_said_with_probabilities(tmp_path):
    records = [make_record("vit", latency_s=0.1), make_record("swin", latency_s=0.2)]
    records += [make_training("vit", logit=4), make_training("swin", logit=-1)]
    text = one(say(tmp_path, records).sentences, "Pareto front of accuracy (trained at 32 px)")
    assert "against latency at 224 px" in text
    assert "with at least 95% probability: vit (>99%); off it: swin (<1%)" in text
    assert "draws of latencies by log-t over processes" in text


def test_without_latencies_the_front_is_that_of_macs(tmp_path):
    records = [make_training("vit", macs=10), make_training("swin", macs=20, logit=3.1)]
    text = one(say(tmp_path, records).sentences, "Pareto front")
    assert "against MACs at 32 px" in text
    assert "undecided: swin" in text
    alone = say(tmp_path / "alone", records[:1])
    assert not any("Pareto" in sentence for sentence in alone.sentences)


def test_plugins_and_layers_and_train_mode_have_a_verdict(tmp_path):
    records = [*curve("mine", level="layer", stage=2, mode="train")]
    records += curve("yours", level="layer", stage=2, mode="train")
    said = say(tmp_path, records)
    assert "attention alone, stage 2 of nano, train" in said.question
    assert "mine p = " in one(said.sentences, "Growth")


def test_runs_are_named_and_the_same_cases_compared(tmp_path):
    first = [*curve("vit"), *curve("swin")]
    slow = [
        make_record("vit", resolution=r.case.height, latency_s=1.5 * r.metrics["latency_s"], seed=5)
        for r in first[:6]
    ]
    said = say(tmp_path, first, slow)
    assert "run a:" in said.question
    text = one(said.sentences, "Run b beside run a, same 6 cases")
    assert "slower in 6, faster in 0" in text
    assert "MACs differ in 6 of 6" in text
    ratio, low, high = map(float, re.search(r"at (\S+) \[(\S+), (\S+)\] times", text).groups())
    assert low <= ratio <= high
    assert ratio == pytest.approx(1.5, rel=0.1)


def test_runs_without_common_cases(tmp_path):
    said = say(tmp_path, [make_record("vit")], [make_record("swin")])
    assert one(said.sentences, "Runs a and b share no case")


@pytest.mark.parametrize("count", range(1, len(LAWS)))
def test_any_subset_of_mechanisms_and_modes_has_a_verdict(tmp_path, count):
    subset = list(itertools.islice(LAWS, count))
    records = [
        record
        for record in whole_sweep()
        if (record.case.mechanism, record.case.num_clusters) in subset
        and record.case.mode != ("train", "fit", "forward")[count % 3]
    ]
    said = say(tmp_path, records)
    assert len(said.sentences) >= 4
    assert not any("nan" in s.replace("nano", "") for s in (said.question, *said.sentences))


def test_a_sentence_names_as_many_labels_as_can_be_read(tmp_path: Path) -> None:
    records = [make_record("paca", m) for m in range(1, 41)]
    sentences = verdict(load_results(make_run(tmp_path / "run", records).path)).sentences
    assert "; 28 more (bytes over" in next(text for text in sentences if "peak memory" in text)
    assert max(map(len, sentences)) < 1200
