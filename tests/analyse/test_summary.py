import math

import pytest

from paca_bench.analyse.summary import summary_table, unmeasured
from paca_bench.record import Status
from paca_bench.results import load_results
from tests.builders import censored, make_fit_record, make_record, make_run, whole_sweep


def frame(tmp_path, records):
    return load_results(make_run(tmp_path / "run", records).path)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    return frame(tmp_path_factory.mktemp("sweep"), whole_sweep())


def test_one_row_per_curve_with_both_ends(sweep):
    table = summary_table(sweep)
    assert len(table) == 7 * 3  # the trainings are a column of their curves
    vit = table[(table["label"] == "vit") & (table["level"] == "host")].set_index("mode")
    cases = sweep[(sweep["label"] == "vit") & (sweep["level"] == "host")]
    forward = cases[cases["mode"] == "forward"].set_index("resolution")
    row = vit.loc["forward"]
    for metric in ("macs", "latency_s", "latency_low_s", "latency_high_s", "peak_memory_bytes"):
        assert row[f"{metric}_at_min"] == forward.loc[224, metric]
        assert row[f"{metric}_at_max"] == forward.loc[1024, metric]
    assert row["latency_exponent_low"] <= row["latency_exponent"] <= row["latency_exponent_high"]
    assert row["macs_exponent"] > 1.4
    assert (row["macs_law"], row["macs_linear_claim"]) == ("quadratic", "does not hold")
    assert (row["latency_law"], row["latency_linear_claim"]) == ("quadratic", "does not hold")
    assert (row["accuracy"], row["accuracy_resolution"]) == (0.93, 32)
    assert row["accuracy_method"] == "t over 3 seeds"
    assert "least squares" in row["exponent_method"]


def test_censored_end_is_nan_and_counted(sweep):
    table = summary_table(sweep)
    row = table[(table["label"] == "vit") & (table["mode"] == "train")].iloc[0]
    assert (row["cases"], row["unmeasured"], row["resolution_max"]) == (6, 1, 1024)
    assert math.isnan(row["latency_s_at_max"])
    assert row["macs_at_max"] > 0


def test_layers_have_no_accuracy(sweep):
    table = summary_table(sweep)
    assert table[table["level"] == "layer"]["accuracy"].isna().all()
    assert table[table["level"] == "host"]["accuracy"].notna().all()


def test_a_training_alone_has_a_row_of_its_own(tmp_path):
    table = summary_table(frame(tmp_path, [make_fit_record("vit"), make_record("swin")]))
    assert table["mode"].tolist() == ["fit", "forward"]
    assert table["accuracy"].tolist()[0] == 0.95
    assert math.isnan(table["accuracy"].tolist()[1])


def test_nothing_gives_an_empty_table(tmp_path):
    df = frame(tmp_path, [])
    assert summary_table(df).empty
    assert "latency_exponent" in summary_table(df)
    assert unmeasured(df).empty
    assert "reason" in unmeasured(df)


def test_unmeasured_has_a_row_per_group(tmp_path):
    first = censored(make_record("vit", level="layer", stage=2))
    both = censored(first, "memory", Status.OUT_OF_MEMORY, "needs 9 GiB; 4 are free")
    rows = unmeasured(frame(tmp_path, [both, make_record("swin")]))
    assert rows["group"].tolist() == ["latency", "memory"]
    assert rows["status"].tolist() == ["over_budget", "out_of_memory"]
    # A reason may hold the separator of reasons, and only the group's own part is given.
    assert rows["reason"].tolist() == [
        "predicted 41 min, budget 10 min; raise --budget",
        "needs 9 GiB; 4 are free",
    ]
    assert rows["resolution"].tolist() == ["224", "224"]
    assert (rows["predicted_wall_s"] > 0).all()
    assert (rows["stage"] == 2).all()


def test_unmeasured_without_recorded_reason(tmp_path):
    data = make_record("vit").to_json()
    data["statuses"]["latency"] = Status.CRASH.value
    record = type(make_record("vit")).from_json(data)
    rows = unmeasured(frame(tmp_path, [record]))
    assert rows[["status", "reason"]].to_numpy().tolist() == [["crash", ""]]
