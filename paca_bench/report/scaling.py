"""How cost grows with resolution: figures, exponents and laws of every place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from paca_bench.analyse.curves import CURVE_AXES, Row, records
from paca_bench.analyse.scaling import scaling_table
from paca_bench.report.charts import Chart, missing
from paca_bench.report.drawn import Drawn
from paca_bench.report.figures import scaling_figure
from paca_bench.report.local_exponents import local_exponent_chart
from paca_bench.report.places import Place, is_number, place_key, timed
from paca_bench.report.quantities import Quantity, scaling_quantities
from paca_bench.report.traces import Dashes, Styles

if TYPE_CHECKING:
    import pandas as pd

# Fitting laws to more curves would take longer than all the rest of a report.
MOST_LAWS = 240

# place, label, run -> mode -> row of ``scaling_table``.
_Fits = Mapping[tuple[Any, ...], Mapping[str, Row]]


@dataclass(frozen=True)
class Exponent:
    """One fitted exponent; ``points`` were used, ``censored`` were not measured.

    ``tail`` is the exponent of the upper half of the range, as text, where one was fitted;
    ``law`` the terms of the law, and ``claim`` the verdict on "linear" with its ``reason``,
    empty where no law was fitted.
    """

    value: float
    low: float
    high: float
    points: int
    censored: int
    tail: str
    law: str = ""
    claim: str = ""
    reason: str = ""

    @property
    def hint(self) -> str:
        """What the fit rests on, in words."""
        parts = [f"{self.points} points"]
        if self.censored:
            parts.append(f"{self.censored} not measured")
        if self.tail:
            parts.append(f"upper half of the range: {self.tail}")
        if self.law:
            parts.append(f"law: {self.law}; linear: {self.claim}, {self.reason}")
        return ", ".join(parts)


@dataclass(frozen=True)
class ScalingPanel:
    """One place: a chart per quantity, and exponents per curve and quantity."""

    id: str
    title: str
    charts: list[Chart]
    quantities: list[Quantity]
    exponents: list[tuple[str, str, list[Exponent | None]]]
    method: str

    @property
    def has_laws(self) -> bool:
        """True if a law was fitted to any curve."""
        return any(one and one.law for _, _, found in self.exponents for one in found)


def scaling_panels(drawn: Drawn, styles: Styles, dashes: Dashes) -> list[ScalingPanel]:
    """Every place that is drawn, hosts first."""
    rows = timed(drawn.frame)
    quantities = scaling_quantities(rows)
    metrics = dict.fromkeys(q.metric for q in quantities if rows[q.metric].notna().any())
    laws = len(metrics) * _curves(rows) <= MOST_LAWS
    fits = {metric: _by_curve(scaling_table(rows, metric, laws=laws)) for metric in metrics}
    return [
        _panel(f"scaling-{number}", place, quantities, fits, styles, dashes)
        for number, place in enumerate(drawn.places)
    ]


def _curves(rows: pd.DataFrame) -> int:
    return len(rows[list(CURVE_AXES)].drop_duplicates())


def _by_curve(table: pd.DataFrame) -> _Fits:
    found: dict[tuple[Any, ...], dict[str, Row]] = {}
    for fit in records(table):
        found.setdefault((place_key(fit), fit["label"], fit["run"]), {})[fit["mode"]] = fit
    return found


def _panel(
    id_: str,
    place: Place,
    asked: list[Quantity],
    fits: Mapping[str, _Fits],
    styles: Styles,
    dashes: Dashes,
) -> ScalingPanel:
    rows = records(place.rows)
    charts, quantities = [], []
    for quantity in asked:
        figure = scaling_figure(rows, quantity, styles, dashes)
        chart = Chart(f"{id_}-{quantity.id}", quantity.title, figure, missing(rows, quantity))
        if chart.figure or chart.notes:
            charts.append(chart)
        if chart.figure:
            quantities.append(quantity)
    for mode, of_mode in place.by_mode().items():
        local = local_exponent_chart(f"{id_}-local-{mode}", mode, of_mode, styles, dashes)
        if local:
            charts.append(local)
    curves = []
    used: list[Row] = []
    for label in styles:
        for run in dashes:
            found = [
                _fit(fits[quantity.metric].get((place.key, label, run)), quantity.mode)
                for quantity in quantities
            ]
            if any(found):
                exponents = [_exponent(fit) if fit else None for fit in found]
                curves.append((label, run, exponents))
                used += [fit for fit in found if fit]
    return ScalingPanel(id_, place.title, charts, quantities, curves, _methods(used))


def _fit(of_modes: Mapping[str, Row] | None, mode: str) -> Row | None:
    """The fit of a curve; where the mode does not matter, of whichever mode has one."""
    for found, fit in (of_modes or {}).items():
        if mode in ("", found) and is_number(fit["exponent"]):
            return fit
    return None


def _exponent(fit: Row) -> Exponent:
    return Exponent(
        fit["exponent"],
        fit["exponent_low"],
        fit["exponent_high"],
        int(fit["points"]),
        int(fit["censored"]),
        _tail(fit),
        *((fit["law_terms"], fit["linear_claim"], fit["linear_reason"]) if fit["law"] else ()),
    )


def _methods(fits: list[Row]) -> str:
    methods = [str(fit[name]) for fit in fits for name in ("method", "law_method") if fit[name]]
    made = (re.sub(r"of \d+ points", "of the measured points", method) for method in methods)
    return "; ".join(sorted(set(made)))


def _tail(fit: Row) -> str:
    ends = [fit[f"tail_exponent{end}"] for end in ("", "_low", "_high")]
    return "{:.2f} [{:.2f}, {:.2f}]".format(*ends) if all(map(is_number, ends)) else ""
