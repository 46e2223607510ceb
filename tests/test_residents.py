"""Workers that stay, in a real fork server whose jobs are made up: no CUDA is needed."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from paca_bench.residents import resident_key

# The server of the package, but for what a job does: it says who it is, or misbehaves.
SERVER = """
import os, signal, sys, time
from paca_bench import forkserver, worker

worker.preload = lambda: None
done = []

def run_job(job):
    what = job.get("do")
    if what == "print":
        print("garbage", flush=True)
    if what == "exit":
        print("last words", flush=True)
        os._exit(3)
    if what == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if what == "hang":
        time.sleep(600)
    done.append(1)
    status = job.get("status", "ok")
    return {"status": status, "details": {"pid": os.getpid(), "jobs": len(done)}}

worker.run_job = run_job
forkserver.serve()
"""


def serve(*jobs: dict[str, Any], timeout_s: float = 60.0) -> list[dict[str, Any]]:
    """The replies to one job after the other."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        assert json.loads(server.stdout.readline()) == {"ready": True}
        replies = []
        for job in jobs:
            server.stdin.write(json.dumps({"job": job, "timeout_s": timeout_s}) + "\n")
            server.stdin.flush()
            replies.append(json.loads(server.stdout.readline()))
        server.stdin.close()
        assert server.wait(30) == 0
    return replies


def job(device: str = "cuda:0", round: int = 1, kind: str = "latency", **more: Any) -> Any:
    return {"kind": kind, "case": {"device": device}, "round": round, **more}


def pids(replies: list[dict[str, Any]]) -> list[int]:
    return [reply["result"]["details"]["pid"] for reply in replies]


def test_which_jobs_share_a_process() -> None:
    assert resident_key(job()) == ("cuda:0", 1)
    assert resident_key(job(kind="memory")) == ("cuda:0", 1)
    assert resident_key(job(device="cpu")) is None
    assert resident_key(job(kind="complexity")) is None
    assert resident_key({"kind": "probe", "device": "cuda"}) is None


def test_jobs_of_a_round_share_a_process_on_cuda_and_have_their_own_on_a_cpu() -> None:
    replies = serve(job(), job(), job(device="cpu"), job(device="cpu"), job(device="cuda:1"))
    first, again, one, two, other = pids(replies)
    assert first == again
    assert len({first, one, two, other}) == 4
    assert [reply["result"]["details"]["jobs"] for reply in replies] == [1, 2, 1, 1, 1]


def test_a_new_round_has_a_new_process() -> None:
    first, second, third = pids(serve(job(round=1), job(round=2), job(round=2)))
    assert first != second == third


@pytest.mark.parametrize(
    ("bad", "end"),
    [
        ({"do": "exit"}, {"end": "exit", "code": 3, "log": "last words"}),
        ({"do": "segfault"}, {"end": "signal", "code": 11}),
        ({"status": "out_of_memory"}, {"end": "result"}),
    ],
)
def test_a_worker_that_failed_is_replaced(bad: dict[str, Any], end: dict[str, Any]) -> None:
    before, failed, after, again = serve(job(), job(**bad), job(), job())
    assert end.items() <= failed.items()
    first, second, third = pids([before, after, again])
    assert first != second == third


def test_a_hang_ends_at_its_timeout_and_costs_its_worker_alone() -> None:
    hung, after = serve(job(do="hang"), job(), timeout_s=3.0)
    assert hung["end"] == "timeout"
    assert after["end"] == "result"


def test_what_one_job_prints_is_neither_a_reply_nor_anothers_log() -> None:
    loud, quiet = serve(job(do="print"), job())
    assert loud["log"] == "garbage"
    assert loud["end"] == quiet["end"] == "result"
    assert quiet["log"] == ""
