"""A history for machines: JSON."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

from paca_bench.analyse.statistics import Estimate
from paca_bench.analyse.steps import Course
from paca_bench.history.history import FoundStep, History
from paca_bench.history.runs import HistoryRun
from paca_bench.history.series import Counts, Latencies, Subject
from paca_bench.history.wording import headline, sentences

JSON_SCHEMA = 1


def to_json(history: History) -> dict[str, Any]:
    """The whole history as JSON values; runs are named by their place in ``runs``."""
    places = {id(run): place for place, run in enumerate(history.runs)}
    return {
        "schema": JSON_SCHEMA,
        "exit_code": history.exit_code,
        "headline": headline(history),
        "sentences": sentences(history),
        "rules": [str(rule) for rule in history.rules.values()],
        "runs": [_run_json(run) for run in history.runs],
        "steps": [_step_json(step, places) for step in history.steps],
        "possible": [
            {**_subject_json(one.subject, places), "ratio": _estimate_json(last)}
            for one, last in history.possible
        ],
        "latencies": [_latencies_json(one, places) for one in history.latencies],
        "counts": [_counts_json(one, places) for one in history.counts],
    }


Places = dict[int, int]


def _run_json(run: HistoryRun) -> dict[str, Any]:
    return {
        "path": str(run.path),
        "commit": run.commit,
        "dirty": run.is_dirty,
        "committed_at": _moment(run.committed_at),
        "started_at": _moment(run.started_at),
    }


def _moment(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _step_json(step: FoundStep, places: Places) -> dict[str, Any]:
    latency = step.ratio is not None
    return {
        "case_id": step.subject.case_id,
        "metric": step.subject.metric,
        "conditions": dict(step.subject.conditions),
        "at": places[id(step.at)],
        "after": places[id(step.after)],
        "until": places[id(step.until)],
        "before": step.before,
        "now": step.now,
        "ratio": _estimate_json(step.ratio) if step.ratio else None,
        "adjusted_p": step.adjusted_p if latency else None,
        "same_commit": not step.is_code,
        "latest": step.is_latest,
        "regression": step.is_regression,
    }


def _estimate_json(ratio: Estimate) -> dict[str, Any]:
    return {"value": ratio.value, "low": ratio.low, "high": ratio.high, "method": ratio.method}


def _subject_json(subject: Subject, places: Places) -> dict[str, Any]:
    return {
        "case_id": subject.case_id,
        "metric": subject.metric,
        "conditions": dict(subject.conditions),
        "runs": [places[id(run)] for run in subject.runs],
    }


def _latencies_json(one: Latencies, places: Places) -> dict[str, Any]:
    return {
        **_subject_json(one.subject, places),
        "process_medians_s": [list(run) for run in one.medians],
        "latency_s": one.seconds(),
        "intervals_s": [list(ends) if ends else None for ends in one.intervals()],
        **(_course_json(one.course) if one.course else {}),
    }


def _course_json(course: Course) -> dict[str, Any]:
    return {
        "levels": [
            {"start": level.start, "stop": level.stop, "latency_s": math.exp(level.log_value)}
            for level in course.levels
        ],
        "outliers": list(course.outliers),
        "noise": course.noise,
        "detectable": course.detectable if math.isfinite(course.detectable) else None,
    }


def _counts_json(one: Counts, places: Places) -> dict[str, Any]:
    return {**_subject_json(one.subject, places), "values": list(one.values)}
