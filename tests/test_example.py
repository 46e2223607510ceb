"""The example of a user's own mechanism, swept for real, and small."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

import paca_bench
from paca_bench.attention import registry
from paca_bench.models.geometry import get_geometry, layer_shape
from paca_bench.record import GROUPS
from paca_bench.sweeper import sweep
from tests.fakes import own_registry

EXAMPLE = Path(__file__).parents[1] / "examples" / "my_attention.py"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with own_registry():
        yield sweep(
            out=tmp_path_factory.mktemp("example") / "run",
            plugin=EXAMPLE,
            mechanism="linear,vit",
            res=32,
            level="layer,host",
            stage=2,
            mode="forward",
            metrics="complexity,latency",
            processes=2,
            precision="50%",
            budget="60s",
            threads=1,
        )


@pytest.fixture(scope="module")
def frame(run: Path) -> pd.DataFrame:
    return paca_bench.load_results(run)


def test_the_users_mechanism_is_measured_like_any_other(frame: pd.DataFrame) -> None:
    assert len(frame) == 4
    assert set(frame["mechanism"]) == {"linear", "vit"}
    assert set(frame["status"]) == {"ok"}, list(frame["reason"])
    assert (frame["latency_low_s"] > 0).all()
    assert (frame["latency_low_s"] <= frame["latency_s"]).all()
    assert (frame["latency_s"] <= frame["latency_high_s"]).all()
    assert frame["latency_samples_s"].map(len).between(2, 12).all()
    assert [d["checked"] for d in frame["details"]] == ["float64"] * 4


def test_its_closed_form_is_what_was_counted(frame: pd.DataFrame) -> None:
    (row,) = (r for _, r in frame.iterrows() if (r["mechanism"], r["level"]) == ("linear", "layer"))
    shape = layer_shape(get_geometry("nano"), 32, 32, 2)
    height, width = shape["grid"]
    tokens, dim = height * width, shape["dim"]
    head = dim // shape["num_heads"]
    assert row["macs"] == 4 * tokens * dim**2 + 2 * tokens * dim * head
    assert row["macs"] == paca_bench.attention_cost("linear", **shape).macs
    assert row["params"] == 4 * dim**2 + 4 * dim
    assert row["flops"] == 2 * row["macs"]


def test_the_run_can_be_reported_without_the_plugin(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_mechanisms", {})
    report = paca_bench.write_report(run, tmp_path / "report.html")
    assert "linear" in report.read_text(encoding="utf-8")


def test_a_finished_run_goes_on_in_no_time(run: Path) -> None:
    before = (run / "records.jsonl").read_bytes()
    assert sweep(out=run, resume=True) == run
    assert (run / "records.jsonl").read_bytes() == before
    assert not (run / "journal.jsonl").exists()


def test_groups_not_asked_for_are_missing(frame: pd.DataFrame) -> None:
    for group in GROUPS:
        asked = group in ("complexity", "latency")
        assert frame[f"{group}_status"].notna().all() == asked
