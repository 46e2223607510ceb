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
from typing import TYPE_CHECKING, Any

import torch

from paca_bench.attention.registry import mechanisms
from paca_bench.environment import available_memory, describe_environment, resolve_device
from paca_bench.errors import DisagreementError, PacaBenchError, UnsupportedError
from paca_bench.measure.calibrate import measure_ceilings
from paca_bench.measure.check import WrongResult
from paca_bench.measure.execution import Recompiled, not_had
from paca_bench.measure.failure import is_out_of_memory
from paca_bench.measure.prepare import prepare
from paca_bench.measure.recipe import Recipe
from paca_bench.measure.timing import time_case
from paca_bench.models.subject import build_subject, case_tokens, input_shape
from paca_bench.plan import Machine, make_plan
from paca_bench.plugins import load_plugins
from paca_bench.record import Case, Status
from paca_bench.spec import SweepSpec
from paca_bench.workers import Job, Outcome

if TYPE_CHECKING:
    from paca_bench.data.dataset import ImageDataset
    from paca_bench.measure.accuracy import Trained
    from paca_bench.measure.segmentation import SegmentationResult


def preload() -> None:
    """Import, once and before the first fork, what each job would import for itself.

    Tracing a small module pulls in what torch imports on first use, over two seconds of it.
    Nothing is computed and no thread is started: the tensors have no data.
    """
    import pandas  # noqa: F401 - reads the embedded data set

    from paca_bench.complexity.dispatch import count
    from paca_bench.complexity.memory import predict_case_memory
    from paca_bench.data import registry  # noqa: F401
    from paca_bench.measure import memory, peak, segmentation  # noqa: F401

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
    """Test top-1 of one training; of the dense task its confusions and mIoU."""
    from paca_bench.data.registry import load_dataset
    from paca_bench.measure.accuracy import Checkpointing, train_and_test
    from paca_bench.measure.segmentation import segment_and_test

    case = Case.from_json(job["case"])
    recipe = Recipe.from_json(job["recipe"])
    dataset = load_dataset(job["data"], on_error=job.get("bad_images", "raise"))
    checkpointing = None
    if "checkpoint" in job:
        checkpointing = Checkpointing(
            path=Path(job["checkpoint"]), every_steps=job.get("checkpoint_every_steps")
        )
    if case.is_dense:
        dense = segment_and_test(case, dataset, recipe, job["seed"], checkpointing=checkpointing)
        return _dense_outcome(job, case, recipe, dataset, dense)
    result = train_and_test(
        case,
        dataset,
        recipe,
        job["seed"],
        keep_clusters=job.get("keep_clusters", False),
        checkpointing=checkpointing,
    )
    if result.test_accuracy is None:
        return _diverged(job, result)
    kept: dict[str, Any] = {}
    if result.clusters:
        kept["clusters"] = {"seed": job["seed"], "images": result.clusters}
    return _trained(
        job,
        case,
        recipe,
        dataset,
        result,
        samples={"accuracy": [result.test_accuracy]},
        details={
            "num_test": result.num_test,
            # One digit a test image, for comparisons image by image.
            "test_outcomes": ["".join(map(str, result.outcomes))],
            **kept,
        },
    )


def _dense_outcome(
    job: Job, case: Case, recipe: Recipe, dataset: ImageDataset, result: SegmentationResult
) -> Outcome:
    """mIoU of one training, and what its interval is made of."""
    from paca_bench.analyse.dense import class_ious, mean_iou, pack_confusions

    if result.confusions is None:
        return _diverged(job, result)
    confusions = result.confusions.numpy()
    whole = confusions.sum(axis=0)
    return _trained(
        job,
        case,
        recipe,
        dataset,
        result,
        samples={"miou": [float(mean_iou(whole))]},
        details={
            "num_test": len(confusions),
            # A text, as lists of processes are joined.
            "mask_classes": "; ".join(dataset.mask_classes),
            "class_weights": [list(result.class_weights)],
            "class_iou": [[None if iou != iou else iou for iou in class_ious(whole).tolist()]],
            "test_confusions": [pack_confusions(confusions)],
        },
    )


def _diverged(job: Job, result: Trained) -> Outcome:
    reason = (
        f"the training of seed {job['seed']} diverged at step {result.diverged_at}; take "
        f"another --seed or --accuracy-res"
    )
    return Outcome(status=Status.ERROR, reason=reason)


def _trained(
    job: Job,
    case: Case,
    recipe: Recipe,
    dataset: ImageDataset,
    result: Trained,
    *,
    samples: dict[str, list[float]],
    details: dict[str, Any],
) -> Outcome:
    """The outcome of one training: what was tested, and all that any training says."""
    from paca_bench.measure.accuracy import reproducibility

    kept: dict[str, Any] = {}
    if result.notes:
        kept["train_notes"] = [f"seed {job['seed']}: {note}" for note in result.notes]
    if dataset.notes:
        kept["dataset_notes"] = "; ".join(dataset.notes)
    metrics = {}
    if result.peak_memory_bytes is not None:
        metrics["train_peak_memory_bytes"] = result.peak_memory_bytes
    return Outcome(
        status=Status.OK,
        metrics=metrics,
        samples={**samples, "train_images_per_s": [result.images_per_s]},
        details={
            "tokens": case_tokens(case),
            "dataset": job["data"],
            "recipe": recipe.to_json(),
            "seeds": [job["seed"]],
            "train_loss": [result.train_loss],
            "train_loss_window": [result.loss_window],
            "train_steps": [result.steps],
            "train_epochs": [result.epochs],
            "train_macs": [result.macs],
            "train_s": [result.train_seconds],
            "weights_sha256": [result.weights_sha256],
            "data_sha256": result.data_sha256,
            "train_reproducible": reproducibility(case, recipe, result.not_deterministic),
            **details,
            **kept,
        },
    )


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
