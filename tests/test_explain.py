"""``paca-bench explain`` on published models."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from paca_bench.attention.registry import get_mechanism, mechanisms
from paca_bench.cli import app
from paca_bench.errors import PacaBenchError, SpecError
from paca_bench.explain import explain
from paca_bench.explain.parsing import parse_resolution
from paca_bench.models.geometry import get_geometry, host_cost
from paca_bench.models.registry import model_cost, model_names
from tests.models.golden import measured

PACA = "pacavit_tiny_p2cconv_100_0"


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["explain", *arguments])


@pytest.mark.parametrize(
    ("name", "size"), [*((name, "224") for name in measured()), (PACA, "256x192")]
)
def test_json_has_the_numbers_of_the_closed_form(name: str, size: str) -> None:
    result = run(name, "--res", size, "--json")
    content = json.loads(result.stdout)
    height, width = parse_resolution(size)
    cost = model_cost(name, height=height, width=width)
    assert (content["model"], content["height"], content["width"]) == (name, height, width)
    assert content["params"] == cost.params == sum(content["param_terms"].values())
    assert content["macs"] == cost.macs == sum(content["terms"].values())
    assert content["flops"] == 2 * cost.macs
    assert content["terms"] == cost.terms
    assert content["macs"] == measured()[name][f"{height}x{width}"]["macs"]
    assert isinstance(content["peak_memory_bytes"], int)
    assert content["peak_memory_bytes"] > 0


def test_text_has_a_subtotal_for_each_stage_and_fits() -> None:
    result = run("pvt_tiny", "--res", "256x192")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    content = explain("pvt_tiny", res="256x192", shape={})
    for stage in ("stage1", "stage4", "head"):
        terms = [n for t, n in content["terms"].items() if t.startswith(f"{stage}.")]
        (subtotal,) = (line for line in lines if line.strip().startswith(stage))
        assert f"{sum(terms):,}" in subtotal
    (total,) = (line for line in lines if line.strip().startswith("total"))
    assert f"{content['macs']:,}" in total
    assert f"{content['params']:,}" in total


def test_a_model_is_explained_at_224_and_with_its_own_settings_by_default() -> None:
    content = explain(PACA, shape={})
    assert (content["height"], content["width"]) == (224, 224)
    assert content["options"]["clusters"] == (100, 100, 100, 0)


def test_settings_are_given_by_option() -> None:
    options = ["clusters=50,49,48,0", "clustering=linear"]
    content = explain(PACA, res="64", shape={}, options=options)
    cost = model_cost(
        PACA,
        height=64,
        width=64,
        clusters=(50, 49, 48, 0),
        clustering="linear",
    )
    assert content["macs"] == cost.macs
    assert content["params"] == cost.params


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("pvt_tiny", {"res": "224y5"}, "--res '224y5' is not the size of an image"),
        ("pvt_tiny", {"res": "0"}, "--res 0: a side is 1 to 16384 pixels"),
        ("pvt_tiny", {"res": "224x16385"}, "--res 224x16385"),
        ("pvt_tiny", {"shape": {"grid": "56"}}, "--grid is of a mechanism, and pvt_tiny is a"),
        ("pvt_tiny", {"shape": {"dim": 96}}, "--dim is of a mechanism"),
        ("pvt_tiny", {"shape": {"heads": 2}}, "--heads is of a mechanism"),
        ("pvt_tiny", {"clusters": 4}, "--clusters is of a mechanism"),
        ("pvt_tiny", {"options": ["bogus=1"]}, "pvt_tiny has no option 'bogus'"),
        ("pvt_tiny", {"options": ["depths=1,2"]}, "depths must be 4 integers"),
        ("vit", {"res": "224"}, "--res '224' is the image of a model or host, and vit is"),
        ("pact", {}, "did you mean paca"),
        ("pvt_tiney", {}, "did you mean pvt_tiny"),
        ("zzzzzzzz", {}, "'zzzzzzzz'; see 'paca-bench list mechanisms'"),
    ],
)
def test_what_makes_no_sense_is_refused(name: str, arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError) as error:
        explain(name, **{"shape": {}, **arguments})
    assert says in str(error.value)


def test_the_command_refuses_what_it_would_ignore() -> None:
    for arguments in (["pvt_tiny", "--heads", "2"], ["vit", "--res", "64"]):
        result = run(*arguments)
        assert result.stdout == ""
        assert isinstance(result.exception, PacaBenchError)
        assert result.exception.exit_code == 2


def test_no_model_hides_behind_a_mechanism() -> None:
    assert not set(model_names()) & set(mechanisms())


# ---- hosts, growth, LaTeX


def test_a_mechanism_is_explained_in_every_block_of_a_host() -> None:
    content = explain("paca", res="256x192", host="nano", shape={}, clusters=49)
    cost = host_cost(get_mechanism("paca"), get_geometry("nano"), 256, 192, num_clusters=49)
    assert content["macs"] == cost.macs
    assert content["terms"] == cost.terms
    assert content["params"] == cost.params
    assert content["backward_macs"] == cost.backward_macs
    text = run("paca", "--host", "nano", "--clusters", "49", "--res", "256x192").stdout
    assert f"{cost.macs:,}" in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_host_gives_the_shapes() -> None:
    with pytest.raises(SpecError, match="--dim is of a mechanism alone, and --host nano"):
        explain("vit", host="nano", shape={"dim": 8})
    with pytest.raises(SpecError, match="unknown host 'giant'"):
        explain("vit", host="giant", shape={})
    with pytest.raises(SpecError, match="--host is of a mechanism, and pvt_tiny is a model"):
        explain("pvt_tiny", host="nano", shape={})


def test_the_default_paca_vit_is_said_to_be_quadratic_in_its_last_stage() -> None:
    content = explain(PACA, shape={})
    degrees = {s["stage"]: s["degree"] for s in content["growth"]["stages"]}
    assert {degrees[f"stage{n}"] for n in (1, 2, 3)} == {1}
    assert degrees["stage4"] == 2
    text = " ".join(run(PACA).stdout.split())
    assert "quadratic in the tokens: stage4" in text
    assert f"from {content['growth']['dominates_from']} px" in text


def test_formulas_as_latex_with_the_values_behind_them() -> None:
    lines = run("pvt", "--grid", "16", "--option", "sr_ratio=4", "--latex").stdout.splitlines()
    assert lines[0] == r"\begin{align*}"
    assert r"  \text{reduction} &= R^{2} N_{R} C^{2} \\" in lines
    assert "% products: N = 256, C = 96, N_R = 16" in lines


@pytest.mark.parametrize(
    "arguments", [["swin"], ["paca", "--host", "nano"], ["deit_tiny_patch16_224"]]
)
def test_every_symbol_of_a_formula_has_a_value_and_a_meaning(arguments: list[str]) -> None:
    content = json.loads(run(*arguments, "--json").stdout)
    text = run(*arguments).stdout
    for symbols in content["term_symbols"].values():
        for symbol in symbols:
            assert f"{symbol}: " in text
