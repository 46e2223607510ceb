"""``paca-bench compare``: two sides of the same cases, judged case by case. No torch."""

from paca_bench.compare.comparison import Comparison, compare

__all__ = ["Comparison", "compare"]
