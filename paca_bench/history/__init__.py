"""``paca-bench history``: each case over commits, and where it changed."""

from paca_bench.history.history import History, history

__all__ = ["History", "history"]
