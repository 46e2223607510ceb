"""The published tables beside ours."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from typer.testing import CliRunner

from paca_bench import verify as verifying
from paca_bench.cli import app
from paca_bench.complexity.conventions import FVCORE, MACS, NO_SAME_PADDING
from paca_bench.complexity.published import PublishedRow, published_rows
from paca_bench.errors import NothingMeasuredError, SpecError
from paca_bench.models.registry import model_cost, model_names
from paca_bench.verify import MISPRINT, OK, OUT, Row, compare, verify, worst
from tests.models.golden import measured

SEGMENTERS = "PaCa-ViT with PaCa head, ADE20k at 512x512"


def published(model: str, table: str) -> PublishedRow:
    (row,) = (r for r in published_rows() if r.model == model and r.table == table)
    return row


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return verify()


def test_every_row_is_within_tolerance_or_an_explained_misprint(rows: list[Row]) -> None:
    assert len(rows) == 62
    assert [row.published.model for row in rows if row.verdict == OUT] == []
    for row in rows:
        params, macs = row.params, row.macs
        if params.printed.as_tuple().exponent and params.verdict == OK:
            assert abs(params.difference) <= Decimal("0.05")
        assert macs is None or abs(macs.difference) <= Decimal("0.1")
        if row.verdict == MISPRINT:
            assert params.evidence
            assert abs(params.difference) > Decimal("0.05"), "or it is no misprint"


def test_only_the_known_numbers_are_misprints(rows: list[Row]) -> None:
    declared = [row.misprint is not None for row in published_rows()]
    assert [row.verdict == MISPRINT for row in rows] == declared
    assert sum(declared) == 7


def test_fvcore_reproduces_every_row_of_timm_to_the_digit(rows: list[Row]) -> None:
    timm = [row for row in rows if row.published.table.startswith("timm")]
    assert len(timm) == 16
    for row in timm:
        assert row.macs is not None
        assert row.macs.reproduces
        assert row.params.reproduces


def test_the_simplest_convention_that_gives_the_digits_is_named(rows: list[Row]) -> None:
    paca = {
        row.published.model: row.macs
        for row in rows
        if row.published.table == "PaCa-ViT, ImageNet-1k" and row.macs is not None
    }
    by = [c.convention for c in paca.values() if c.reproduces]
    assert (by.count(MACS), by.count(NO_SAME_PADDING), by.count(FVCORE)) == (8, 2, 1)
    assert not paca["pacavit_small_p2cconv_49_0"].reproduces


def test_ours_is_the_exact_count_whatever_the_convention(rows: list[Row]) -> None:
    for row in rows:
        if row.published.task == "classification":
            side = row.published.input
            cost = model_cost(row.published.model, height=side, width=side)
            assert row.params.ours == cost.params
            assert row.macs is None or row.macs.ours == cost.macs


@pytest.mark.parametrize(("name", "sizes"), measured().items())
def test_macs_are_the_measured_ones_to_the_last(name: str, sizes: dict[str, Any]) -> None:
    for size, exact in sizes.items():
        height, width = map(int, size.split("x"))
        cost = model_cost(name, height=height, width=width)
        assert cost.macs == exact["macs"], size
        if not name.startswith("deit") or size == "224x224":
            assert cost.params == exact["params"]


# ---- verdicts


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({}, OK),
        ({"params_m": Decimal("13.1")}, OUT),
        ({"params_m": Decimal("13.28")}, OUT),
        ({"params_m": Decimal("13.27")}, OK),
        ({"params_m": Decimal("13")}, OK),
        ({"params_m": Decimal("14")}, OUT),
        ({"params_m": Decimal("14"), "params_cut_off": True}, OUT),
        ({"macs_g": Decimal("1.8")}, OUT),
        ({"macs_g": Decimal("2.1")}, OUT),
        ({"macs_g": None}, OK),
    ],
)
def test_a_number_that_is_not_ours_is_out_of_tolerance(
    change: dict[str, Any], verdict: str
) -> None:
    row = published("pvt_tiny", "PVT, ImageNet-1k")
    assert compare(replace(row, **change)).verdict == verdict


def test_a_number_cut_off_is_met_by_its_beginning_only() -> None:
    row = published("deit_tiny_patch16_224", "DeiT, ImageNet-1k")
    assert compare(row).verdict == OK
    assert compare(replace(row, params_cut_off=False)).verdict == OUT


def test_a_declared_misprint_does_not_excuse_another_difference() -> None:
    row = published("pacavit_convmixer_base_100", "PaCa-ViT, ImageNet-1k")
    assert row.misprint is not None
    assert compare(row).verdict == MISPRINT
    assert compare(replace(row, macs_g=Decimal("9.0"))).verdict == OUT
    wrong = replace(row.misprint, should_be=Decimal("47.5"))
    assert compare(replace(row, misprint=wrong)).verdict == OUT
    assert compare(replace(row, misprint=None)).verdict == OUT


def test_the_interchanged_rows_are_right_the_other_way_round() -> None:
    one = published("pacavit_small_p2cconv_49_0", SEGMENTERS)
    other = published("pacavit_small_p2cconv_49_100", SEGMENTERS)
    for row, swapped in ((one, other), (other, one)):
        changed = replace(row, params_m=swapped.params_m, macs_g=swapped.macs_g)
        assert compare(changed).verdict == OK


def test_a_selection() -> None:
    rows = verify(["pvt_tiny", "pvt_small"])
    assert [row.published.model for row in rows] == ["pvt_tiny", "pvt_small"]
    assert worst(rows) == OK
    with pytest.raises(SpecError, match="unknown model 'pvt_tony'"):
        verify(["pvt_tiny", "pvt_tony"])
    with pytest.raises(NothingMeasuredError, match="pacavit_convmixer_tiny_100"):
        verify(["pacavit_convmixer_tiny_100"])


def test_every_published_model_is_one_of_ours() -> None:
    assert {row.model for row in published_rows()} <= set(model_names())


# ---- the command


def test_command_prints_tables_of_at_most_a_hundred_columns() -> None:
    names = ["pacavit_small_p2cconv_100_blockwise", "pacavit_small_p2cconv_49_0"]
    result = CliRunner().invoke(app, ["verify", *(f"--model={name}" for name in names)])
    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= 100
    assert "24.192" in result.stdout
    assert "Misprint, pacavit_small_p2cconv_100_blockwise, 24.1" in result.stdout
    assert "4 rows: 2 ok, 2 misprint, 0 out of tolerance" in result.stdout


def test_command_gives_json() -> None:
    result = CliRunner().invoke(app, ["verify", "--model", "pacavit_tiny_p2cconv_100_0", "--json"])
    content = json.loads(result.stdout)
    assert result.exit_code == 0
    assert content["tolerance"] == {"params_m": 0.05, "macs_g": 0.1}
    assert content["verdict"] == OK
    first, *others = content["rows"]
    assert [row["head"] for row in others] == ["paca", "upernet"]
    assert [row["clusters"] for row in others] == [[200, 200, 200, 0]] * 2
    assert {k: first[k] for k in ("model", "task", "height", "width", "score", "verdict")} == {
        "model": "pacavit_tiny_p2cconv_100_0",
        "task": "classification",
        "height": 224,
        "width": 224,
        "score": 80.9,
        "verdict": "ok",
    }
    assert first["macs"]["difference"] == pytest.approx(0.019262208)
    assert {k: v for k, v in first["macs"].items() if k != "difference"} == {
        "ours": 3219262208,
        "printed": 3.2,
        "unit": "G",
        "convention": "MACs",
        "counted": 3219262208,
        "reproduces": True,
        "confidence": "file",
        "verdict": "ok",
        "evidence": None,
    }
    assert first["params"]["ours"] == 12200680
    assert {row[q]["convention"] for row in content["rows"] for q in ("params", "macs")} <= set(
        content["conventions"]
    )


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_command_fails_where_a_row_is_out_of_tolerance(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    row = published("pvt_tiny", "PVT, ImageNet-1k")
    altered = [replace(row, macs_g=Decimal("2.5"))]
    monkeypatch.setattr(verifying, "published_rows", lambda: altered)
    result = CliRunner().invoke(app, ["verify", *arguments])
    assert result.exit_code == 1
    assert "out of tolerance" in result.stdout
