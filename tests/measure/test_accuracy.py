from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from paca_bench.data.dataset import ImageDataset, Split
from paca_bench.errors import SpecError, UnsupportedError
from paca_bench.measure import classification
from paca_bench.measure.accuracy import Checkpointing, reproducibility, train_and_test
from paca_bench.measure.classification import shift_images
from paca_bench.measure.recipe import Recipe, step_macs
from paca_bench.measure.seeding import build_seeded
from paca_bench.measure.training import Training
from paca_bench.models.host import Host
from paca_bench.record import Case
from paca_bench.train_budget import TrainBudget

pytestmark = pytest.mark.usefixtures("one_thread", "no_peak")

MECHANISMS = (
    *(("vit", None), ("swin", None), ("pvt", None), ("pvt_linear", None), ("paca", 9)),
    ("identity", None),
)
STEPS = 3
PEAK_BYTES = Training.peak_bytes


def make_recipe(budget: str, **changes: object) -> Recipe:
    values = {"batch_size": 4, "lr": 1e-3, "warmup": 0.3, "shift": 1 / 14, **changes}
    return Recipe(budget=TrainBudget.parse(budget), **values)


RECIPE = make_recipe(f"steps:{STEPS}")


def make_case(mechanism: str = "vit", num_clusters: int | None = None, **changes: object) -> Case:
    axes = {"level": "host", "host": "nano", "height": 32, "width": 32, "mode": "fit"}
    return Case(**{**axes, **changes}, mechanism=mechanism, num_clusters=num_clusters)


def stripes(count: int, seed: int) -> Split:
    """Noisy stripes: class 0 lies, class 1 stands. No mean colour gives them away."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    wave = np.where(np.arange(32) // 4 % 2, 200, 60)
    lying = np.broadcast_to(wave[:, None], (32, 32))
    pictures = np.where(labels[:, None, None] == 0, lying, lying.T)
    noisy = np.clip(pictures + rng.normal(0, 40, pictures.shape), 0, 255).astype(np.uint8)
    images = torch.from_numpy(noisy)[:, None].expand(-1, 3, -1, -1)
    return Split(labels, lambda resolution: images)


@pytest.fixture(scope="module")
def dataset() -> ImageDataset:
    return ImageDataset("stripes", ("lying", "standing"), stripes(40, 0), stripes(30, 1))


@pytest.fixture
def seen() -> Iterator[list[Tensor]]:
    """Every batch that enters a host."""
    batches: list[Tensor] = []

    def keep(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if isinstance(module, Host):
            batches.append(inputs[0].clone())

    handle = nn.modules.module.register_module_forward_pre_hook(keep)
    yield batches
    handle.remove()


def test_same_seed_gives_the_same_bits(dataset: ImageDataset) -> None:
    torch.manual_seed(1)
    first = train_and_test(make_case(), dataset, RECIPE, seed=5)
    torch.manual_seed(2)
    second = train_and_test(make_case(), dataset, RECIPE, seed=5)
    assert first.train_loss == second.train_loss
    assert first.outcomes == second.outcomes
    assert first.weights_sha256 == second.weights_sha256
    assert train_and_test(make_case(), dataset, RECIPE, seed=6).train_loss != first.train_loss


def test_the_global_generator_is_left_as_it_was(dataset: ImageDataset) -> None:
    before = torch.get_rng_state()
    train_and_test(make_case(), dataset, RECIPE, seed=0)
    assert torch.equal(torch.get_rng_state(), before)


def test_every_mechanism_sees_the_same_batches(dataset: ImageDataset, seen: list[Tensor]) -> None:
    runs = []
    for mechanism, clusters in MECHANISMS:
        seen.clear()
        train_and_test(make_case(mechanism, clusters), dataset, RECIPE, seed=3)
        runs.append(torch.stack(seen[:STEPS]))
    assert all(torch.equal(run, runs[0]) for run in runs)
    assert len(runs[0].flatten(1).unique(dim=0)) == STEPS


def test_weights_outside_attention_start_equal() -> None:
    states = []
    for mechanism, clusters in MECHANISMS:
        state = build_seeded(make_case(mechanism, clusters), 10, seed=3).state_dict()
        states.append({k: v for k, v in state.items() if ".attention." not in k})
    assert "head.weight" in states[0]
    for state in states[1:]:
        assert state.keys() == states[0].keys()
        assert all(torch.equal(state[name], states[0][name]) for name in state)


def test_weights_of_equal_shape_differ_by_place_and_by_seed() -> None:
    first, second = (build_seeded(make_case(), 10, seed).state_dict() for seed in (0, 1))
    name = "stages.0.{}.mlp.fc1.weight"
    assert not torch.equal(first[name.format(0)], first[name.format(1)])
    assert not torch.equal(first[name.format(0)], second[name.format(0)])
    name = "stages.0.{}.attention.qkv.weight"
    assert not torch.equal(first[name.format(0)], first[name.format(1)])
    assert not torch.equal(first[name.format(0)], second[name.format(0)])


def test_an_easy_task_is_learned(dataset: ImageDataset) -> None:
    recipe = make_recipe("steps:30", batch_size=10, warmup=0.1, shift=0.0)
    done: list[int] = []
    result = train_and_test(make_case(), dataset, recipe, seed=0, progress=done.append)
    assert sum(result.train_loss[-5:]) < 0.3 * sum(result.train_loss[:5])
    assert result.test_accuracy == result.correct / result.num_test
    assert result.test_accuracy > 0.9
    assert result.num_test == 30
    assert not result.diverged
    assert (result.steps, result.epochs) == (30, 7.5)
    assert result.images_per_s * result.train_seconds == pytest.approx(300)
    assert done == list(range(1, 31))
    assert result.macs == 30 * step_macs(make_case(), recipe, 2)
    assert (result.loss_window, len(result.train_loss)) == (1, 30)


def test_the_test_is_one_pass_in_order(
    dataset: ImageDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train_and_test(make_case(), dataset, RECIPE, seed=0)
    reverse = Split(
        dataset.test.labels[::-1].copy(), lambda resolution: dataset.test.read(resolution).flip(0)
    )
    turned = train_and_test(make_case(), replace(dataset, test=reverse), RECIPE, seed=0)
    assert turned.outcomes == whole.outcomes[::-1]
    monkeypatch.setattr(classification, "TEST_BATCH", 7)
    assert train_and_test(make_case(), dataset, RECIPE, seed=0).outcomes == whole.outcomes


def test_divergence_is_flagged_not_scored(dataset: ImageDataset) -> None:
    recipe = make_recipe("steps:20", lr=1e30, warmup=0.0, clip_norm=float("inf"))
    result = train_and_test(make_case(), dataset, recipe, seed=0)
    assert result.diverged
    assert result.test_accuracy is None
    assert result.outcomes == ()
    assert result.diverged_at == result.steps == len(result.train_loss) < 20
    assert np.isfinite(result.train_loss).all()


def test_divergence_in_the_very_last_update_is_flagged(dataset: ImageDataset) -> None:
    recipe = make_recipe("steps:1", lr=1e38, warmup=0.0, clip_norm=float("inf"))
    result = train_and_test(make_case(), dataset, recipe, seed=0)
    assert len(result.train_loss) == 1
    assert result.diverged_at == 1
    assert result.test_accuracy is None


def test_bfloat16_trains_near_float32(dataset: ImageDataset) -> None:
    full = train_and_test(make_case(), dataset, RECIPE, seed=0)
    half = train_and_test(make_case(autocast="bfloat16"), dataset, RECIPE, seed=0)
    assert half.train_loss != full.train_loss
    np.testing.assert_allclose(half.train_loss, full.train_loss, rtol=0.05)


def test_shifting_moves_down_and_right_and_repeats_the_edge() -> None:
    image = torch.arange(9, dtype=torch.uint8).view(1, 1, 3, 3).expand(2, 3, 3, 3)
    down, left = shift_images(image, torch.tensor([[1, 0], [0, -1]]))
    assert down[0].tolist() == [[0, 1, 2], [0, 1, 2], [3, 4, 5]]
    assert left[2].tolist() == [[1, 2, 2], [4, 5, 5], [7, 8, 8]]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"height": 48, "width": 48}, SpecError, "multiple of 32 pixels, not 48x48"),
        ({"width": 64}, SpecError, "square images of a multiple of 32 pixels, not 32x64"),
        ({"level": "layer", "stage": 1}, SpecError, "not of level 'layer'"),
        ({"dtype": "float16"}, UnsupportedError, "float16 is not offered; choose float32"),
        ({"autocast": "float16"}, UnsupportedError, "float16 is not offered; choose float32"),
    ],
)
def test_cases_that_cannot_be_trained(
    dataset: ImageDataset, changes: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        train_and_test(make_case(**changes), dataset, RECIPE, seed=0)


def test_a_model_is_trained_from_its_own_initialisation(dataset: ImageDataset) -> None:
    case = make_case("deit_tiny_patch16_224", level="model", host="")
    result = train_and_test(case, dataset, make_recipe("steps:1"), seed=1)
    assert result.test_accuracy is not None
    weights = build_seeded(case, 2, seed=1).state_dict()["blocks.0.mlp.fc1.weight"]
    assert weights.std().item() == pytest.approx(0.02, rel=0.1), "as published, not as torch draws"


def test_all_threads_give_the_same_bits(dataset: ImageDataset) -> None:
    torch.set_num_threads(2)
    try:
        short = make_recipe("steps:2")
        first, second = (train_and_test(make_case("swin"), dataset, short, 5) for _ in range(2))
    finally:
        torch.set_num_threads(1)
    assert first.weights_sha256 == second.weights_sha256


def test_the_peak_of_a_step_is_measured_after_the_test_and_changes_nothing(
    dataset: ImageDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Training, "peak_bytes", PEAK_BYTES)
    measured = train_and_test(make_case(), dataset, RECIPE, seed=0)
    smaller = train_and_test(make_case(), dataset, make_recipe("steps:3", batch_size=2), seed=0)
    parameters = sum(p.numel() for p in build_seeded(make_case(), 2, 0).parameters())
    assert measured.peak_memory_bytes is not None
    assert smaller.peak_memory_bytes is not None
    assert measured.peak_memory_bytes > smaller.peak_memory_bytes > 4 * parameters

    def absent(self: object) -> int:
        raise UnsupportedError("no events")

    monkeypatch.setattr(Training, "peak_bytes", absent)
    without = train_and_test(make_case(), dataset, RECIPE, seed=0)
    assert (without.peak_memory_bytes, without.notes) == (None, ("no events",))
    assert without.weights_sha256 == measured.weights_sha256


def test_equal_compute_is_more_steps_without_attention(dataset: ImageDataset) -> None:
    recipe = make_recipe("macs:6e8")
    results = {name: train_and_test(make_case(name), dataset, recipe, 0) for name in
               ("vit", "identity")}  # fmt: skip
    assert results["identity"].steps > results["vit"].steps > 1
    for result in results.values():
        assert 0.5 * 6e8 < result.macs <= 6e8


def test_a_time_is_spent_and_its_rate_goes_to_zero(dataset: ImageDataset) -> None:
    recipe = make_recipe("time:0.05s")
    result = train_and_test(make_case("identity"), dataset, recipe, seed=0)
    assert result.steps >= 1
    assert result.train_seconds >= 0.05
    assert "as many steps as the machine makes" in reproducibility(make_case(), recipe, ())
    assert "to the bit" in reproducibility(make_case(), RECIPE, ())
    assert "roll has no" in reproducibility(make_case(), RECIPE, ("roll",))


# ---- killed and gone on with


class Stopped(Exception):
    """Stands for whatever ends a training's process in good order."""


def stop_at(step: int) -> Callable[[int], None]:
    def progress(done: int) -> None:
        if done == step:
            raise Stopped

    return progress


def kill_at(step: int) -> Callable[[int], None]:
    def progress(done: int) -> None:
        if done == step:
            os.kill(os.getpid(), signal.SIGKILL)

    return progress


@pytest.mark.parametrize(("mechanism", "clusters"), MECHANISMS)
def test_stopped_and_gone_on_with_ends_with_the_same_bits(
    dataset: ImageDataset, tmp_path: Path, mechanism: str, clusters: int | None
) -> None:
    case, recipe = make_case(mechanism, clusters), make_recipe("steps:5", batch_size=2)
    whole = train_and_test(case, dataset, recipe, seed=4)
    kept = Checkpointing(path=tmp_path / "new" / "state.pt", every_steps=2)
    for step in (3, 4):
        with pytest.raises(Stopped):
            train_and_test(case, dataset, recipe, 4, stop_at(step), checkpointing=kept)
    torch.manual_seed(99)
    result = train_and_test(case, dataset, recipe, seed=4, checkpointing=kept)
    assert result.weights_sha256 == whole.weights_sha256
    assert (result.train_loss, result.outcomes) == (whole.train_loss, whole.outcomes)
    assert result.notes == ("gone on with after step 4",)
    assert result.steps == 5


def test_killed_in_a_process_of_its_own_and_gone_on_with_here(
    dataset: ImageDataset, tmp_path: Path
) -> None:
    recipe = make_recipe("steps:5")
    whole = train_and_test(make_case(), dataset, recipe, seed=2)
    kept = Checkpointing(path=tmp_path / "state.pt", every_steps=1)
    child = os.fork()
    if child == 0:
        try:
            train_and_test(make_case(), dataset, recipe, 2, kill_at(3), checkpointing=kept)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    result = train_and_test(make_case(), dataset, recipe, seed=2, checkpointing=kept)
    assert result.notes == ("gone on with after step 3",)
    assert result.weights_sha256 == whole.weights_sha256


@pytest.mark.parametrize(
    ("seed", "recipe", "mechanism", "says"),
    [
        (3, "steps:2", "vit", "of another seed"),
        (4, "steps:3", "vit", "of another recipe"),
        (4, "steps:2", "pvt", "of another case"),
    ],
)
def test_anothers_checkpoint_is_left_out(
    dataset: ImageDataset, tmp_path: Path, seed: int, recipe: str, mechanism: str, says: str
) -> None:
    kept = Checkpointing(path=tmp_path / "state.pt", every_steps=2)
    train_and_test(make_case(mechanism), dataset, make_recipe(recipe), seed, checkpointing=kept)
    mine = make_recipe("steps:2")
    result = train_and_test(make_case(), dataset, mine, seed=4, checkpointing=kept)
    assert result.weights_sha256 == train_and_test(make_case(), dataset, mine, 4).weights_sha256
    (note,) = result.notes
    assert says in note


def test_a_checkpoint_on_other_images_is_left_out(dataset: ImageDataset, tmp_path: Path) -> None:
    kept = Checkpointing(path=tmp_path / "state.pt", every_steps=2)
    other = replace(dataset, train=stripes(40, 7))
    train_and_test(make_case(), other, RECIPE, seed=4, checkpointing=kept)
    (note,) = train_and_test(make_case(), dataset, RECIPE, 4, checkpointing=kept).notes
    assert "of another data set" in note
