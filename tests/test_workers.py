"""Real workers with mechanisms that misbehave: each gets its status, and the pool lives on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from paca_bench.errors import StoreError
from paca_bench.record import Case, Status
from paca_bench.workers import TUNED_MALLOC, Outcome, WorkerPool, outcome_of
from tests.fakes import heeds_ctrl_c

# ---- replies to outcomes, without a worker


def reply(end: str, code: int = 0, log: str = "") -> dict[str, Any]:
    return {"end": end, "code": code, "log": log, "seconds": 1.5}


@pytest.mark.parametrize(
    ("given", "status", "reason"),
    [
        (reply("timeout"), Status.TIMEOUT, "no result after 30.0 s; raise --timeout"),
        (reply("signal", signal.SIGSEGV, "a\nb\n"), Status.CRASH, "killed by SIGSEGV: b"),
        (reply("signal", 40), Status.CRASH, "killed by signal 40: it printed nothing"),
        (reply("exit", 3, "x"), Status.CRASH, "exited with code 3: x"),
        (reply("silent"), Status.CRASH, "closed its connection without a result, and was ended"),
        (reply("exit", 0), Status.CRASH, "exited with code 0: it printed nothing"),
    ],
)
def test_an_end_without_a_result(given: Mapping[str, Any], status: Status, reason: str) -> None:
    if status is Status.CRASH:
        reason = f"the worker {'was ' if 'killed' in reason else ''}{reason}"
    assert outcome_of(given, 30.0) == Outcome(status=status, reason=reason, seconds=1.5)


def test_sigkill_is_taken_for_the_kernels_lack_of_memory() -> None:
    outcome = outcome_of(reply("signal", signal.SIGKILL), 30.0)
    assert outcome.status is Status.OUT_OF_MEMORY
    assert "--batch" in outcome.reason


def test_an_outcome_survives_json() -> None:
    outcome = Outcome(
        status=Status.OK, metrics={"macs": 3}, samples={"s": [0.1]}, details={"a": [1]}, seconds=2
    )
    assert Outcome.from_json(outcome.to_json()) == outcome
    for data in (
        {},
        {"status": "fine"},
        {"status": "ok", "samples": [1]},
        {"status": "ok", "x": 1},
    ):
        with pytest.raises(StoreError, match="not the outcome of a worker"):
            Outcome.from_json(data)


# ---- real workers

PLUGIN = """
import ctypes, os, signal, sys, time
import torch
from paca_bench import register_attention
from paca_bench.attention.base import Attention
from paca_bench.complexity.cost import Cost

{top}

@register_attention("bad", cost=lambda *, grid: Cost({{}}, {{}}, {{}}))
class Bad(Attention):
    def __init__(self, *, dim, num_heads, grid):
        super().__init__()

    def forward(self, x, grid, shared=None):
        {forward}
"""


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    with WorkerPool(threads=1) as one:
        yield one


def job(folder: Path, forward: str = "return x", top: str = "", kind: str = "latency") -> Any:
    file = folder / "bad.py"
    file.write_text(PLUGIN.format(top=top, forward=forward))
    case = Case(
        level="layer", mechanism="bad", host="nano", height=32, width=32, mode="forward", stage=3
    )
    return {
        "kind": kind,
        "case": case.to_json(),
        "plugins": [str(file)],
        "threads": 1,
        "seed": 0,
        "slice_s": 0.01,
        "precision": 0.5,
        "check": True,
    }


BAD = {
    "raises": (
        "raise ValueError('out of ideas')",
        Status.ERROR,
        r"ValueError: out of ideas \(.*bad",
    ),
    "raises more lines": ("raise ValueError('one\\ntwo')", Status.ERROR, r"ValueError: one \("),
    "raises ours in more lines": (
        "from paca_bench.errors import SpecError; raise SpecError('one\\ntwo')",
        Status.ERROR,
        "one two$",
    ),
    "exits": ("sys.exit(3)", Status.CRASH, "the worker exited with code 70: SystemExit: 3$"),
    "exits at once": ("os._exit(3)", Status.CRASH, "exited with code 3: it printed nothing$"),
    "exits as if well": ("os._exit(0)", Status.CRASH, "exited with code 0"),
    "last words": (
        "os.write(1, b'first\\nlast'); os._exit(3)",
        Status.CRASH,
        "exited with code 3: last$",
    ),
    "segfault": ("os.kill(os.getpid(), signal.SIGSEGV)", Status.CRASH, "killed by SIGSEGV"),
    "null pointer": ("ctypes.string_at(0)", Status.CRASH, "killed by SIGSEGV"),
    "abort": ("os.abort()", Status.CRASH, "killed by SIGABRT"),
    "real-time signal": ("os.kill(os.getpid(), 40)", Status.CRASH, "killed by signal 40"),
    "killed": ("os.kill(os.getpid(), 9)", Status.OUT_OF_MEMORY, "lack of memory"),
    "too much memory": ("return torch.empty(2**50)", Status.OUT_OF_MEMORY, "can't allocate"),
    "too much memory in numpy": (
        "import numpy; numpy.ones(2**50)",
        Status.OUT_OF_MEMORY,
        "Unable to allocate",
    ),
    "closes its pipe": ("os.closerange(0, 256); time.sleep(600)", Status.CRASH, "closed its conn"),
    "memory error": ("raise MemoryError", Status.OUT_OF_MEMORY, "MemoryError"),
    "recursion": ("return self.forward(x, grid)", Status.ERROR, "RecursionError"),
    "wrong shape": ("return x[:, :-1]", Status.WRONG, r"the output is \(1, 3, 160\), expected"),
    "no tensor": ("return None", Status.WRONG, "the output is NoneType, expected a tensor"),
    "nan": ("return x * float('nan')", Status.WRONG, "not finite"),
    "infinite": ("return x / 0", Status.WRONG, "not finite"),
    "not like float64": (
        "return x * (1 + (x.dtype == torch.float32))",
        Status.WRONG,
        "deviates from float64",
    ),
    "not supported": ("raise NotImplementedError('no')", Status.NOT_SUPPORTED, "no"),
    "broken message": (
        "class E(Exception):\n            def __str__(self): raise ValueError('nested')\n"
        "        raise E",
        Status.CRASH,
        "ValueError: nested",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_misbehaviour_has_its_status_and_one_line(
    pool: WorkerPool, tmp_path: Path, what: str
) -> None:
    forward, status, reason = BAD[what]
    outcome = pool.execute(job(tmp_path, forward), 60.0)
    assert outcome.status is status, outcome.reason
    assert outcome.reason
    assert len(outcome.reason.splitlines()) == 1
    assert re.search(reason, outcome.reason), outcome.reason
    assert not outcome.samples


def test_a_good_mechanism_is_measured_after_all_that(pool: WorkerPool, tmp_path: Path) -> None:
    outcome = pool.execute(job(tmp_path), 60.0)
    assert outcome.status is Status.OK, outcome.reason
    assert all(seconds > 0 for seconds in outcome.samples["latency_s"])
    assert outcome.details["checked"] == "float64"
    assert outcome.details["tokens"] == 4
    assert outcome.seconds > 0


def test_what_a_mechanism_prints_is_no_reply(pool: WorkerPool, tmp_path: Path) -> None:
    noise = """print('{"status": "ok"}', flush=True); os.write(1, b'{"ready": true}\\n' * 9)"""
    outcome = pool.execute(job(tmp_path, noise + "; return x", top=noise), 60.0)
    assert outcome.status is Status.OK, outcome.reason
    assert outcome.samples["latency_s"]


def test_one_job_cannot_reach_the_next(pool: WorkerPool, tmp_path: Path) -> None:
    top = "torch.nn.Linear = torch.randn = None; os.environ['PLANTED'] = '1'; os.chdir('/')"
    first = pool.execute(job(tmp_path, top=top), 60.0)
    assert first.status is Status.ERROR
    check = "assert 'PLANTED' not in os.environ and torch.nn.Linear; assert os.getcwd() != '/'"
    assert pool.execute(job(tmp_path, top=check), 60.0).status is Status.OK


@pytest.mark.parametrize("top", ["raise ValueError('on import')", "import os; os._exit(4)", "x ="])
def test_a_plugin_that_fails_on_import(pool: WorkerPool, tmp_path: Path, top: str) -> None:
    outcome = pool.execute(job(tmp_path, top=top), 60.0)
    assert outcome.status is (Status.CRASH if "_exit" in top else Status.ERROR)
    assert len(outcome.reason.splitlines()) == 1
    if outcome.status is Status.ERROR:
        assert "bad.py, line 8" in outcome.reason


@pytest.mark.parametrize("timeout_s", [0.0, 0.5])
def test_a_hang_ends_at_its_timeout(pool: WorkerPool, tmp_path: Path, timeout_s: float) -> None:
    hang = "signal.pthread_sigmask(signal.SIG_BLOCK, [15]); time.sleep(600)"
    outcome = pool.execute(job(tmp_path, hang), timeout_s)
    assert outcome.status is Status.TIMEOUT
    assert "--timeout" in outcome.reason
    assert outcome.seconds < 300
    assert pool.execute(job(tmp_path), 60.0).status is Status.OK


def test_a_process_left_behind_is_ended(pool: WorkerPool, tmp_path: Path) -> None:
    """It holds the reply's pipe open, and would go on using the machine."""
    note = tmp_path / "pid"
    fork = f"""
if (pid := os.fork()) == 0:
    time.sleep(600)
open({str(note)!r}, "w").write(str(pid))
"""
    for forward in ("return x", "os._exit(3)"):
        outcome = pool.execute(job(tmp_path, forward, top=fork), 60.0)
        assert outcome.status is (Status.OK if forward == "return x" else Status.CRASH)
        assert wait_until_gone(int(note.read_text()))


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_until_gone(pid: int) -> bool:
    """Processes end soon after their signal, not at once; a minute is for a busy machine."""
    for _ in range(600):
        if gone(pid):
            return True
        time.sleep(0.1)
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal")
def test_a_server_that_dies_costs_one_job_and_takes_its_worker_along(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    suicide = (
        f"open({str(note)!r}, 'w').write(str(os.getpid())); os.kill(os.getppid(), 9); "
        "time.sleep(600)"
    )
    with WorkerPool(threads=1) as own:
        outcome = own.execute(job(tmp_path, suicide), 120.0)
        assert outcome.status is Status.CRASH
        assert outcome.reason.startswith("the worker server died")
        assert wait_until_gone(int(note.read_text()))
        assert own.execute(job(tmp_path), 120.0).status is Status.OK


SWEEP = """
import sys
from paca_bench.workers import WorkerPool
with WorkerPool(threads=1) as pool:
    print(pool._server.pid, flush=True)
    pool.execute({job!r}, 600.0)
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_no_process_outlives_the_sweep(tmp_path: Path, end: signal.Signals) -> None:
    note = tmp_path / "pid"
    hang = f"open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    script = SWEEP.format(job=job(tmp_path, hang))
    sweep = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        preexec_fn=heeds_ctrl_c,
    )
    assert sweep.stdout is not None
    server = int(sweep.stdout.readline())
    while not (note.exists() and note.read_text()):
        assert sweep.poll() is None
        time.sleep(0.05)
    worker = int(note.read_text())
    assert not gone(server)
    assert not gone(worker)
    # As Ctrl-C does it: to the sweep's process group, in which the server is not.
    os.killpg(sweep.pid, end)
    sweep.wait(60)
    sweep.stdout.close()
    assert wait_until_gone(server)
    assert wait_until_gone(worker)


def test_leaving_before_the_server_is_ready_does_not_wait_for_it() -> None:
    with WorkerPool() as own:
        server = own._server
        assert server is not None
    assert server.returncode == -signal.SIGKILL


def test_the_pools_settings_are_the_servers_environment() -> None:
    tuned = WorkerPool(threads=3)._environment
    assert tuned["OMP_NUM_THREADS"] == "3"
    assert TUNED_MALLOC.items() <= tuned.items()
    assert WorkerPool(allocator="system")._environment == dict(os.environ)


def test_only_a_job_that_compiles_has_a_folder_for_it_which_goes_with_the_pool() -> None:
    usual = {"kind": "latency", "case": {"mechanism": "vit"}}
    own = WorkerPool()
    assert own._with_cache(usual) is usual
    assert own._compiled is None
    folders = {
        own._with_cache({**usual, "case": {"compile": "default"}})["compile_cache"]
        for _ in range(2)
    }
    (folder,) = folders
    assert Path(folder).is_dir()
    own.__exit__(None, None, None)
    assert not Path(folder).exists()
