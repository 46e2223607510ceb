"""What is known of a metric that was not measured: that it lies above some value.

A case cut off by its time limit, or by the end of the memory, says something about its cost.
One that never got its turn (over budget, interrupted, predicted not to fit), or failed for
another reason, says nothing.
"""

from __future__ import annotations

import math

from paca_bench.analyse.curves import Row, group_of
from paca_bench.record import Status

# metric -> (status that tells of a bound, column in which the worker left it)
LOWER_BOUNDS = {
    "latency_s": (Status.TIMEOUT, "latency_lower_bound_s"),
    "peak_memory_bytes": (Status.OUT_OF_MEMORY, "peak_memory_lower_bound_bytes"),
}


def lower_bound(row: Row, metric: str) -> float:
    """A value that the metric of a case is known to exceed, in its unit; NaN if none is known.

    Raises:
        SpecError: there is no such metric.
    """
    status = row.get(f"{group_of(metric)}_status")
    telling, column = LOWER_BOUNDS.get(metric, (None, ""))
    if status != telling or column not in row:
        return math.nan
    bound = float(row[column])
    return bound if 0 < bound < math.inf else math.nan
