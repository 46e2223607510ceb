from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from paca_bench.data.dataset import ImageDataset, Split
from paca_bench.errors import SpecError, UnsupportedError
from paca_bench.measure import accuracy
from paca_bench.measure.accuracy import (
    build_seeded,
    make_optimizer,
    make_schedule,
    shift_images,
    train_and_test,
)
from paca_bench.measure.recipe import Recipe
from paca_bench.models.host import Host
from paca_bench.record import Case

MECHANISMS = (("vit", None), ("swin", None), ("pvt", None), ("pvt_linear", None), ("paca", 9))
RECIPE = Recipe(steps=3, batch_size=4, lr=1e-3, warmup_steps=1, shift=1 / 14)


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


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """The models are too small for threads to help, and on a busy machine they wait a lot."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


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
        runs.append(torch.stack(seen[: RECIPE.steps]))
    assert all(torch.equal(run, runs[0]) for run in runs)
    assert len(runs[0].flatten(1).unique(dim=0)) == RECIPE.steps


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
    recipe = Recipe(steps=30, batch_size=10, lr=1e-3, warmup_steps=3)
    done = []
    result = train_and_test(
        make_case(),
        dataset,
        recipe,
        seed=0,
        progress=lambda step, steps: done.append((step, steps)),
    )
    assert sum(result.train_loss[-5:]) < 0.3 * sum(result.train_loss[:5])
    assert result.test_accuracy == result.correct / result.num_test
    assert result.test_accuracy > 0.9
    assert result.num_test == 30
    assert not result.diverged
    assert (result.steps, result.epochs) == (30, 7.5)
    assert result.images_per_s * result.train_seconds == pytest.approx(300)
    assert done == [(step, 30) for step in range(1, 31)]


def test_the_test_is_one_pass_in_order(
    dataset: ImageDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train_and_test(make_case(), dataset, RECIPE, seed=0)
    reverse = Split(
        dataset.test.labels[::-1].copy(), lambda resolution: dataset.test.read(resolution).flip(0)
    )
    turned = train_and_test(make_case(), replace(dataset, test=reverse), RECIPE, seed=0)
    assert turned.outcomes == whole.outcomes[::-1]
    monkeypatch.setattr(accuracy, "TEST_BATCH", 7)
    assert train_and_test(make_case(), dataset, RECIPE, seed=0).outcomes == whole.outcomes


def test_divergence_is_flagged_not_scored(dataset: ImageDataset) -> None:
    recipe = Recipe(steps=20, batch_size=4, lr=1e30, clip_norm=float("inf"))
    result = train_and_test(make_case(), dataset, recipe, seed=0)
    assert result.diverged
    assert result.test_accuracy is None
    assert result.outcomes == ()
    assert result.diverged_at == result.steps == len(result.train_loss) < 20
    assert np.isfinite(result.train_loss).all()


def test_divergence_in_the_very_last_update_is_flagged(dataset: ImageDataset) -> None:
    recipe = Recipe(steps=1, batch_size=4, lr=1e38, clip_norm=float("inf"))
    result = train_and_test(make_case(), dataset, recipe, seed=0)
    assert len(result.train_loss) == 1
    assert result.diverged_at == 1
    assert result.test_accuracy is None


def test_bfloat16_trains_near_float32(dataset: ImageDataset) -> None:
    full = train_and_test(make_case(), dataset, RECIPE, seed=0)
    half = train_and_test(make_case(dtype="bfloat16"), dataset, RECIPE, seed=0)
    assert half.train_loss != full.train_loss
    np.testing.assert_allclose(half.train_loss, full.train_loss, rtol=0.05)


def test_the_schedule_is_whole_passes() -> None:
    recipe = replace(RECIPE, steps=5, batch_size=4)
    schedule = make_schedule(recipe, num_train=10, resolution=32, seed=0)
    assert schedule.order.shape == (5, 4)
    first, second = schedule.order.flatten().split(10)
    assert first.sort().values.tolist() == second.sort().values.tolist() == list(range(10))
    assert first.tolist() != second.tolist()


def test_shifts_reach_as_far_as_the_recipe_says() -> None:
    recipe = replace(RECIPE, steps=50, batch_size=20)
    shifts = make_schedule(recipe, num_train=10, resolution=56, seed=0).shifts
    assert shifts.unique().tolist() == list(range(-4, 5))
    none = make_schedule(replace(recipe, shift=0.0), num_train=10, resolution=56, seed=0).shifts
    assert none.unique().tolist() == [0]


def test_order_does_not_depend_on_the_shifts() -> None:
    with_shift, without = (
        make_schedule(replace(RECIPE, shift=shift), num_train=10, resolution=32, seed=0)
        for shift in (0.2, 0.0)
    )
    assert torch.equal(with_shift.order, without.order)


def test_shifting_moves_down_and_right_and_repeats_the_edge() -> None:
    image = torch.arange(9, dtype=torch.uint8).view(1, 1, 3, 3).expand(2, 3, 3, 3)
    down, left = shift_images(image, torch.tensor([[1, 0], [0, -1]]))
    assert down[0].tolist() == [[0, 1, 2], [0, 1, 2], [3, 4, 5]]
    assert left[2].tolist() == [[1, 2, 2], [4, 5, 5], [7, 8, 8]]


def test_biases_and_norms_are_not_decayed() -> None:
    model = build_seeded(make_case("swin"), 10, seed=0)
    decayed, free = make_optimizer(model, RECIPE).param_groups
    assert decayed["weight_decay"] == RECIPE.weight_decay
    assert free["weight_decay"] == 0
    assert {p.dim() for p in free["params"]} == {1}
    assert min(p.dim() for p in decayed["params"]) == 2
    assert len(decayed["params"]) + len(free["params"]) == len(list(model.parameters()))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"height": 48, "width": 48}, SpecError, "multiple of 32 pixels, not 48x48"),
        ({"width": 64}, SpecError, "square images of a multiple of 32 pixels, not 32x64"),
        ({"level": "layer", "stage": 1}, SpecError, "not of level 'layer'"),
        ({"dtype": "float16"}, UnsupportedError, "float16 is not offered; choose float32"),
    ],
)
def test_cases_that_cannot_be_trained(
    dataset: ImageDataset, changes: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        train_and_test(make_case(**changes), dataset, RECIPE, seed=0)
