"""What records say against their own figures, by kind."""

from __future__ import annotations

from paca_bench.analyse.doubts import doubts
from paca_bench.results import load_compact, load_results
from tests.builders import make_record, make_run


def test_doubts_are_grouped_by_kind_and_survive_compact_loading(tmp_path):
    records = [make_record("vit"), make_record("swin"), make_record("pvt")]
    records[0].details["doubts"] = {"disturbed": "2 of 6 samples", "memory": "far apart"}
    records[2].details["doubts"] = {"disturbed": "6 of 6 samples"}
    run = make_run(tmp_path / "run", records).path
    for load in (load_results, load_compact):
        disturbed, memory = doubts(load(run))
        assert [case[2] for case in disturbed.cases] == ["2 of 6 samples", "6 of 6 samples"]
        assert disturbed.sentence.startswith("latency of 2 cases: many samples were disturbed")
        assert "paca-bench doctor" in disturbed.sentence
        assert memory.cases == [("run", records[0].case.id, "far apart")]


def test_a_frame_without_doubts_has_none(tmp_path):
    assert doubts(load_compact(make_run(tmp_path / "run", [make_record("vit")]).path)) == []
