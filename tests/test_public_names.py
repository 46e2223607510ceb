"""The names that users import: adding or taking one is a decision, made here."""

from __future__ import annotations

import inspect
from importlib.metadata import version

import pytest

import paca_bench

NAMES = {
    "PacaBenchError",
    "__version__",
    "analyze",
    "attention_cost",
    "create_attention",
    "create_model",
    "create_segmenter",
    "load_checkpoint",
    "load_results",
    "model_cost",
    "register_attention",
    "sweep",
    "write_report",
}


def test_exactly_these() -> None:
    assert sorted(paca_bench.__all__) == sorted(NAMES)
    assert set(dir(paca_bench)) == NAMES
    star: dict[str, object] = {}
    exec("from paca_bench import *", star)
    assert star.keys() - {"__builtins__"} == NAMES


def test_each_is_what_it_says() -> None:
    assert paca_bench.__version__ == version("paca-bench")
    assert issubclass(paca_bench.PacaBenchError, Exception)
    for name in NAMES - {"__version__", "PacaBenchError"}:
        function = getattr(paca_bench, name)
        assert function.__name__ == name
        assert inspect.getdoc(function)


def test_the_signatures_that_the_first_issue_fixes() -> None:
    def parameters(name: str) -> list[tuple[str, str]]:
        signature = inspect.signature(getattr(paca_bench, name))
        return [(p.name, p.kind.name) for p in signature.parameters.values()]

    keyword, anything = "KEYWORD_ONLY", ("params", "VAR_KEYWORD")
    mechanism = ("mechanism", "POSITIONAL_OR_KEYWORD")
    shape = {("dim", keyword), ("num_heads", keyword), ("grid", keyword)}
    for name in ("create_attention", "attention_cost"):
        first, *middle, last = parameters(name)
        assert (first, set(middle), last) == (mechanism, shape, anything)
    assert parameters("load_results") == [("path", "POSITIONAL_OR_KEYWORD")]
    assert [name for name, _ in parameters("write_report")] == ["runs", "output"]


def test_a_cost_has_the_promised_attributes() -> None:
    cost = paca_bench.attention_cost("vit", grid=(4, 3), dim=8, num_heads=2)
    assert cost.macs == 4 * 12 * 64 + 2 * 144 * 8 == sum(cost.terms.values())
    assert cost.params > 0


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'paca_bench' has no attribute 'benchmark'"):
        paca_bench.benchmark  # noqa: B018
    assert not hasattr(paca_bench, "_sweep")
