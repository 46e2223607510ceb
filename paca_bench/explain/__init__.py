"""What a mechanism, host or model costs before anything runs, for ``paca-bench explain``."""

from paca_bench.explain.content import Explanation, explain
from paca_bench.explain.text import print_explanation, print_latex

__all__ = ["Explanation", "explain", "print_explanation", "print_latex"]
