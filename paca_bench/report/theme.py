"""What a label looks like, once for all figures: a colour, a marker; and a dash per run.

The eight colours of each scheme keep a contrast of 3 to 1 with their background and stay
apart under red and green colour blindness; markers differ as well, so colour is never the
only cue. The dark scheme has the same hues in the same order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

LIGHT = ("#0072B2", "#BF3A00", "#2E9E71", "#7A1E5C", "#A09600", "#23238E", "#E8609F", "#5A2A08")
DARK = ("#4DA3E0", "#F5793A", "#35C48F", "#F2B8E6", "#E6E04D", "#7D7DFF", "#D93A9A", "#A9764A")
LIGHT_BACKGROUND = "#FFFFFF"
DARK_BACKGROUND = "#14181D"

# Text, lines and grid of the figures: light -> dark.
INK = {"#24292F": "#D7DEE6", "#6E7781": "#8D98A5", "#E4E8EC": "#2A313A", "#FFFFFF": "#14181D"}
TEXT, MUTED, GRID, PAPER = INK

# Plotly's name of a marker -> the same shape as an SVG path in a box from -6 to 6. Their
# number shares no factor with the colours', so pairs repeat only after 72 labels.
MARKERS: Mapping[str, str] = {
    "circle": "M5,0A5,5 0 1 1 -5,0A5,5 0 1 1 5,0Z",
    "square": "M-4.5,-4.5H4.5V4.5H-4.5Z",
    "diamond": "M0,-6L6,0L0,6L-6,0Z",
    "triangle-up": "M0,-5.5L5.5,4.5H-5.5Z",
    "cross": "M-2,-5.5H2V-2H5.5V2H2V5.5H-2V2H-5.5V-2H-2Z",
    "triangle-down": "M0,5.5L5.5,-4.5H-5.5Z",
    "pentagon": "M0,-5.5L5.2,-1.7L3.2,4.5H-3.2L-5.2,-1.7Z",
    "hourglass": "M-5,-5H5L-5,5H5Z",
    "star": "M0,-6L1.5,-2L5.7,-1.9L2.4,0.8L3.5,4.9L0,2.5L-3.5,4.9L-2.4,0.8L-5.7,-1.9L-1.5,-2Z",
}
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


@dataclass(frozen=True, slots=True)
class Style:
    """How one label is drawn; ``color`` is the light scheme's."""

    color: str
    marker: str

    @property
    def path(self) -> str:
        """The marker as an SVG path in a box from -6 to 6."""
        return MARKERS[self.marker]


def label_order(frame: pd.DataFrame) -> list[str]:
    """All labels by mechanism, then number of clusters, then name: the same in every view."""
    axes = frame[["mechanism", "num_clusters", "label"]].drop_duplicates()
    keys = [
        (str(mechanism), -1.0 if clusters is None or math.isnan(clusters) else clusters, str(label))
        for mechanism, clusters, label in axes.itertuples(index=False)
    ]
    return list(dict.fromkeys(label for _, _, label in sorted(keys)))


def label_styles(labels: Iterable[str]) -> dict[str, Style]:
    """Label -> its style, by position."""
    markers = tuple(MARKERS)
    return {
        label: Style(LIGHT[i % len(LIGHT)], markers[i % len(markers)])
        for i, label in enumerate(labels)
    }


def run_dashes(runs: Iterable[str]) -> dict[str, str]:
    """Run name -> line dash, by position; the first run is solid."""
    return {run: DASHES[i % len(DASHES)] for i, run in enumerate(runs)}


def dark_colors() -> dict[str, str]:
    """Every colour of the light scheme -> the dark scheme's."""
    return {**dict(zip(LIGHT, DARK, strict=True)), **INK}
