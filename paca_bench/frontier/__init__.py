"""The largest resolution that fits a limit, for ``paca-bench frontier``."""

from paca_bench.frontier.find import Entry, frontier
from paca_bench.frontier.limits import Limit, make_limits

__all__ = ["Entry", "Limit", "frontier", "make_limits"]
