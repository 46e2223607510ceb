"""A worker that stays for several jobs: on CUDA, where a process takes long to begin.

Starting CUDA and its libraries takes seconds, so the jobs of one round on one device share a
process. A new round has a new one, because an interval is made of several processes; and so
has the job after one that failed, because an error may leave a CUDA context unusable.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO, Any

# What only counts or loads works on shapes, in a process that is never timed.
FRESH_KINDS = ("complexity", "plugins", "probe")

Key = tuple[str, int]
Job = Mapping[str, Any]


def resident_key(job: Job) -> Key | None:
    """(device, round) of the worker that a job is for; None where it gets a fresh one."""
    device = str(job.get("case", {}).get("device", "cpu"))
    if job["kind"] in FRESH_KINDS or not device.startswith("cuda"):
        return None
    return device, int(job.get("round", 0))


@dataclass(frozen=True, slots=True)
class Process:
    """What the fork server does with child processes.

    Attributes:
        begin: in a new child: ends with its parent, and prints into the log.
        await_answer: (child, its pipe, deadline) -> its line, and whether time ran out.
        kill: ends a child and whatever it began.
        finish: the same after (child, answer, timed out), and its exit status.
        outcome: of (answer, timed out, exit status); see ``forkserver.run_in_fork``.
        tail: the end of a log.
        run_job: runs a job in the child, and says how it ended.
    """

    begin: Callable[[IO[bytes]], None]
    await_answer: Callable[[int, int, float], tuple[bytes, bool]]
    kill: Callable[[int], None]
    finish: Callable[[int, bytes, bool], int | None]
    outcome: Callable[[bytes, bool, int | None], dict[str, Any]]
    tail: Callable[[IO[bytes]], str]
    run_job: Callable[[Job], dict[str, Any]]


class Resident:
    """One child process, which answers one job after the other until it is ended."""

    def __init__(self, key: Key, process: Process) -> None:
        self.key = key
        self._process = process
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        jobs_read, self._jobs = os.pipe()
        self._answers, answers_write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._jobs)
            os.close(self._answers)
            self._serve(jobs_read, answers_write)
        os.close(jobs_read)
        os.close(answers_write)

    def run(self, job: Job, timeout_s: float) -> tuple[dict[str, Any], bool]:
        """The outcome of a job, and whether the process may take another."""
        start = time.perf_counter()
        self._log.truncate(0)
        self._log.seek(0)
        answer, timed_out = b"", False
        try:
            _write_all(self._jobs, json.dumps(job).encode() + b"\n")
            answer, timed_out = self._process.await_answer(
                self.pid, self._answers, start + timeout_s
            )
        except BrokenPipeError:
            pass  # it died since its last answer
        alive = answer.endswith(b"\n") and json.loads(answer)["status"] == "ok"
        status = 0 if alive else self._process.finish(self.pid, answer, timed_out)
        outcome = self._process.outcome(answer, timed_out, status)
        log = self._process.tail(self._log)
        if not alive:
            self._close()
        return {**outcome, "seconds": time.perf_counter() - start, "log": log}, alive

    def end(self) -> None:
        """Kill the process."""
        self._process.kill(self.pid)
        os.waitpid(self.pid, 0)
        self._close()

    def _close(self) -> None:
        os.close(self._jobs)
        os.close(self._answers)
        self._log.close()

    def _serve(self, jobs: int, answers: int) -> None:
        """Answer jobs until their pipe closes; never returns."""
        code = 70
        try:
            self._process.begin(self._log)
            with os.fdopen(jobs, "rb") as lines:
                for line in lines:
                    result = self._process.run_job(json.loads(line))
                    _write_all(answers, json.dumps(result, allow_nan=False).encode() + b"\n")
            code = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(code)


class Residents:
    """The workers that stay: one a device, replaced for a new round and after a failure."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._by_device: dict[str, Resident] = {}

    def run(self, key: Key, job: Job, timeout_s: float) -> dict[str, Any]:
        """Run a job in the worker of ``key``; the outcome as of ``forkserver.run_in_fork``."""
        device, _ = key
        resident = self._by_device.get(device)
        if resident is not None and resident.key != key:
            resident.end()
            resident = None
        if resident is None:
            resident = self._by_device[device] = Resident(key, self._process)
        outcome, alive = resident.run(job, timeout_s)
        if not alive:
            del self._by_device[device]
        return outcome


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
