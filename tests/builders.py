"""Made-up runs with known laws, for tests of everything behind the store. No torch."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np

from paca_bench.analyse.dense import class_ious, mean_iou, miou_estimate, pack_confusions
from paca_bench.analyse.statistics import seed_estimate
from paca_bench.record import Case, Record, Status
from paca_bench.store import RunFolder

# label -> (fixed seconds, seconds per token, seconds per token squared), host level
LAWS = {
    ("vit", None): (2e-3, 1e-6, 2.0e-10),
    ("swin", None): (3e-3, 3e-6, 0.0),
    ("pvt", None): (2e-3, 2e-6, 1.0e-11),
    ("pvt_linear", None): (2e-3, 1.8e-6, 0.0),
    ("paca", 25): (2e-3, 1.4e-6, 0.0),
    ("paca", 49): (2e-3, 1.6e-6, 0.0),
    ("paca", 100): (2e-3, 2.0e-6, 0.0),
}
RESOLUTIONS = (224, 320, 448, 576, 768, 1024)


def make_record(
    mechanism: str = "vit",
    num_clusters: int | None = None,
    *,
    level: str = "host",
    stage: int | None = None,
    resolution: int = 224,
    mode: str = "forward",
    latency_s: float | None = None,
    noise: float = 0.02,
    seed: int = 0,
    **changes: object,
) -> Record:
    """A record that follows ``LAWS``, with seeded noise; ``changes`` replace case axes."""
    rng = random.Random(f"{mechanism}{num_clusters}{level}{stage}{resolution}{mode}{seed}")
    case = Case(
        level=level,
        mechanism=mechanism,
        host="nano",
        height=resolution,
        width=resolution,
        mode=mode,
        stage=stage,
        num_clusters=num_clusters,
        **changes,
    )
    tokens = (resolution // 4) ** 2
    fixed, linear, quadratic = LAWS.get((mechanism, num_clusters), LAWS["vit", None])
    seconds = latency_s or fixed + linear * tokens + quadratic * tokens**2
    seconds *= 3.1 if mode == "train" else 1.0
    processes = []
    for _ in range(3):
        centre = seconds * (1 + rng.gauss(0, noise))
        processes.append([centre * (1 + abs(rng.gauss(0, noise))) for _ in range(12)])
    middle = sorted(sorted(p)[len(p) // 2] for p in processes)
    macs = round(seconds * 4e10)
    return Record(
        case=case,
        statuses=dict.fromkeys(("complexity", "latency", "memory"), Status.OK),
        metrics={
            "macs": macs,
            "flops": 2 * macs,
            "params": 3_000_000,
            "elementwise_ops": tokens * 1000,
            "latency_s": middle[1],
            "latency_low_s": middle[0] * 0.98,
            "latency_high_s": middle[2] * 1.02,
            "images_per_s": 1 / middle[1],
            "peak_memory_bytes": 1_000_000 + 900 * tokens + (tokens**2 if quadratic else 0),
            "predicted_peak_memory_bytes": 1_000_000 + 900 * tokens,
        },
        samples={"latency_s": processes},
        details={"tokens": tokens, "kernel_path": "flash", "latency_method": "t over 3 processes"},
        predicted={"wall_s": seconds * 40},
        wall_s=seconds * 50,
        finished_at="2026-01-01T00:00:00+00:00",
    )


def make_fit_record(
    mechanism: str, num_clusters: int | None = None, accuracy: float = 0.95, seeds: int = 3
) -> Record:
    """A record of a training at 32 pixels, accuracy spread by half a point over seeds."""
    values = [accuracy + 0.005 * (i - (seeds - 1) / 2) for i in range(seeds)]
    return Record(
        case=Case(
            level="host",
            mechanism=mechanism,
            host="nano",
            height=32,
            width=32,
            mode="fit",
            num_clusters=num_clusters,
            batch=64,
        ),
        statuses={"accuracy": Status.OK},
        metrics={
            "accuracy": accuracy,
            "accuracy_low": accuracy - 0.012,
            "accuracy_high": min(accuracy + 0.012, 1.0),
        },
        samples={"accuracy": [[value] for value in values]},
        details={
            "tokens": 64,
            "dataset": "mnist5k",
            "train_steps": 100,
            "accuracy_method": "t over 3 seeds",
        },
        predicted={"wall_s": 20.0},
        wall_s=21.0,
        finished_at="2026-01-01T00:00:00+00:00",
    )


def make_training(
    mechanism: str,
    num_clusters: int | None = None,
    *,
    logit: float = 3.0,
    seeds: int = 3,
    images: int = 400,
    seed_spread: float = 0.2,
    resolution: int = 32,
    level: str = "host",
    macs: int | None = None,
    draw: int = 0,
) -> Record:
    """A record of trainings with an outcome per seed and test image, and a loss per step.

    The images are as hard for every mechanism; how ``logit`` exceeds an image's hardness, with
    noise of the mechanism, the seed and both, decides whether the answer is right.
    """
    fit = make_fit_record(mechanism, num_clusters, seeds=seeds)
    hardness = random.Random("images")
    hard = [hardness.gauss(0, 2) for _ in range(images)]
    own = random.Random(f"{mechanism}{num_clusters}{resolution}{draw}")
    lean = [own.gauss(0, 0.5) for _ in range(images)]
    outcomes = []
    for _ in range(seeds):
        level_of_seed = logit + own.gauss(0, seed_spread)
        right = (
            level_of_seed + a + b + own.gauss(0, 0.3) > 0 for a, b in zip(hard, lean, strict=True)
        )
        outcomes.append("".join("1" if one else "0" for one in right))
    values = [text.count("1") / images for text in outcomes]
    estimate = seed_estimate(values, images)
    losses = [[2.3 * 0.97**step + 0.02 * own.random() for step in range(60)] for _ in outcomes]
    case = replace(fit.case, height=resolution, width=resolution, level=level)
    return replace(
        fit,
        case=case if level == "host" else replace(case, host=""),
        statuses={**({"complexity": Status.OK} if macs else {}), **fit.statuses},
        metrics={
            "accuracy": estimate.value,
            "accuracy_low": estimate.low,
            "accuracy_high": estimate.high,
            **({"macs": macs, "flops": 2 * macs} if macs else {}),
        },
        samples={"accuracy": [[value] for value in values]},
        details={
            **fit.details,
            "num_test": images,
            "seeds": list(range(seeds)),
            "test_outcomes": outcomes,
            "train_loss": losses,
            "accuracy_method": estimate.method,
        },
    )


def censored(
    record: Record,
    group: str = "latency",
    status: Status = Status.OVER_BUDGET,
    reason: str = "predicted 41 min, budget 10 min; raise --budget",
) -> Record:
    """``record`` with one metric group not measured."""
    prefix = {"latency": ("latency", "images_per_s"), "memory": ("peak_memory",)}[group]
    data = record.to_json()
    data["statuses"][group] = status.value
    data["reasons"][group] = reason
    data["metrics"] = {k: v for k, v in data["metrics"].items() if not k.startswith(prefix)}
    if group == "latency":
        data["samples"].pop("latency_s", None)
    return Record.from_json(data)


def make_run(path: Path, records: list[Record] | None = None) -> RunFolder:
    """A run folder with ``records``, or a whole made-up sweep."""
    run = RunFolder.create(
        path,
        {
            "paca_bench": "0.1.0",
            "spec": {"resolutions": list(RESOLUTIONS), "seed": 0, "budget_s": 600},
            "environment": {
                "cpu": "Made-up CPU",
                "cores": 2,
                "threads": 2,
                "memory_bytes": 16 * 2**30,
                "torch": "2.13.0",
                "python": "3.11.7",
                "paca_bench": "0.1.0",
            },
        },
    )
    for record in whole_sweep() if records is None else records:
        run.append(record)
    return run


def whole_sweep() -> list[Record]:
    """Host and layer (stage 1) cases of every law; ViT at 1024 in train is over budget."""
    records = []
    for mechanism, clusters in LAWS:
        for mode in ("forward", "train"):
            for resolution in RESOLUTIONS:
                record = make_record(mechanism, clusters, resolution=resolution, mode=mode)
                if (mechanism, mode, resolution) == ("vit", "train", 1024):
                    record = censored(record)
                records.append(record)
        for resolution in RESOLUTIONS:
            records.append(
                make_record(mechanism, clusters, level="layer", stage=1, resolution=resolution)
            )
        records.append(make_fit_record(mechanism, clusters, accuracy=0.93))
    return records


def make_dense_record(
    mechanism: str,
    num_clusters: int | None = None,
    *,
    head: str = "paca",
    skill: float = 0.8,
    seeds: int = 3,
    images: int = 60,
) -> Record:
    """A record of trainings of the dense task: ``skill`` of each class's pixels are hit.

    Two with the same arguments but the head said the same of every pixel.
    """
    rng = np.random.default_rng(0)
    pixels = rng.integers(50, 150, (1, images, 2))
    shares = np.clip(skill + rng.normal(0, 0.01, (seeds, 1, 1)), 0, 1)
    hits = rng.binomial(np.broadcast_to(pixels, (seeds, images, 2)), shares)
    missed = pixels - hits
    confusions = np.stack(
        [
            np.stack([hits[..., 0], missed[..., 0]], axis=-1),
            np.stack([missed[..., 1], hits[..., 1]], axis=-1),
        ],
        axis=-2,
    )
    estimate = miou_estimate(confusions)
    fit = make_fit_record(mechanism, num_clusters)
    return replace(
        fit,
        case=replace(fit.case, mode="segment", head=head),
        statuses={"complexity": Status.OK, "accuracy": Status.OK},
        metrics={
            **{"miou": estimate.value, "miou_low": estimate.low, "miou_high": estimate.high},
            **{"macs": 12_000_000, "params": 3_000_000, "train_images_per_s": 250.0},
        },
        samples={"miou": [[float(value)] for value in mean_iou(confusions.sum(axis=1))]},
        details={
            **{"tokens": 64, "dataset": "pathfinder", "seeds": list(range(seeds))},
            "mask_classes": "ground; curve",
            "class_iou": class_ious(confusions.sum(axis=1)).tolist(),
            "test_confusions": [pack_confusions(one) for one in confusions],
            "train_loss": [[1.0, 0.5, float(seed)] for seed in range(seeds)],
            "miou_method": estimate.method,
        },
    )
