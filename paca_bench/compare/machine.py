"""A comparison for machines: JSON, JUnit XML, GitHub annotations."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

from paca_bench.analyse.compare import Change, Judgement
from paca_bench.compare.comparison import CasePair, Comparison, StaticPair
from paca_bench.compare.rules import LATENCY
from paca_bench.compare.sides import Side
from paca_bench.compare.wording import change_text, headline, latency_text, note, sentences
from paca_bench.units import significant

JSON_SCHEMA = 1
# GitHub shows ten annotations of a kind per step.
_MOST_ANNOTATIONS = 10
# What XML 1.0 cannot hold, not even escaped.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def to_json(comparison: Comparison) -> dict[str, Any]:
    """The whole comparison as JSON values; ratios are NEW / BASE, changes relative to BASE."""
    return {
        "schema": JSON_SCHEMA,
        "exit_code": comparison.exit_code,
        "headline": headline(comparison),
        "sentences": sentences(comparison),
        "rules": [str(rule) for rule in comparison.rules.values()],
        "q": comparison.q,
        "base": _side_json(comparison.base),
        "new": _side_json(comparison.new),
        "counts": {change.value: comparison.count(change) for change in Change},
        "cases": [_case_json(case) for case in comparison.cases],
        "only_base": list(comparison.only_base),
        "only_new": list(comparison.only_new),
    }


def _side_json(side: Side) -> dict[str, Any]:
    return {"path": str(side.path), "runs": side.runs, "cases": len(side.cases)}


def _case_json(case: CasePair) -> dict[str, Any]:
    return {
        "case_id": case.id,
        "latency": _judgement_json(case) if case.judgement else None,
        "refused": case.is_refused,
        "differences": [{"name": d.name, "base": d.base, "new": d.new} for d in case.differences],
        "broken": list(case.broken),
        "static": {static.metric: _static_json(static) for static in case.statics},
    }


def _judgement_json(case: CasePair) -> dict[str, Any]:
    judgement: Judgement | None = case.judgement
    assert judgement is not None
    ratio = judgement.ratio
    return {
        "verdict": judgement.change.value,
        "ratio": ratio.value,
        "ratio_low": ratio.low,
        "ratio_high": ratio.high,
        "method": ratio.method,
        "p": judgement.p,
        "adjusted_p": judgement.adjusted_p,
        "detectable": _finite(judgement.detectable),
        "reason": judgement.reason,
        "base_processes": len(case.base.processes),
        "new_processes": len(case.new.processes),
    }


def _static_json(static: StaticPair) -> dict[str, Any]:
    return {
        "base": static.base,
        "new": static.new,
        "changed": static.is_changed,
        "regression": static.is_regression,
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def to_junit(comparison: Comparison) -> str:
    """JUnit XML: a test per case and metric.

    A regression is a failure, what broke or was refused an error, and a latency that stayed
    open is skipped, with the reason.
    """
    suite = ElementTree.Element("testsuite", name="paca-bench compare")
    for case in comparison.cases:
        for static in case.statics:
            test = _test(suite, case, static.name)
            if static.is_regression:
                text = f"{static.metric}: {static.base:,} → {static.new:,} ({change_text(static)})"
                _outcome(test, "failure", text)
        if case.judgement or case.is_refused:
            test = _test(suite, case, LATENCY)
            if case in comparison.slower:
                _outcome(test, "failure", f"latency is {latency_text(case)} times that of BASE")
            elif case.is_refused:
                _outcome(test, "error", f"not compared: {note(case)}")
            elif case.judgement and case.judgement.change is Change.INCONCLUSIVE:
                _outcome(test, "skipped", f"{latency_text(case)}: {case.judgement.reason}")
        if case.broken:
            _outcome(_test(suite, case, "measuring"), "error", "; ".join(case.broken))
    if not comparison.compared:
        test = ElementTree.SubElement(suite, "testcase", classname="compare", name="anything")
        _outcome(test, "error", headline(comparison))
    for name, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error"),
                      ("skipped", "skipped")):  # fmt: skip
        suite.set(name, str(len(list(suite.iter(tag)))))
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _test(suite: ElementTree.Element, case: CasePair, metric: str) -> ElementTree.Element:
    return ElementTree.SubElement(suite, "testcase", classname=metric, name=_xml(case.id))


def _outcome(test: ElementTree.Element, kind: str, text: str) -> None:
    ElementTree.SubElement(test, kind, message=_xml(text))


def _xml(text: str) -> str:
    return _NOT_XML.sub("?", text)


def to_annotations(comparison: Comparison) -> list[str]:
    """GitHub workflow commands: errors for what fails, warnings for what stays open."""
    errors = list(_errors(comparison))
    warnings = list(_warnings(comparison))
    lines = []
    for kind, found in (("error", errors), ("warning", warnings)):
        shown = found[:_MOST_ANNOTATIONS]
        if len(found) > len(shown):
            rest = len(found) - len(shown) + 1
            shown[-1] = ("More", f"and {rest} more; the step summary has all")
        lines += [f"::{kind} title={_property(title)}::{_data(text)}" for title, text in shown]
    return lines


def _errors(comparison: Comparison) -> Iterator[tuple[str, str]]:
    for case, static in comparison.static_regressions:
        yield (
            f"{static.name} changed",
            f"{case.id}: {static.metric} {static.base:,} → {static.new:,} ({change_text(static)})",
        )
    for case in comparison.slower:
        yield "slower", f"{case.id}: latency {latency_text(case)} times that of BASE"
    for case in comparison.broken:
        yield "broken", f"{case.id}: {'; '.join(case.broken)}"
    if not comparison.compared:
        yield "nothing compared", headline(comparison)


def _warnings(comparison: Comparison) -> Iterator[tuple[str, str]]:
    for case in comparison.refused:
        yield "not compared", f"{case.id}: {note(case)}"
    undecided = [(c, j) for c, j in comparison.judged if j.change is Change.INCONCLUSIVE]
    for case, judgement in undecided:
        seen = judgement.detectable
        least = f"; smallest detectable {significant(100 * seen, 2)}%" if seen else ""
        yield "inconclusive", f"{case.id}: {latency_text(case)}, {judgement.reason}{least}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
