"""One job in, one result out, in a process of its own: the only place of measurement.

A job is a dict with ``kind`` (a metric group, or ``probe``) and what that kind needs; the
result is an ``Outcome`` as JSON. Expected failures become a status with a reason here; a
crash or a hang is seen by the fork server.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from paca_bench.attention.registry import mechanisms
from paca_bench.environment import available_memory, describe_environment, resolve_device
from paca_bench.errors import DisagreementError, PacaBenchError, UnsupportedError
from paca_bench.measure.calibrate import measure_ceilings
from paca_bench.measure.check import WrongResult
from paca_bench.measure.execution import Recompiled, not_had
from paca_bench.measure.failure import is_out_of_memory
from paca_bench.measure.prepare import prepare
from paca_bench.measure.timing import time_case
from paca_bench.models.subject import build_subject, case_tokens, input_shape
from paca_bench.plan import make_plan
from paca_bench.plugins import load_plugins
from paca_bench.predicted_time import Machine
from paca_bench.record import Case, Status
from paca_bench.spec import SweepSpec
from paca_bench.workers import Job, Outcome


def preload() -> None:
    """Import, once and before the first fork, what each job would import for itself.

    Tracing a small module pulls in what torch imports on first use, over two seconds of it.
    Nothing is computed and no thread is started: the tensors have no data.
    """
    import pandas  # noqa: F401 - reads the embedded data set

    from paca_bench import training_job  # noqa: F401
    from paca_bench.complexity.dispatch import count
    from paca_bench.complexity.memory import predict_case_memory
    from paca_bench.measure import memory, peak  # noqa: F401

    mechanisms()
    case = Case(level="layer", mechanism="paca", host="nano", height=32, width=32, mode="forward")
    with torch.device("meta"):
        count(build_subject(case), input_shape(case))
    predict_case_memory(case)


def run_job(job: Job) -> dict[str, Any]:
    """Run one job; never raises for what a mechanism or a device does wrong."""
    try:
        load_plugins(job.get("plugins", ()))
        _settle(job)
        outcome = _JOBS[job["kind"]](job)
    except Exception as error:
        outcome = Outcome(status=_status_of(error), reason=_reason_of(error))
    if torch.cuda.is_initialized():
        _clean_up()
    return outcome.to_json()


def _clean_up() -> None:
    """Leave nothing of a job on the device: its process may take another."""
    gc.collect()
    with contextlib.suppress(RuntimeError):  # the context is lost, and the process with it
        torch.cuda.empty_cache()


def _settle(job: Job) -> None:
    """Threads, denormals, seed, what is compiled already, and the limit on memory."""
    if "compile_cache" in job:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = job["compile_cache"]
    if job.get("threads"):
        torch.set_num_threads(job["threads"])
    torch.set_flush_denormal(True)
    torch.manual_seed(job.get("seed", 0))
    device = _device_of(job)
    if device.startswith("cuda:"):
        # Events and streams are those of the current device.
        torch.cuda.set_device(device)
    # CUDA maps far more addresses than it uses, so a limit on them means nothing there.
    if sys.platform == "linux" and device == "cpu":
        _limit_memory()


def _device_of(job: Job) -> str:
    """Where the job works: what only counts or builds works on shapes, and starts no CUDA."""
    if job["kind"] in ("complexity", "plugins"):
        return "cpu"
    return Case.from_json(job["case"]).device if "case" in job else str(job["device"])


def _limit_memory() -> None:
    """Make an allocation beyond what is free fail here, instead of swapping or killing."""
    import resource

    with contextlib.suppress(OSError, ValueError):
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[0]
        mapped = int(pages) * resource.getpagesize()
        limit = mapped + available_memory()
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))


def _probe(job: Job) -> Outcome:
    """The environment, and how fast the device multiplies and copies."""
    device = resolve_device(job["device"])
    ceilings = measure_ceilings(device, job["dtypes"])
    return Outcome(
        status=Status.OK,
        details={
            "device": device,
            "environment": describe_environment(device),
            "ceilings": ceilings.to_json(),
        },
    )


def _complexity(job: Job) -> Outcome:
    """Exact counts; the closed form and the dispatch counter must agree."""
    from paca_bench.complexity.count import agreed_counts

    case = Case.from_json(job["case"])
    agreed = agreed_counts(case)
    return Outcome(
        status=Status.OK,
        metrics={
            "macs": agreed.counts.macs,
            "flops": agreed.counts.flops,
            "elementwise_ops": agreed.counts.elementwise_ops,
            "params": agreed.params,
        },
        details={
            "tokens": case_tokens(case),
            "macs_by_category": dict(agreed.counts.by_category),
            "macs_method": agreed.method,
        },
    )


def _memory(job: Job) -> Outcome:
    """Peak bytes of live tensors over weights and input, measured and predicted."""
    from paca_bench.measure.peak import PredictedOutOfMemory, measure_case_memory

    try:
        metrics, details = measure_case_memory(Case.from_json(job["case"]))
    except PredictedOutOfMemory as error:
        return Outcome(
            status=Status.PREDICTED_OUT_OF_MEMORY, reason=str(error), metrics=error.metrics
        )
    return Outcome(status=Status.OK, metrics=metrics, details=details)


def _latency(job: Job) -> Outcome:
    """One process's latency samples, of a call whose output is right."""
    if job["check"] and "compile_cache" in job:
        # The process that says what compiling takes finds nothing compiled.
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = tempfile.mkdtemp(dir=job["compile_cache"])
    samples, details = time_case(
        prepare(Case.from_json(job["case"])),
        slice_s=job["slice_s"],
        precision=job["precision"],
        check=job["check"],
    )
    return Outcome(status=Status.OK, samples=samples, details=details)


def _energy(job: Job) -> Outcome:
    """Joules of one image, apart from all timing."""
    from paca_bench.measure.joules import measure_case_energy

    metrics, details = measure_case_energy(Case.from_json(job["case"]))
    return Outcome(status=Status.OK, metrics=metrics, details=details)


def _plugins(job: Job) -> Outcome:
    """Whether the plugins, loaded already, can say what their mechanisms cost.

    The sweep itself will ask; here it cannot be hung or killed by the answer. What the
    settings have against them is the sweep's to say.
    """
    with contextlib.suppress(PacaBenchError):
        make_plan(SweepSpec.from_json(job["spec"]), "cpu", Machine.nominal("cpu"))
    return Outcome(status=Status.OK)


def _accuracy(job: Job) -> Outcome:
    """One training and its test."""
    from paca_bench.training_job import train

    return train(job)


def _status_of(error: Exception) -> Status:
    if isinstance(error, WrongResult | DisagreementError):
        return Status.WRONG
    if isinstance(error, UnsupportedError | NotImplementedError) or not_had(error):
        return Status.NOT_SUPPORTED
    return Status.OUT_OF_MEMORY if is_out_of_memory(error) else Status.ERROR


def _reason_of(error: Exception) -> str:
    """The message on one line; for what is not ours, with its type and the place it came from."""
    if isinstance(error, PacaBenchError | WrongResult | Recompiled):
        return " ".join(str(error).split())
    if lacking := not_had(error):
        return lacking
    text = (str(error).strip().splitlines() or [""])[0]
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {text}{place}"


_JOBS: Mapping[str, Callable[[Job], Outcome]] = {
    "probe": _probe,
    "complexity": _complexity,
    "memory": _memory,
    "latency": _latency,
    "accuracy": _accuracy,
    "energy": _energy,
    "plugins": _plugins,
}
