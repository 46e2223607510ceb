"""Worker processes that cost milliseconds: a server imports torch once and forks.

Run as ``python -m paca_bench.forkserver`` by ``paca_bench.workers``. It reads one request
per line on stdin, ``{"job": ..., "timeout_s": ...}``, runs the job in a fork of itself and
answers one line on stdout. It never runs a job, loads a plugin or starts CUDA in its own
process, so nothing that a job does can reach the next one; jobs on CUDA share processes, see
``residents``. When its stdin closes, because the sweep ended or was killed, it kills the job
in hand and exits.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import select
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from paca_bench.residents import Process, Residents, resident_key

LOG_TAIL_BYTES = 2000
# How long a child may take to end after its pipe is closed.
EXIT_GRACE_S = 1.0
_PR_SET_PDEATHSIG = 1


def serve() -> None:
    """Answer requests until stdin closes."""
    # Importing makes many objects and no garbage; children collect again.
    gc.disable()
    from paca_bench.worker import preload

    preload()
    replies = os.dup(1)
    # Whatever a library prints from here on must not mix with the replies.
    os.dup2(2, 1)
    _send(replies, {"ready": True})
    # What exists now is shared by all forks; collecting it there would copy its pages.
    gc.freeze()
    residents = Residents(
        Process(
            begin=_begin,
            await_answer=_await_answer,
            kill=_kill,
            finish=_finish,
            outcome=_outcome,
            tail=_tail,
            run_job=_run_job,
        )
    )
    buffer = b""
    while chunk := os.read(0, 1 << 16):
        buffer += chunk
        while b"\n" in buffer:
            line, buffer = buffer.split(b"\n", 1)
            request = json.loads(line)
            job, timeout_s = request["job"], request["timeout_s"]
            key = resident_key(job)
            reply = residents.run(key, job, timeout_s) if key else run_in_fork(job, timeout_s)
            _send(replies, reply)
    # Residents end with this process, as their pipes close and the kernel is told.
    # There is nothing to clean up, and taking torch down in good order takes a while.
    os._exit(0)


def run_in_fork(job: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
    """Run ``job`` in a child process.

    Returns:
        ``{"end": "result", "result": ...}``, or ``{"end": "timeout"}``, or
        ``{"end": "signal" | "exit", "code": n}``, or ``{"end": "silent"}`` where it closed its
        pipe and went on; with ``seconds``, and ``log``, the tail of what the child printed.
    """
    start = time.perf_counter()
    read_end, write_end = os.pipe()
    with tempfile.TemporaryFile() as log:
        child = os.fork()
        if child == 0:
            os.close(read_end)
            _child(job, write_end, log)
        os.close(write_end)
        answer, timed_out = _await_answer(child, read_end, start + timeout_s)
        os.close(read_end)
        status = _finish(child, answer, timed_out)
        outcome = _outcome(answer, timed_out, status)
        return {**outcome, "seconds": time.perf_counter() - start, "log": _tail(log)}


def _await_answer(child: int, read_end: int, deadline: float) -> tuple[bytes, bool]:
    """What the child wrote, and whether time ran out first."""
    exit_fd = os.pidfd_open(child) if hasattr(os, "pidfd_open") else None
    answer = b""
    try:
        while not answer.endswith(b"\n"):
            remaining = deadline - time.perf_counter()
            if remaining <= 0:
                return answer, True
            waited = [read_end, 0] + ([exit_fd] if exit_fd is not None else [])
            ready, _, _ = select.select(waited, [], [], remaining)
            if read_end in ready:
                chunk = os.read(read_end, 1 << 16)
                if not chunk:
                    break
                answer += chunk
            elif exit_fd in ready and not select.select([read_end], [], [], 0)[0]:
                # Looked at once more: it may have answered between the two looks of select.
                break
            elif 0 in ready:
                # Nobody asks while a job runs: stdin is readable because it was closed.
                _kill(child)
                os._exit(1)
        return answer, False
    finally:
        if exit_fd is not None:
            os.close(exit_fd)


def _finish(child: int, answer: bytes, timed_out: bool) -> int | None:
    """End a child and what it left behind; its exit status, or None if it would not end itself.

    One that closed its pipe without an answer is about to exit, or it will never answer.
    """
    unasked = timed_out or answer.endswith(b"\n") or _exits(child)
    _kill(child)
    _, status = os.waitpid(child, 0)
    return status if unasked else None


def _exits(child: int) -> bool:
    """True if the child ends within a second, or if this system cannot tell."""
    if not hasattr(os, "pidfd_open"):
        return True
    exit_fd = os.pidfd_open(child)
    try:
        return bool(select.select([exit_fd], [], [], EXIT_GRACE_S)[0])
    finally:
        os.close(exit_fd)


def _kill(child: int) -> None:
    """End the child and its process group, which it leads unless it has only just begun."""
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(child, signal.SIGKILL)


def _outcome(answer: bytes, timed_out: bool, status: int | None) -> dict[str, Any]:
    if answer.endswith(b"\n"):
        return {"end": "result", "result": json.loads(answer)}
    if timed_out:
        return {"end": "timeout"}
    if status is None:
        return {"end": "silent"}
    if os.WIFSIGNALED(status):
        return {"end": "signal", "code": os.WTERMSIG(status)}
    return {"end": "exit", "code": os.waitstatus_to_exitcode(status)}


def _child(job: Mapping[str, Any], write_end: int, log: IO[bytes]) -> None:
    """Run the job and leave; never returns."""
    code = 70
    try:
        _begin(log)
        _send(write_end, _run_job(job))
        code = 0
    except BaseException:
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _begin(log: IO[bytes]) -> None:
    """In a new child: a group of its own, no input, and the log for what is printed."""
    os.setsid()
    _die_with_parent()
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(log.fileno(), 1)
    os.dup2(log.fileno(), 2)
    gc.enable()


def _run_job(job: Mapping[str, Any]) -> dict[str, Any]:
    from paca_bench.worker import run_job

    result = run_job(job)
    sys.stdout.flush()
    return result


def _die_with_parent() -> None:
    """Ask the kernel to kill this process when the server dies, where it can."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        with contextlib.suppress(OSError):
            # Should memory run out all the same, the worker goes and not the sweep.
            Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _send(fd: int, message: Mapping[str, Any]) -> None:
    data = json.dumps(message, allow_nan=False).encode() + b"\n"
    while data:
        data = data[os.write(fd, data) :]


def _tail(log: IO[bytes]) -> str:
    size = log.seek(0, os.SEEK_END)
    log.seek(max(size - LOG_TAIL_BYTES, 0))
    return log.read().decode(errors="replace").strip()


if __name__ == "__main__":
    serve()
