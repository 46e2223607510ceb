import math
import random

import pandas as pd
import pytest

from paca_bench.analyse.crossover import crossover_table, crossovers
from paca_bench.analyse.curves import CURVE_AXES
from paca_bench.errors import SpecError
from paca_bench.results import load_results
from tests.builders import (
    RESOLUTIONS,
    censored,
    make_fit_record,
    make_record,
    make_run,
    whole_sweep,
)


def frame(tmp_path, records):
    return load_results(make_run(tmp_path / "run", records).path)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    return frame(tmp_path_factory.mktemp("sweep"), whole_sweep())


def test_crossover_of_latency_lies_between_measured_resolutions(sweep):
    # Laws: 1e-6 N + 2e-10 N² against 1.6e-6 N: equal at N = 3000, just below the first point;
    # against pvt_linear's 1.8e-6 N: N = 4000, a side of 253 px.
    found = crossovers(sweep, "latency_s", "pvt_linear", "vit")
    assert found.low <= 253 <= found.high
    assert found.low <= found.resolution <= found.high
    assert found.low > 224
    assert found.high < 320
    assert found.cheaper == "pvt_linear"
    assert found.always is None
    assert found.points == len(RESOLUTIONS)


def test_crossover_does_not_depend_on_the_order(sweep):
    one = crossovers(sweep, "latency_s", "pvt_linear", "vit")
    other = crossovers(sweep, "latency_s", "vit", "pvt_linear")
    assert one.resolution == pytest.approx(other.resolution)
    assert (one.low, one.high, one.cheaper) == (other.low, other.high, other.cheaper)


def test_no_crossover_names_the_cheaper_one(sweep):
    found = crossovers(sweep, "latency_s", "swin", "paca (M=25)")
    assert math.isnan(found.resolution)
    assert found.always == found.cheaper == "paca (M=25)"


def test_noise_widens_the_crossover_beyond_what_was_measured(tmp_path):
    records = []
    for side, a in zip((224, 320, 448), (0.9, 1.1, 1.2), strict=True):
        records.append(make_record("vit", resolution=side, latency_s=a, noise=0.3))
        records.append(make_record("swin", resolution=side, latency_s=1.0, noise=0.3))
    found = crossovers(frame(tmp_path, records), "latency_s", "swin", "vit")
    assert found.unclear == 3
    assert found.low < 320
    assert found.high == math.inf


def noisy_powers(rng, *, processes, noise):
    """Latencies r^2 of one label and 400 r of another, equal at 400 px, as a frame."""
    rows = []
    for side in (200, 300, 500, 700):
        for label, seconds in (("steep", side**2), ("flat", 400 * side)):
            samples = [2 * [seconds * math.exp(rng.gauss(0, noise))] for _ in range(processes)]
            row = dict.fromkeys((*CURVE_AXES, "num_clusters"), "x")
            row |= {"label": label, "mode": "forward", "level": "host", "height": side}
            row |= {"width": side, "latency_s": samples[0][0], "latency_samples_s": samples}
            rows.append(row | {"latency_status": "ok"})
    return pd.DataFrame(rows)


@pytest.mark.parametrize("processes", [3, 8])
def test_the_interval_of_a_latency_crossover_covers_at_about_its_rate(processes):
    rng = random.Random(3)
    hits = narrow = 0
    for _ in range(150):
        df = noisy_powers(rng, processes=processes, noise=0.05)
        found = crossovers(df, "latency_s", "flat", "steep")
        assert found.cheaper == "flat"
        assert found.low <= found.resolution <= found.high
        hits += found.low <= 400 <= found.high
        narrow += found.high - found.low < 200  # than the bracket of measured resolutions
    assert hits / 150 >= 0.91
    assert narrow > 100
    assert "Welch" in found.method


def test_a_single_process_has_the_bracket_as_its_interval():
    df = noisy_powers(random.Random(1), processes=1, noise=0.0)
    found = crossovers(df, "latency_s", "flat", "steep")
    assert found.resolution == pytest.approx(400)
    assert (found.low, found.high) == (300, 500)
    assert "distinct" in found.method


def test_the_same_seed_gives_the_same_interval():
    df = noisy_powers(random.Random(1), processes=3, noise=0.05)
    one, same, other = (crossovers(df, "latency_s", "flat", "steep", seed=s) for s in (4, 4, 5))
    assert one == same
    assert one != other


def test_the_table_has_a_row_per_place_label_and_metric(sweep):
    table = crossover_table(sweep, "vit")
    assert len(table) == 3 * 6 * 3  # host forward, host train, layer; six others; metrics
    assert set(table["reference"]) == {"vit"}
    assert "vit" not in set(table["label"])
    row = table[
        (table["label"] == "pvt_linear")
        & (table["metric"] == "latency_s")
        & (table["level"] == "host")
        & (table["mode"] == "forward")
    ].iloc[0]
    found = crossovers(sweep, "latency_s", "pvt_linear", "vit")
    assert row["resolution"] == found.resolution
    assert (row["low"], row["high"], row["method"]) == (found.low, found.high, found.method)


def test_the_table_has_a_row_where_nothing_is_shared(tmp_path):
    records = [make_record("vit"), make_record("swin", resolution=320), make_fit_record("vit")]
    table = crossover_table(frame(tmp_path, records), "vit", ("macs",))
    assert table["points"].tolist() == [0]
    assert table["method"].tolist() == ["no measured resolution in common"]
    assert crossover_table(frame(tmp_path / "none", []), "vit").empty
    with pytest.raises(SpecError, match="speed"):
        crossover_table(table, "vit", ("speed",))


def test_exact_metrics_are_interpolated_without_widening(tmp_path):
    records = []
    for side, latency in zip((100, 200, 400), (1, 4, 64), strict=True):
        records.append(make_record("vit", resolution=side, latency_s=latency))
        records.append(make_record("swin", resolution=side, latency_s=16))
    found = crossovers(frame(tmp_path, records), "macs", "vit", "swin")
    assert found.resolution == pytest.approx(math.sqrt(200 * 400))
    assert (found.low, found.high, found.unclear) == (200, 400, 0)
    assert found.cheaper == "swin"


def test_equal_costs_have_no_cheaper_one(tmp_path):
    records = [make_record(name, latency_s=1) for name in ("vit", "swin")]
    found = crossovers(frame(tmp_path, records), "macs", "vit", "swin")
    assert (found.always, found.cheaper, found.unclear) == (None, None, 1)


def test_crossover_is_none_without_common_resolutions(tmp_path):
    records = [make_record("vit"), make_record("swin", resolution=320)]
    records.append(censored(make_record("pvt")))
    df = frame(tmp_path, records)
    assert crossovers(df, "latency_s", "vit", "swin") is None
    assert crossovers(df, "latency_s", "vit", "pvt") is None
    assert crossovers(df, "latency_s", "vit", "unknown") is None
    assert crossovers(df, "latency_s", "vit", "swin", mode="train") is None


def test_crossover_asks_which_of_several_curves(tmp_path):
    df = frame(tmp_path, [make_record("vit"), make_record("vit", batch=8), make_record("swin")])
    with pytest.raises(SpecError, match="batch"):
        crossovers(df, "latency_s", "vit", "swin")
    runs = pd.concat([df[df["batch"] == 1].assign(run=name) for name in "ab"])
    with pytest.raises(SpecError, match="run"):
        crossovers(runs, "latency_s", "vit", "swin")
    assert crossovers(runs, "latency_s", "vit", "swin", run="a").points == 1
