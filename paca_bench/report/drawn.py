"""What of a run its figures draw: all of it, unless that is more than a screen can show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from paca_bench.analyse.curves import CURVE_AXES, groups
from paca_bench.analyse.curves import PLACE_AXES as SCENE_AXES
from paca_bench.analyse.scaling import spread
from paca_bench.record import GROUPS
from paca_bench.report.places import Place, places

if TYPE_CHECKING:
    import pandas as pd

# Curves of one figure, resolutions of one curve, and places with figures of their own.
MOST_CURVES = 32
MOST_RESOLUTIONS = 32
MOST_PLACES = 24
# With several runs, still this many labels.
_FEWEST_LABELS = 8

# What figures and exponents read; lists and details make every part of a frame slow.
_READ = (
    *(*CURVE_AXES, "options", "autocast", "height", "width", "resolution", "tokens"),
    *("reason", "kernel_path", *(f"{group}_status" for group in GROUPS)),
    *("macs", "backward_macs", "macs_exponent", "moved_bytes", "intensity_flops_per_byte"),
    *("bound_s", "roof_share", "latency_s", "latency_low_s", "latency_high_s"),
    *("latency_lower_bound_s", "peak_memory_bytes", "peak_memory_lower_bound_bytes"),
    *("predicted_peak_memory_bytes", "accuracy", "accuracy_low", "accuracy_high"),
)


@dataclass(frozen=True)
class Drawn:
    """What is drawn.

    Attributes:
        frame: all cases of the labels and places that are drawn, trainings included.
        places: the places, with the resolutions that are drawn.
        labels: the labels, in the order of the report.
        notes: what is not drawn, a sentence each; empty where everything is.
    """

    frame: pd.DataFrame
    places: list[Place]
    labels: list[str]
    notes: list[str]


def drawn(frame: pd.DataFrame, labels: list[str]) -> Drawn:
    """Choose what to draw of ``frame``, whose labels are given in the order of the report."""
    narrow = frame[[name for name in _READ if name in frame]]
    notes = []
    shown = _labels(narrow, labels)
    if len(shown) < len(labels):
        narrow = narrow[narrow["label"].isin(shown)]
        notes.append(
            f"The figures show {len(shown)} of {len(labels)} labels, spread evenly over each "
            "mechanism's variants."
        )
    found = places(narrow)
    if len(found) > MOST_PLACES:
        notes.append(f"The first {MOST_PLACES} of {len(found)} places have figures.")
        found = found[:MOST_PLACES]
    thinned = [Place(place.key, place.title, _thinned(place.rows)) for place in found]
    if sum(len(place.rows) for place in thinned) < sum(len(place.rows) for place in found):
        notes.append(
            f"Of curves with more than {MOST_RESOLUTIONS} resolutions as many are drawn, the "
            "smallest and the largest among them; exponents rest on all."
        )
    if notes:
        notes.append("The table below has all cases.")
    return Drawn(narrow, thinned, shown, notes)


def _labels(frame: pd.DataFrame, labels: list[str]) -> list[str]:
    """As many labels as can be told apart, every mechanism with as equal a part as it has."""
    most = max(MOST_CURVES // max(frame["run"].nunique(), 1), _FEWEST_LABELS)
    if len(labels) <= most:
        return labels
    mechanism = dict(zip(frame["label"], frame["mechanism"], strict=True))
    variants: dict[str, list[str]] = {}
    for label in labels:
        variants.setdefault(str(mechanism[label]), []).append(label)
    chosen: set[str] = set()
    # Those with few variants first: what they leave goes to the others.
    for place, own in enumerate(sorted(variants.values(), key=len)):
        part = max((most - len(chosen)) // (len(variants) - place), 1)
        count = min(part, len(own))
        chosen |= {own[round(i * (len(own) - 1) / max(count - 1, 1))] for i in range(count)}
    return [label for label in labels if label in chosen]


def _thinned(rows: pd.DataFrame) -> pd.DataFrame:
    if rows["resolution"].nunique() <= MOST_RESOLUTIONS:
        return rows
    kept = [
        part[part["resolution"].isin(spread(part["resolution"], MOST_RESOLUTIONS))].index
        for _, part in groups(rows, SCENE_AXES)
    ]
    return rows.loc[sorted(index for part in kept for index in part)]
