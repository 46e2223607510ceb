"""The first tier: each side counts its own cases in its own process, and nothing is timed.

What the two sides say to each other is a sweep's settings and a run folder, the oldest and
stablest things there are: a revision need not know of gates to be one side of one.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from paca_bench.errors import NothingMeasuredError, PacaBenchError, SpecError
from paca_bench.gate.side import GateSide
from paca_bench.store import RUN_FILE

# Counts, and the predicted memory, which comes with a measured one.
METRICS = "complexity,memory"
_SWEEP = """
import json, sys
import paca_bench
try:
    paca_bench.sweep(**json.load(sys.stdin))
except paca_bench.PacaBenchError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""
_BAD_USAGE = PacaBenchError.exit_code
_NOTHING = NothingMeasuredError.exit_code


def count_both(
    sides: Sequence[GateSide], settings: Mapping[str, Mapping[str, Any]], runs: Mapping[str, Path]
) -> None:
    """Sweep the counts of both sides at the same time into their run folders.

    Args:
        sides: both.
        settings: of each side's sweep, by its name; without metrics.
        runs: the folder for each side's run.

    Raises:
        SpecError: both sides refuse the settings.
        NothingMeasuredError: a side cannot run.
    """
    running: list[tuple[GateSide, subprocess.Popen[bytes], IO[bytes]]] = []
    try:
        for side in sides:
            told: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed below
            running.append((side, _start(side, told), told))
            given = {**settings[side.name], "metrics": METRICS, "out": str(runs[side.name])}
            _send(running[-1][1], given)
        for _, process, _ in running:
            process.wait()
        failures = [
            (side, process.returncode, _last_line(told))
            for side, process, told in running
            if not _has_run(process.returncode, runs[side.name])
        ]
    finally:
        for _, process, told in running:
            # Its workers end when they see that it is gone.
            process.kill()
            process.wait()
            told.close()
    if len(failures) == len(sides) and all(code == _BAD_USAGE for _, code, _ in failures):
        raise SpecError(failures[0][2])
    if failures:
        said = "; ".join(f"{side.name}, {side.revision}: {text}" for side, _, text in failures)
        raise NothingMeasuredError(f"nothing was compared, as a side could not run: {said}")


def _start(side: GateSide, told: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [side.python, "-c", _SWEEP],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=told,
        cwd=side.folder,
        env={**os.environ, **side.environment},
        # Ctrl-C reaches the gate alone, which then ends this in good order.
        start_new_session=True,
    )


def _send(process: subprocess.Popen[bytes], settings: Mapping[str, Any]) -> None:
    assert process.stdin
    try:
        process.stdin.write(json.dumps(settings).encode())
        process.stdin.close()
    except BrokenPipeError:
        pass  # it ended before it read them, and its exit code says so


def _has_run(code: int, run: Path) -> bool:
    """True if there is something to compare: a sweep in which nothing worked is a side too."""
    return code in (0, _NOTHING) and (run / RUN_FILE).exists()


def _last_line(told: IO[bytes]) -> str:
    told.seek(0)
    lines = told.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it ended without a word"
