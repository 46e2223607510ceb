"""The verdict's sentence on the dense task."""

from __future__ import annotations

import pandas as pd

from paca_bench.analyse.curves import records, resolution_text
from paca_bench.analyse.dense import dense_trainings, head_pairs
from paca_bench.analyse.wording import interval, points
from paca_bench.units import format_percent


def dense_sentence(df: pd.DataFrame) -> str | None:
    """The best head and backbone of the largest training of the first run, and its other head."""
    trained = dense_trainings(df)
    if trained.empty:
        return None
    trained = trained[trained["run"] == trained["run"].iloc[0]]
    trained = trained[trained["resolution"] == trained["resolution"].max()]
    best = max(records(trained), key=lambda row: float(row["miou"]))
    ends = (float(best[name]) for name in ("miou", "miou_low", "miou_high"))
    text = (
        f"Dense task (mIoU at {resolution_text(best)} px, fixed training budget on "
        f"{best['details']['dataset']}): highest for {best['label']} under the head "
        f"{best['head']}, {interval(format_percent, *ends)} ({best['details']['miou_method']})"
    )
    for pair in records(head_pairs(trained)):
        if pair["label"] == best["label"]:
            ends = (float(pair[f"difference{end}"]) for end in ("", "_low", "_high"))
            text += (
                f"; there the head {pair['head']} is {interval(points, *ends)} points beside "
                f"{pair['other']}: {pair['verdict']} ({pair['method']})"
            )
            break
    return f"{text}."
