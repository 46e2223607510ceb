"""The report of a run of 100,000 records: how long, how much memory, how large, how fast it opens.

    python -m suites.bench_scale                    from the repository's root
    python -m suites.bench_scale --records 10000

The records are made up: six curves over resolution, batch, mode and level, three processes of
twelve samples each. The page is opened by Chromium where there is one, and the time that it takes
to open an empty page is taken off. Exits with 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from paca_bench.record import Record

CURVES = (("vit", None), ("swin", None), ("pvt", None), ("paca", 25), ("paca", 49), ("paca", 100))
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BLANK = "<!doctype html><title>-</title>"
OPENINGS = 3


@dataclass(frozen=True)
class Bar:
    """What may be at most ``most`` of ``unit``."""

    what: str
    most: float
    unit: str

    def judge(self, value: float) -> bool:
        """Print the value beside the bar; whether it is missed."""
        missed = value > self.most
        verdict = "ABOVE" if missed else "within"
        print(f"{self.what}: {value:.1f} {self.unit}, {verdict} {self.most:g}", flush=True)
        return missed


SECONDS = Bar("report, wall clock", 20, "s")
MEMORY = Bar("report, peak of the resident set", 500, "MB")
SIZE = Bar("page", 15, "MB")
OPENING = Bar("page opened in Chromium", 3, "s")


def records(count: int) -> Iterator[Record]:
    """``count`` different cases."""
    from tests.builders import make_record

    places: list[tuple[str, int | None]] = [("host", None), *(("layer", s) for s in (1, 2, 3, 4))]
    grid = itertools.product(
        range(32, 2**16, 32), (1, 2, 4, 8, 16), ("forward", "train"), places, CURVES
    )
    for resolution, batch, mode, (level, stage), (mechanism, clusters) in itertools.islice(
        grid, count
    ):
        yield make_record(
            mechanism,
            clusters,
            level=level,
            stage=stage,
            resolution=resolution,
            mode=mode,
            batch=batch,
        )


def run(command: Sequence[str]) -> tuple[float, float]:
    """Seconds and peak resident megabytes of a command.

    Raises:
        SystemExit: it failed.
    """
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        sys.exit(f"failed: {' '.join(command)}")
    return seconds, usage.ru_maxrss * 1024 / 1e6


def opening(browser: str, pages: Sequence[Path], profile: Path) -> list[float]:
    """Seconds until each page is loaded and its scripts have run, the median of several turns."""
    taken: list[list[float]] = [[] for _ in pages]
    for _ in range(OPENINGS):
        for page, found in zip(pages, taken, strict=True):
            command = [browser, "--headless=new", "--no-sandbox", "--disable-gpu"]
            command += [f"--user-data-dir={profile}", "--dump-dom", page.resolve().as_uri()]
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            found.append(time.perf_counter() - start)
    return [statistics.median(found) for found in taken]


def main() -> None:
    """Measure on this machine."""
    from tests.builders import make_run

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--records", type=int, default=100_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        made = make_run(folder / "run", records(given.records)).path
        page, blank = folder / "report.html", folder / "blank.html"
        blank.write_text(BLANK)
        command = [sys.executable, "-m", "paca_bench.cli", "report", str(made)]
        seconds, memory = run([*command, "-o", str(page)])
        missed = [
            SECONDS.judge(seconds),
            MEMORY.judge(memory),
            SIZE.judge(page.stat().st_size / 1e6),
        ]
        browser = next(filter(None, map(shutil.which, BROWSERS)), None)
        if browser:
            ours, empty = opening(browser, (page, blank), folder / "profile")
            missed.append(OPENING.judge(ours - empty))
        else:
            print("page opened in Chromium: not measured, none of it is installed")
    sys.exit(int(any(missed)))


if __name__ == "__main__":
    main()
