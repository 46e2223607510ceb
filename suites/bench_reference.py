"""Our mechanisms and models beside plain transcriptions and Hugging Face transformers.

    python -m suites.bench_reference                       all rows, from the repository's root
    python -m suites.bench_reference --only paca --rounds 10

The same weights and images in one process, a call of each in turns, in a new order every round.
Printed is the median over rounds of our time over the other's within the round, with its interval,
and what it is to be at most. Exits with 1 where one is above that. float32, the system's
allocator, no gradients in forward; the other side has fused attention where it can.
"""

from __future__ import annotations

import argparse
import gc
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from paca_bench.analyse.statistics import latency_estimate
from paca_bench.attention.paca import PatchToClusterAttention
from paca_bench.attention.registry import create_attention
from paca_bench.measure.memory import cpu_peak
from paca_bench.models.registry import create_model

Call = Callable[[], object]

DIM, HEADS, CLUSTERS, LAYER_BATCH = 96, 2, 100, 8


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        name: what is compared with what.
        bar: our time over the other's, at most.
        make: both calls, ours first.
        is_memory: peak memory is compared, not time.
    """

    name: str
    bar: float
    make: Callable[[], tuple[Call, Call]]
    is_memory: bool = False


def rows() -> Iterator[Row]:
    """All comparisons, with the bars of this project."""
    for side, forward, train in ((56, 1 / 1.35, 1 / 1.6), (128, 1 / 2.2, 1 / 1.7)):
        for mode, bar in (("forward", forward), ("train", train)):
            yield Row(f"paca layer {side}x{side} {mode}", bar, lambda s=side, m=mode: layers(s, m))
    yield Row("paca layer 128x128 forward memory", 0.5, lambda: layers(128, "forward"), True)
    for side, bar in ((224, 1 / 1.4), (512, 1 / 1.8)):
        yield Row(f"paca model {side} batch 8", bar, lambda s=side: pacas(s))
    for side, bar in ((224, 1.0), (512, 0.85)):
        for batch in (1, 8):
            yield Row(f"swin {side} batch {batch}", bar, lambda s=side, b=batch: swins(s, b))
    for side, batch, bar in ((224, 1, 0.75), (512, 1, 0.65), (224, 8, 0.97), (512, 8, 0.97)):
        yield Row(f"pvt_v2 {side} batch {batch}", bar, lambda s=side, b=batch: pvts(s, b))
    for batch in (1, 8):
        yield Row(f"deit 224 batch {batch}", 1.0, lambda b=batch: deits(224, b))


def layers(side: int, mode: str) -> tuple[Call, Call]:
    """The PaCa layer and its transcription on ``side`` squared tokens."""
    from tests.attention.transcription import TranscribedPaca

    grid = (side, side)
    ours = create_attention("paca", dim=DIM, num_heads=HEADS, grid=grid, num_clusters=CLUSTERS)
    assert isinstance(ours, PatchToClusterAttention)
    theirs = TranscribedPaca(ours)
    x = torch.randn(LAYER_BATCH, side * side, DIM)

    def call(module: nn.Module) -> Call:
        if mode == "forward":
            return no_grad(lambda: module(x, grid))
        leaf, gradient = x.clone().requires_grad_(), torch.randn_like(x)

        def train() -> None:
            module.zero_grad()
            leaf.grad = None
            module(leaf, grid).backward(gradient)

        return train

    return call(ours), call(theirs)


def no_grad(call: Call) -> Call:
    """``call`` without gradients."""

    def within() -> object:
        with torch.no_grad():
            return call()

    return within


def forward_of(ours: nn.Module, theirs: Callable[[Tensor], object], x: Tensor) -> tuple[Call, Call]:
    ours.eval()
    return no_grad(lambda: ours(x)), no_grad(lambda: theirs(x))


def pacas(side: int) -> tuple[Call, Call]:
    """The tiny PaCa-ViT and itself on transcribed layers."""
    from tests.attention.transcription import transcribe

    ours, theirs = (create_model("pacavit_tiny_p2cconv_100_0", img_size=side) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    transcribe(theirs)
    return forward_of(ours, theirs.eval(), torch.randn(8, 3, side, side))


def swins(side: int, batch: int) -> tuple[Call, Call]:
    """Swin tiny."""
    from transformers import SwinConfig, SwinForImageClassification

    config = SwinConfig(image_size=side, num_labels=1000, _attn_implementation="sdpa")
    ours = create_model("swin_tiny_patch4_window7_224", img_size=side)
    theirs = SwinForImageClassification(config).eval()
    return forward_of(ours, lambda x: theirs(x).logits, torch.randn(batch, 3, side, side))


def pvts(side: int, batch: int) -> tuple[Call, Call]:
    """PVT v2 b2; transformers' own attention, as it has no fused one."""
    from transformers import PvtV2Config, PvtV2ForImageClassification

    config = PvtV2Config(image_size=side, depths=[3, 4, 6, 3], num_labels=1000)
    config.hidden_sizes = [64, 128, 320, 512]
    ours = create_model("pvt_v2_b2", img_size=side)
    theirs = PvtV2ForImageClassification(config).eval()
    return forward_of(ours, lambda x: theirs(x).logits, torch.randn(batch, 3, side, side))


def deits(side: int, batch: int) -> tuple[Call, Call]:
    """DeiT tiny."""
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        image_size=side,
        hidden_size=192,
        num_attention_heads=3,
        intermediate_size=768,
        num_labels=1000,
        attn_implementation="sdpa",
    )
    ours = create_model("deit_tiny_patch16_224", img_size=side)
    theirs = ViTForImageClassification(config).eval()
    return forward_of(ours, lambda x: theirs(x).logits, torch.randn(batch, 3, side, side))


def times(calls: tuple[Call, Call], rounds: int, rng: random.Random) -> list[list[float]]:
    """Seconds of each call in each round, after two rounds that do not count."""
    taken: list[list[float]] = [[], []]
    for number in range(rounds + 2):
        for index in rng.sample((0, 1), 2):
            start = time.perf_counter()
            calls[index]()
            seconds = time.perf_counter() - start
            if number >= 2:
                taken[index].append(seconds)
    return taken


def main() -> None:
    """Compare on this machine."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default="", help="rows whose name has this")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--noise", type=float, default=0.05, help="allowed above each bar")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(given.seed)
    rng = random.Random(given.seed)
    missed = 0
    for row in rows():
        if given.only not in row.name:
            continue
        calls = row.make()
        if row.is_memory:
            ours, theirs = (cpu_peak(call) for call in calls)
            value, text = ours / theirs, f"{ours / 2**20:.0f} of {theirs / 2**20:.0f} MiB"
        else:
            taken = times(calls, given.rounds, rng)
            ratio = latency_estimate([[a / b for a, b in zip(*taken, strict=True)]])
            value, text = ratio.value, f"[{ratio.low:.3f}, {ratio.high:.3f}]"
        is_over = value > row.bar * (1 if row.is_memory else 1 + given.noise)
        missed += is_over
        verdict = "ABOVE" if is_over else "within"
        print(f"{row.name}: {value:.3f} {text}, {verdict} {row.bar:.3f}", flush=True)
        del calls
        gc.collect()
    sys.exit(int(missed > 0))


if __name__ == "__main__":
    main()
