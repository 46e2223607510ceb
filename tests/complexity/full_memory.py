"""Predicted against measured peak memory over everything that is registered.

    python -m tests.complexity.full_memory --out memory.jsonl

measures every mechanism as a layer at stages 1 to 4 and in the host, and every model, at two
resolutions, forward, in training and in training with checkpointing, on the CPU; then prints
the worst deviation of each group. What the file holds already is not measured again, so that
a change of the prediction is checked in a minute. Models in training at 512 need some 10 GB
and, all together, an hour on two cores.
"""

from __future__ import annotations

import argparse
import gc
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from paca_bench.attention.registry import mechanisms
from paca_bench.complexity.memory import predict_peak_memory
from paca_bench.errors import UnsupportedError
from paca_bench.measure.memory import measure_peak_memory
from paca_bench.models.registry import model_names
from paca_bench.models.subject import build_subject, input_shape
from paca_bench.record import Case

ALLOWED = 0.05
RESOLUTIONS = (224, 512)
MODES = (("forward", False), ("train", False), ("train", True))
SAMPLED_MODELS = ("swin_tiny", "pvt_tiny", "pvt_v2_b2_li", "pacavit_tiny", "deit_tiny")


def grid() -> Iterator[tuple[Case, bool]]:
    """Every case and whether it checkpoints, cheap ones first."""
    yield from _grid(RESOLUTIONS, "float32", model_names())
    for dtype in ("bfloat16", "float64", "float16"):
        names = [n for n in model_names() if n.startswith(SAMPLED_MODELS)]
        yield from _grid((224,), dtype, names if dtype == "bfloat16" else [])


def _grid(
    resolutions: tuple[int, ...], dtype: str, models: list[str]
) -> Iterator[tuple[Case, bool]]:
    for resolution in resolutions:
        size = {"height": resolution, "width": resolution, "dtype": dtype}
        for mode, checkpointing in MODES:
            axes: dict[str, Any] = {**size, "mode": mode}
            for mechanism in sorted(mechanisms()):
                for clusters in (25, 49, 100) if mechanism == "paca" else (None,):
                    here = {**axes, "mechanism": mechanism, "num_clusters": clusters}
                    for stage in (1, 2, 3, 4):
                        yield Case(level="layer", host="nano", stage=stage, **here), checkpointing
                    yield Case(level="host", host="nano", **here), checkpointing
    for resolution in resolutions:
        for mode, checkpointing in MODES:
            for name in models:
                size = {"height": resolution, "width": resolution}
                case = Case(level="model", host="", mechanism=name, mode=mode, dtype=dtype, **size)
                yield case, checkpointing


def measure(case: Case, checkpointing: bool) -> int:
    dtype = getattr(torch, case.dtype)
    torch.manual_seed(0)
    module = build_subject(case).to(dtype).train(case.mode == "train")
    wants_gradient = case.mode == "train" and case.level == "layer"
    x = torch.randn(input_shape(case)).to(dtype).requires_grad_(wants_gradient)
    return measure_peak_memory(module, x, case.mode, checkpointing=checkpointing).peak_bytes


def predict(case: Case, checkpointing: bool) -> int:
    return predict_peak_memory(
        lambda: build_subject(case),
        input_shape(case),
        mode=case.mode,
        dtype=getattr(torch, case.dtype),
        input_gradient=case.level == "layer",
        checkpointing=checkpointing,
    ).peak_bytes


def key(case: Case, checkpointing: bool) -> str:
    return f"{case.id}{'/checkpointing' if checkpointing else ''}"


def measure_all(path: Path, most_pixels: int) -> dict[str, int | None]:
    """Key -> measured bytes, None where the case is not supported."""
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    known: dict[str, int | None] = dict(json.loads(line) for line in lines)
    with path.open("a", encoding="utf-8") as file:
        for case, checkpointing in grid():
            name = key(case, checkpointing)
            if name in known or case.height > most_pixels:
                continue
            try:
                known[name] = measure(case, checkpointing)
            except UnsupportedError:
                known[name] = None
            file.write(json.dumps([name, known[name]]) + "\n")
            file.flush()
            gc.collect()
    return known


def main() -> int:
    parser = argparse.ArgumentParser(description="Predicted against measured peak memory.")
    parser.add_argument("--out", type=Path, default=Path("memory.jsonl"))
    parser.add_argument("--most-pixels", type=int, default=512, help="largest side of an image")
    arguments = parser.parse_args()
    measured = measure_all(arguments.out, arguments.most_pixels)
    worst: dict[str, tuple[float, str]] = {}
    for case, checkpointing in grid():
        name = key(case, checkpointing)
        if measured.get(name) is None:
            continue
        deviation = predict(case, checkpointing) / measured[name] - 1
        if abs(deviation) > ALLOWED:
            print(f"{deviation:+7.2%}  {name}")
        group = f"{case.level:5}  {case.dtype:8}  {case.resolution}  {case.mode}"
        group += "+checkpointing" if checkpointing else ""
        worst[group] = max(worst.get(group, (0.0, "")), (abs(deviation), name))
    for group, (deviation, name) in sorted(worst.items()):
        print(f"{deviation:6.2%}  {group:42}  {name}")
    return int(max(deviation for deviation, _ in worst.values()) > ALLOWED)


if __name__ == "__main__":
    raise SystemExit(main())
