"""``python -m paca_bench.cli``."""

from paca_bench.cli import main

main()
