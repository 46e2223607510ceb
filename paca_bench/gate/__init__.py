"""``paca-bench gate``: two git revisions measured in turns on the same machine."""

from paca_bench.gate.run import Gate, gate

__all__ = ["Gate", "gate"]
