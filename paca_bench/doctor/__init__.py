"""``paca-bench doctor``: how small a change this machine can show, and what to mend first.

No torch here: what is timed runs in workers.
"""
