"""Kill a real sweep at random moments, resume it, and see that nothing is lost or doubled.

    python -m tests.robustness.kill_real --times 50

Each time one of these is killed with SIGKILL: the sweep, one of its workers (or their server),
or all of them at once. Then the sweep goes on with --resume, to be killed again, until it is
finished after ``--kills`` of them. Exits with 1 at the first run that is not as it must be.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import psutil

from paca_bench.store import RunFolder

SETTINGS = (
    *("--res", "32,64,96", "--mechanism", "vit,swin,paca", "--clusters", "4", "--level", "layer"),
    *("--mode", "forward", "--metrics", "complexity,latency,memory", "--threads", "1"),
    *("--precision", "50%", "--processes", "3", "--budget", "10m"),
    "--no-doctor",
)
CASES = 9
SWEEP = (sys.executable, "-m", "paca_bench.cli", "sweep")


def start(folder: Path) -> subprocess.Popen[bytes]:
    """A sweep into ``folder``, or the one that is there gone on with."""
    arguments = ("--resume",) if (folder / "run.json").exists() else SETTINGS
    return subprocess.Popen(
        [*SWEEP, *arguments, "--out", str(folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def kill(sweep: subprocess.Popen[bytes], what: str, rng: random.Random) -> bool:
    """Kill ``what`` of a sweep; False if it had ended already."""
    try:
        children = psutil.Process(sweep.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return False
    victims = [] if what == "parent" else children
    if what == "worker":
        victims = rng.sample(children, min(len(children), 1))
    if what != "worker":
        sweep.send_signal(signal.SIGKILL)
    for victim in victims:
        with contextlib.suppress(psutil.NoSuchProcess):
            victim.kill()
    return True


def whole_lines(folder: Path) -> bytes:
    """The records that are wholly on the disk."""
    file = folder / "records.jsonl"
    data = file.read_bytes() if file.exists() else b""
    return data[: data.rfind(b"\n") + 1]


def one_run(folder: Path, kills: int, longest_s: float, rng: random.Random) -> list[str]:
    """One sweep that is killed ``kills`` times; what was killed, in order.

    Raises:
        AssertionError: a record was lost, changed or doubled, or the sweep did not end well.
    """
    done = []
    for _ in range(kills):
        before = whole_lines(folder)
        sweep = start(folder)
        what = rng.choice(("parent", "worker", "both"))
        time.sleep(rng.uniform(0.0, longest_s))
        if sweep.poll() is None and kill(sweep, what, rng):
            done.append(what)
        if what == "worker":
            check_end(sweep)
        sweep.wait()
        assert whole_lines(folder).startswith(before), "a finished record was changed"
    before = whole_lines(folder)
    if not (folder / "run.json").exists() and folder.exists():
        # Killed before the run began: only the lock is there.
        assert not before
    check_end(start(folder))
    assert whole_lines(folder).startswith(before), "a finished record was changed"
    check_records(folder)
    return done


def check_end(sweep: subprocess.Popen[bytes]) -> None:
    """The sweep ends by itself and well, or because its probe was killed, which it says."""
    _, errors = sweep.communicate(timeout=600)
    text = errors.decode(errors="replace")
    said = sweep.returncode in (2, 3) and text.startswith("paca-bench: ") and "probed" in text
    assert sweep.returncode == 0 or said, f"exit {sweep.returncode}: {text}"


def check_records(folder: Path) -> None:
    """Every case has exactly one record, and none is left to do."""
    lines = (folder / "records.jsonl").read_bytes().splitlines()
    counts = Counter(json.loads(line)["case_hash"] for line in lines)
    assert len(counts) == CASES, f"{len(counts)} cases of {CASES}"
    assert set(counts.values()) == {1}, f"doubled: {counts}"
    run = RunFolder.open(folder)
    assert all(record.is_final for record in run.records())
    assert not run.journal()


def main() -> None:
    """Run it as many times as asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--kills", type=int, default=1, help="in each run")
    parser.add_argument("--longest", type=float, default=15.0, help="seconds before a kill")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    killed: Counter[str] = Counter()
    for number in range(given.times):
        rng = random.Random(f"{given.seed} {number}")
        with tempfile.TemporaryDirectory() as place:
            killed.update(one_run(Path(place) / "run", given.kills, given.longest, rng))
        print(f"{number + 1}/{given.times}: nothing lost or doubled; {dict(killed)}", flush=True)


if __name__ == "__main__":
    main()
