"""The sweep's side of the fork server: one job in, one outcome out, whatever happens.

``Execute`` is all that the runner knows of workers, so a test can put a fake in its place.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from paca_bench.errors import StoreError
from paca_bench.record import Status
from paca_bench.typed_json import typed_fields
from paca_bench.units import format_seconds

# glibc gives large blocks back to the kernel at once, and every later call pays for fresh
# pages; with these thresholds freed memory stays in the process.
TUNED_MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": str(4 * 2**30),
    "MALLOC_TRIM_THRESHOLD_": str(16 * 2**30),
    "MALLOC_TOP_PAD_": str(64 * 2**20),
}

Job = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a job ended; ``seconds`` is its wall time as its process's parent saw it."""

    status: Status
    reason: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    samples: Mapping[str, list[float]] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """JSON values; ``Outcome.from_json`` is the inverse."""
        return {
            "status": self.status.value,
            "reason": self.reason,
            "metrics": dict(self.metrics),
            "samples": dict(self.samples),
            "details": dict(self.details),
            "seconds": self.seconds,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Outcome:
        """The inverse of ``to_json``.

        Raises:
            StoreError: the object is not an outcome.
        """
        try:
            return cls(**typed_fields(cls, data))
        except TypeError as error:
            raise StoreError(f"not the outcome of a worker: {error}") from error


Execute = Callable[[Job, float], Outcome]
"""``execute(job, timeout_s)``: run one job in a process of its own; never raises for what
the job does."""


class WorkerPool:
    """Runs jobs one at a time, in fresh processes. Use as a context manager.

    On CUDA the processes of a round are one, see ``residents``. What ``torch.compile`` compiles
    is kept for the processes that follow, and for no other pool.

    Args:
        threads: intra-operation threads of each worker; 0 leaves torch's choice.
        allocator: ``tuned`` or ``system``; see ``SweepSpec``.
        python: the interpreter that workers run in.
        environment: variables of the workers over those of this process.
        folder: where workers start; here, if None.
    """

    def __init__(
        self,
        threads: int = 0,
        allocator: str = "tuned",
        *,
        python: str = sys.executable,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self._python, self._folder = python, folder
        self._environment = {**os.environ, **(environment or {})}
        if allocator == "tuned":
            self._environment |= TUNED_MALLOC
        if threads:
            self._environment["OMP_NUM_THREADS"] = str(threads)
        self._server: subprocess.Popen[bytes] | None = None
        self._ready = False
        self._compiled: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> WorkerPool:
        # Started now and waited for at the first job, so that its imports overlap with ours.
        self._start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()
        if self._compiled is not None:
            self._compiled.cleanup()
            self._compiled = None

    def execute(self, job: Job, timeout_s: float) -> Outcome:
        """See ``Execute``."""
        try:
            reply = self._ask({"job": self._with_cache(job), "timeout_s": timeout_s})
        except (BrokenPipeError, EOFError) as error:
            self._stop()
            return Outcome(status=Status.CRASH, reason=f"the worker server died: {error}")
        return outcome_of(reply, timeout_s)

    def _with_cache(self, job: Job) -> Job:
        """The job with the folder for what it compiles, if it does."""
        if job.get("case", {}).get("compile", "none") == "none":
            return job
        if self._compiled is None:
            self._compiled = tempfile.TemporaryDirectory(
                prefix="paca-bench-compiled-", ignore_cleanup_errors=True
            )
        return {**job, "compile_cache": self._compiled.name}

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        if self._server is None:
            self._start()
        server = self._server
        assert server is not None
        assert server.stdin is not None
        if not self._ready:
            self._read(server)
            self._ready = True
        server.stdin.write(json.dumps(request).encode() + b"\n")
        server.stdin.flush()
        return self._read(server)

    @staticmethod
    def _read(server: subprocess.Popen[bytes]) -> dict[str, Any]:
        assert server.stdout
        line = server.stdout.readline()
        if not line.endswith(b"\n"):
            raise EOFError(f"exit code {server.poll()}")
        reply: dict[str, Any] = json.loads(line)
        return reply

    def _start(self) -> None:
        self._ready = False
        self._server = subprocess.Popen(
            [self._python, "-m", "paca_bench.forkserver"],
            cwd=self._folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self._environment,
            # Ctrl-C reaches the sweep alone, which then ends its workers in good order.
            start_new_session=True,
        )

    def _stop(self) -> None:
        server, self._server = self._server, None
        if server is None:
            return
        if not self._ready:
            # Still importing: nothing is in hand that could be lost, so nobody need wait.
            server.kill()
        for pipe in (server.stdin, server.stdout):
            if pipe:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        try:
            server.wait(timeout=5)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def outcome_of(reply: Mapping[str, Any], timeout_s: float) -> Outcome:
    """The fork server's reply as an ``Outcome``."""
    seconds = reply["seconds"]
    if reply["end"] == "result":
        return Outcome.from_json({**reply["result"], "seconds": seconds})
    if reply["end"] == "timeout":
        reason = f"no result after {format_seconds(timeout_s)}; raise --timeout"
        return Outcome(status=Status.TIMEOUT, reason=reason, seconds=seconds)
    if reply["end"] == "silent":
        reason = "the worker closed its connection without a result, and was ended"
        return Outcome(status=Status.CRASH, reason=reason, seconds=seconds)
    if reply["end"] == "signal" and reply["code"] == signal.SIGKILL:
        reason = (
            "killed by SIGKILL, most likely by the kernel for lack of memory; "
            "take a smaller --res or --batch"
        )
        return Outcome(status=Status.OUT_OF_MEMORY, reason=reason, seconds=seconds)
    how = (
        f"was killed by {_signal_name(reply['code'])}"
        if reply["end"] == "signal"
        else f"exited with code {reply['code']}"
    )
    last = reply["log"].splitlines()[-1:] or ["it printed nothing"]
    reason = f"the worker {how}: {last[0]}"
    return Outcome(status=Status.CRASH, reason=reason, seconds=seconds)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # one of the real-time signals, which have no names
        return f"signal {number}"
