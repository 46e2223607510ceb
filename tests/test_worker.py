"""One job in, one outcome out; run in this process, where threads and limits stay as they are."""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from paca_bench import worker
from paca_bench.complexity.memory import predict_case_memory
from paca_bench.measure import joules, timing
from paca_bench.measure.energy import Absent, CounterMeter
from paca_bench.measure.execution import no_recompilation
from paca_bench.measure.recipe import Recipe, step_macs
from paca_bench.record import Case, Status
from paca_bench.spec import make_spec
from paca_bench.train_budget import TrainBudget
from paca_bench.worker import run_job
from paca_bench.workers import Outcome
from tests.complexity.test_memory import make_case


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """No limit on this process's memory, and no change of its threads."""
    monkeypatch.setattr(worker, "_limit_memory", lambda: None)


def run(case: Case, kind: str, **extra: Any) -> Outcome:
    return Outcome.from_json(run_job({"kind": kind, "case": case.to_json(), "seed": 0, **extra}))


@pytest.mark.parametrize("mode", ["forward", "train", "checkpointed"])
@pytest.mark.parametrize("level", ["layer", "host"])
def test_memory_in_every_mode_is_what_was_predicted(level: str, mode: str) -> None:
    case = make_case("paca", level=level, mode=mode, height=96)
    outcome = run(case, "memory")
    assert outcome.status is Status.OK, outcome.reason
    predicted = predict_case_memory(case).peak_bytes
    assert outcome.metrics["predicted_peak_memory_bytes"] == predicted
    assert outcome.metrics["peak_memory_bytes"] == pytest.approx(predicted, rel=0.05)


def test_checkpointing_spares_memory_and_is_checked_like_any_mode() -> None:
    host = make_case("swin", level="host", mode="train", height=96)
    kept = make_case("swin", level="host", mode="checkpointed", height=96)
    peaks = [run(case, "memory").metrics["peak_memory_bytes"] for case in (host, kept)]
    assert peaks[1] < peaks[0]
    outcome = run(kept, "latency", slice_s=0.01, precision=0.5, check=True)
    assert outcome.status is Status.OK, outcome.reason
    assert outcome.details["checked"] == "float64"


def test_counts_are_of_both_passes() -> None:
    case = make_case("paca", level="host", mode="train")
    outcome = run(case, "complexity")
    assert outcome.status is Status.OK, outcome.reason
    assert outcome.details["macs_method"] == "closed form and count of operators agree"


def test_the_probe_measures_the_dtypes_that_are_asked_for() -> None:
    job = {"kind": "probe", "device": "cpu", "dtypes": ["float32", "float64"], "seed": 0}
    outcome = Outcome.from_json(run_job(job))
    assert outcome.status is Status.OK, outcome.reason
    ceilings = outcome.details["ceilings"]
    assert set(ceilings["macs_per_s"]) == {"float32", "float64"}
    assert all(rate > 0 for rate in ceilings["macs_per_s"].values())
    assert all(size > 0 and rate > 0 for size, rate in ceilings["bytes_per_s"])


# ---- ways to execute

LATENCY: dict[str, Any] = {"slice_s": 0.01, "precision": 0.5, "check": True}


def tiny(**changes: Any) -> Case:
    return make_case("vit", height=64, width=64, **changes)


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"kernel": "math"}, "math"),
        ({"kernel": "flash"}, "flash (CPU)"),
        ({"kernel": "math", "mode": "train"}, "math"),
        ({"autocast": "bfloat16"}, "flash (CPU)"),
        ({"autocast": "bfloat16", "mode": "train"}, "flash (CPU)"),
        ({"level": "host", "memory_format": "channels_last"}, "flash (CPU)"),
    ],
)
def test_a_way_to_execute_is_checked_and_its_kernel_named(
    changes: dict[str, Any], path: str
) -> None:
    outcome = run(tiny(**changes), "latency", **LATENCY)
    assert outcome.status is Status.OK, outcome.reason
    assert outcome.details["kernel_path"] == path
    assert outcome.details["checked"] == "float64"


def test_a_kernel_that_a_cpu_has_not_is_not_supported() -> None:
    outcome = run(tiny(kernel="efficient"), "latency", **LATENCY)
    assert outcome.status is Status.NOT_SUPPORTED
    assert "--kernel auto" in outcome.reason


def compile_with(monkeypatch: pytest.MonkeyPatch, backend: Any) -> None:
    """Inductor takes ten seconds for a layer; tracing and guarding are the same without it."""
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda module, mode: real(module, backend=backend))


def test_compiling_has_its_time_and_is_over_before_the_first_sample(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compile_with(monkeypatch, "eager")
    outcome = run(tiny(compile="default", mode="train"), "latency", **LATENCY)
    assert outcome.status is Status.OK, outcome.reason
    (seconds,) = outcome.samples["compile_s"]
    assert seconds > 0
    assert outcome.samples["latency_s"]


def test_what_compiling_takes_is_said_by_the_process_that_finds_nothing_compiled(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "elsewhere")
    compile_with(monkeypatch, "eager")
    case, cache = tiny(compile="default"), str(tmp_path)
    for check in (True, False):
        outcome = run(case, "latency", compile_cache=cache, **{**LATENCY, "check": check})
        assert outcome.status is Status.OK, outcome.reason
        assert ("compile_s" in outcome.samples) is check
        used = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"])
        assert used.parent == tmp_path if check else used == tmp_path


def test_a_call_that_compiles_anew_while_it_is_timed_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counts = itertools.count()
    monkeypatch.setattr(
        timing, "no_recompilation", lambda case: no_recompilation(case, lambda: next(counts))
    )
    compile_with(monkeypatch, "eager")
    outcome = run(tiny(compile="default"), "latency", **LATENCY)
    assert outcome.status is Status.ERROR
    assert outcome.reason.startswith("torch.compile compiled 1 graph again")
    assert not outcome.samples


def test_without_a_compiler_compiling_is_not_supported(monkeypatch: pytest.MonkeyPatch) -> None:
    class InvalidCxxCompiler(RuntimeError):
        pass

    def backend(graph: Any, inputs: Any) -> Any:
        raise InvalidCxxCompiler("No working C++ compiler found")

    compile_with(monkeypatch, backend)
    outcome = run(tiny(compile="default"), "latency", **LATENCY)
    assert outcome.status is Status.NOT_SUPPORTED, outcome.reason
    assert "install g++" in outcome.reason


# ---- what a process reports of itself


def test_a_latency_says_what_the_machine_and_the_clock_did() -> None:
    details = run(tiny(), "latency", **LATENCY).details
    (spans,) = details["conditions"]
    assert sum(span["samples"] for span in spans) >= 1
    assert len(details["disturbed"]) == 1
    (clock,) = details["clock"]
    assert clock["overhead_s"] > 0
    assert clock["too_short"] is False


def test_energy_is_measured_or_its_absence_has_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joules, "open_meter", lambda device: Absent("nothing counts here"))
    outcome = run(tiny(), "energy")
    assert outcome.status is Status.NOT_SUPPORTED
    assert outcome.reason == "nothing counts here"
    monkeypatch.setattr(joules, "SPAN_S", 0.02)
    meter = CounterMeter(time.perf_counter, 1e-4, "one watt")
    monkeypatch.setattr(joules, "open_meter", lambda device: meter)
    outcome = run(tiny(batch=2), "energy")
    assert outcome.status is Status.OK, outcome.reason
    energy = outcome.details["energy"]
    assert energy["method"] == "one watt"
    assert energy["watts"] == pytest.approx(1.0, rel=0.01)
    joules_in_all = outcome.metrics["joules_per_image"] * 2 * energy["calls"]
    assert joules_in_all == pytest.approx(energy["seconds"], rel=0.01)


# ---- a training


def write_images(folder: Path) -> None:
    """Two classes of four noisy images each, one of which in the training part is no image."""
    rng = np.random.default_rng(0)
    for part, name in itertools.product(("train", "test"), ("ant", "bee")):
        (folder / part / name).mkdir(parents=True)
        for number in range(4):
            pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / part / name / f"{number}.png")
    (folder / "train" / "ant" / "0.png").write_bytes(b"no image")


def test_a_training_says_all_that_it_did_and_is_gone_on_with(tmp_path: Path) -> None:
    write_images(tmp_path / "images")
    case = Case(level="host", mechanism="pvt", host="nano", height=32, width=32, mode="fit")
    recipe = Recipe(budget=TrainBudget("images", 12), batch_size=4, lr=1e-3)
    job = {"data": f"folder:{tmp_path / 'images'}", "recipe": recipe.to_json(), "seed": 4}
    refused = run(case, "accuracy", **job)
    assert refused.status is Status.ERROR
    assert "0.png" in refused.reason
    job |= {"bad_images": "skip", "checkpoint": str(tmp_path / "states" / "a.pt")}
    first = run(case, "accuracy", checkpoint_every_steps=2, **job)
    assert first.status is Status.OK, first.reason
    details = first.details
    assert details["recipe"] == recipe.to_json()
    assert (details["train_steps"], details["train_epochs"]) == ([3], [12 / 7])
    assert details["train_macs"] == [3 * step_macs(case, recipe, 2)]
    assert (len(details["train_loss"][0]), details["train_loss_window"]) == (3, [1])
    assert len(details["weights_sha256"][0]) == len(details["data_sha256"]) == 64
    assert details["train_reproducible"].startswith("to the bit")
    assert details["dataset_notes"], "an image was left out"
    assert "train_notes" not in details
    assert first.metrics["train_peak_memory_bytes"] > 0
    assert first.samples["train_images_per_s"][0] > 0
    again = run(case, "accuracy", **job)
    assert again.details["train_notes"] == ["seed 4: gone on with after step 2"]
    assert again.details["weights_sha256"] == details["weights_sha256"]


def test_plugins_are_asked_what_they_cost_and_what_the_settings_lack_is_not_theirs() -> None:
    for settings in ({"res": "64"}, {"res": "64", "mechanism": "unknown"}):
        job = {"kind": "plugins", "plugins": [], "spec": make_spec(settings).to_json()}
        assert Outcome.from_json(run_job(job)).status is Status.OK
