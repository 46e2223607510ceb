"""The memory of a case in this process: predicted, measured twice, and compared."""

from __future__ import annotations

from typing import Any

import torch

from paca_bench.complexity.memory import is_predicted, predict_case_memory
from paca_bench.environment import available_memory
from paca_bench.measure.execution import executing
from paca_bench.measure.latency import make_call
from paca_bench.measure.memory import measure_peak_memory
from paca_bench.measure.prepare import prepare
from paca_bench.measure.process_memory import process_peak
from paca_bench.record import Case
from paca_bench.units import format_bytes

# How far a measured peak may lie from the predicted one. The prediction is for torch's CPU
# kernels; those of CUDA keep other scratch, and its allocator rounds up to 512 bytes.
AGREES_WITHIN = {"cpu": 0.05, "cuda": 0.10}


class PredictedOutOfMemory(Exception):
    """The case is predicted not to fit into what is free; ``metrics`` are the prediction."""

    def __init__(self, message: str, metrics: dict[str, float]) -> None:
        super().__init__(message)
        self.metrics = metrics


def measure_case_memory(case: Case) -> tuple[dict[str, float], dict[str, Any]]:
    """Peak memory of a case: metrics and details.

    Raises:
        PredictedOutOfMemory: it was not tried, for there is too little memory.
        SpecError, UnsupportedError: the case cannot be built, or memory not be measured.
    """
    metrics, details = _predicted(case)
    predicted = metrics.get("predicted_peak_memory_bytes")
    free = _free_memory(case.device)
    if predicted is not None and predicted > free:
        raise PredictedOutOfMemory(
            f"needs about {format_bytes(predicted)} over its weights and input, and "
            f"{format_bytes(free)} are free; take a smaller --res or --batch, or a larger machine",
            metrics,
        )
    prepared = prepare(case)
    with executing(case):
        if case.device == "cpu":
            whole = process_peak(*make_call(prepared.module, prepared.x, case.mode))
            if whole is not None:
                metrics["process_peak_bytes"] = whole.peak_bytes
                details["process_peak_method"] = whole.method
        measured = measure_peak_memory(prepared.module, prepared.x, case.mode)
    metrics["peak_memory_bytes"] = measured.peak_bytes
    metrics["base_memory_bytes"] = measured.base_bytes
    if measured.reserved_bytes is not None:
        metrics["reserved_memory_bytes"] = measured.reserved_bytes
    details["memory_method"] = measured.method
    if predicted is not None:
        details |= disagreement(measured.peak_bytes, predicted, case.device)
    return metrics, details


def disagreement(measured: float, predicted: float, device: str) -> dict[str, Any]:
    """``memory_disagrees`` with both numbers where they are further apart than allowed."""
    within = AGREES_WITHIN[device.partition(":")[0]]
    if abs(measured - predicted) <= within * predicted:
        return {}
    return {
        "memory_disagrees": {
            "measured_bytes": measured,
            "predicted_bytes": predicted,
            "allowed": within,
        }
    }


def _predicted(case: Case) -> tuple[dict[str, float], dict[str, Any]]:
    """The predicted peak, where the case is executed in a way that there is a prediction for."""
    if not is_predicted(case):
        reason = f"memory is predicted for torch's own way, not for {case.execution}"
        return {}, {"memory_not_predicted": reason}
    return {"predicted_peak_memory_bytes": predict_case_memory(case).peak_bytes}, {}


def _free_memory(device: str) -> int:
    if device.startswith("cuda"):
        return torch.cuda.mem_get_info(device)[0]
    return available_memory()
