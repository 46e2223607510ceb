"""The loop alone, on a task of a few numbers and under a clock that only steps advance."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from paca_bench.measure.checkpoint_file import CheckpointFile
from paca_bench.measure.recipe import Length, Recipe
from paca_bench.measure.seeding import build_seeded, reproducible, weights_sha256
from paca_bench.measure.training import MAX_POINTS, LossCurve, Order, Training, make_optimizer
from paca_bench.record import Case
from paca_bench.train_budget import TrainBudget

RECIPE = Recipe(budget=TrainBudget("steps", 10), batch_size=4, lr=0.1)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Line:
    """A task: y = 2x + 1 from 20 points with noise, each step of which takes a second."""

    num_train = 20

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.seen: list[Tensor] = []

    def loss(self, model: nn.Module, chosen: Tensor, draw: torch.Generator) -> Tensor:
        self.clock.now += 1.0
        self.seen.append(chosen)
        x = chosen[:, None] / 10 + 0.01 * torch.randn(len(chosen), 1, generator=draw)
        return ((model(x) - 2 * x - 1) ** 2).mean()


TEN_STEPS = Length(steps=10)


def make_training(
    length: Length = TEN_STEPS, task: Line | None = None, seed: int = 0, **changes: Any
) -> Training:
    torch.manual_seed(7)
    model = nn.Sequential(nn.Linear(1, 4), nn.Dropout(0.5), nn.Linear(4, 1))
    task = task or Line()
    recipe = replace(RECIPE, **changes)
    return Training(model, task, recipe, length, seed, clock=task.clock)


def finished(training: Training, keeper: CheckpointFile | None = None) -> str:
    with reproducible(torch.device("cpu")):
        training.run(keeper)
    return weights_sha256(training.model)


def test_what_the_model_draws_itself_depends_on_seed_and_step_alone() -> None:
    assert finished(make_training()) == finished(make_training())
    assert finished(make_training()) != finished(make_training(seed=1))


@pytest.mark.parametrize("step", [1, 4, 9])
def test_gone_on_with_it_ends_the_same_in_every_part(tmp_path: Path, step: int) -> None:
    whole = make_training()
    expected = finished(whole)
    keeper = CheckpointFile(tmp_path / "state.pt", {"seed": "0"}, every_steps=1)
    first = make_training()
    with reproducible(torch.device("cpu")), pytest.raises(KeyboardInterrupt):
        first.run(keeper, lambda done: stop(done == step))
    again = make_training()
    keeper = CheckpointFile(tmp_path / "state.pt", {"seed": "0"}, every_steps=1)
    assert finished(again, keeper) == expected
    assert again.losses.points == whole.losses.points
    assert (again.steps, again.seconds) == (whole.steps, whole.seconds)
    assert keeper.notes == [f"gone on with after step {step}"]


def stop(now: bool) -> None:
    if now:
        raise KeyboardInterrupt


# ---- the schedule


def rates(training: Training) -> list[float]:
    found: list[float] = []
    step = training.optimizer.step

    def seen() -> None:
        found.append(training.optimizer.param_groups[0]["lr"])
        step()

    training.optimizer.step = seen
    finished(training)
    return found


@pytest.mark.parametrize("length", [Length(steps=40), Length(seconds=40.0)])
def test_the_rate_goes_to_zero_by_steps_and_by_time_alike(length: Length) -> None:
    found = rates(make_training(length))
    assert len(found) == 40
    assert max(found) > 0.99 * RECIPE.lr
    assert found[-1] < 0.01 * RECIPE.lr


def test_a_time_that_was_spent_before_is_not_spent_again(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    task = Line()
    first = make_training(Length(seconds=10.0), task)
    with reproducible(torch.device("cpu")), pytest.raises(KeyboardInterrupt):
        first.run(CheckpointFile(path, {}, every_steps=1), lambda done: stop(done == 6))
    task.clock.now += 1000  # between the attempts
    again = make_training(Length(seconds=10.0), task)
    finished(again, CheckpointFile(path, {}, every_steps=1))
    assert (again.steps, again.seconds) == (10, 10.0)


def test_a_loss_that_is_not_finite_ends_it_without_an_update() -> None:
    training = make_training()
    before = weights_sha256(training.model)
    training._task.loss = lambda model, chosen, draw: model(chosen[:, None] / 0).sum()
    assert finished(training) == before
    assert training.diverged
    assert (training.steps, training.losses.points) == (0, ())


# ---- the order of the data


@given(
    st.integers(1, 30),
    st.integers(1, 12),
    st.integers(0, 5),
    st.lists(st.integers(0, 20), max_size=5),
)
def test_the_order_is_whole_passes_whatever_was_asked_for_before(
    num_train: int, batch: int, seed: int, asked: list[int]
) -> None:
    order = Order(num_train, batch, seed)
    for step in asked:
        assert order(step).shape == (batch,)
    taken = torch.cat([order(step) for step in range(num_train)])
    passes = taken.view(batch, num_train)
    assert all(one.sort().values.tolist() == list(range(num_train)) for one in passes)


def test_passes_and_seeds_differ() -> None:
    first, second = Order(30, 30, 0)(0), Order(30, 30, 0)(1)
    assert not torch.equal(first, second)
    assert not torch.equal(first, Order(30, 30, 1)(0))


def test_every_model_sees_the_same_batches() -> None:
    tasks = Line(), Line()
    finished(make_training(task=tasks[0]))
    finished(make_training(task=tasks[1], lr=0.01))
    assert all(torch.equal(a, b) for a, b in zip(tasks[0].seen, tasks[1].seen, strict=True))


# ---- the curve of losses


@given(st.integers(1, 3000))
def test_a_curve_is_bounded_and_its_points_are_means_of_equal_windows(count: int) -> None:
    curve = LossCurve()
    for value in range(count):
        curve.add(float(value))
    points, window = curve.points, curve.window
    assert len(points) == -(-count // window) <= MAX_POINTS
    assert window == 1 or len(points) >= MAX_POINTS // 2
    for number, point in enumerate(points):
        first, last = number * window, min((number + 1) * window, count) - 1
        assert point == pytest.approx((first + last) / 2)


@given(st.integers(0, 500), st.integers(0, 500))
def test_a_curve_goes_on_where_it_was(before: int, after: int) -> None:
    whole, first, again = LossCurve(), LossCurve(), LossCurve()
    for value in range(before):
        first.add(value / 3)
    again.load_state_dict(first.state_dict())
    for value in range(before, before + after):
        again.add(value / 3)
    for value in range(before + after):
        whole.add(value / 3)
    assert (again.points, again.window) == (whole.points, whole.window)


# ---- checkpoints and what is wrong with them


def left_at(path: Path, step: int = 4) -> None:
    keeper = CheckpointFile(path, {"seed": "0"}, every_steps=step)
    with reproducible(torch.device("cpu")), pytest.raises(KeyboardInterrupt):
        make_training().run(keeper, lambda done: stop(done == step))


def tear(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def run_code(path: Path) -> None:
    torch.save({"identity": Clock}, path)


def other_thing(path: Path) -> None:
    torch.save([1, 2, 3], path)


def other_model(path: Path) -> None:
    state = torch.load(path)
    state["model"]["0.weight"] = torch.zeros(5, 1)
    torch.save(state, path)


def lacking(path: Path) -> None:
    state = torch.load(path)
    del state["optimizer"]
    torch.save(state, path)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (tear, "cannot be read"),
        (empty, "cannot be read"),
        (run_code, "cannot be read"),
        (other_thing, "no checkpoint of a training"),
        (other_model, "of another model"),
        (lacking, "cannot be read (KeyError)"),
    ],
)
def test_a_checkpoint_that_is_no_good_is_left_out_and_said(
    tmp_path: Path, damage: Callable[[Path], None], says: str
) -> None:
    path = tmp_path / "state.pt"
    left_at(path)
    damage(path)
    keeper = CheckpointFile(path, {"seed": "0"})
    assert finished(make_training(), keeper) == finished(make_training())
    (note,) = keeper.notes
    assert says in note
    assert "began anew" in note


def test_one_of_another_torch_is_left_out(tmp_path: Path) -> None:
    left_at(tmp_path / "state.pt")
    keeper = CheckpointFile(tmp_path / "state.pt", {"seed": "0", "version of torch": "9"})
    finished(make_training(), keeper)
    assert "it is of another version of torch" in keeper.notes[0]


def test_a_full_disk_costs_the_checkpoint_and_not_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.pt"
    left_at(path)
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    keeper = CheckpointFile(path, {"seed": "0"}, every_steps=1)
    assert finished(make_training(), keeper) == finished(make_training())
    assert keeper.notes == [
        "gone on with after step 4",
        "no checkpoint could be written after step 5: No space left on device",
    ]
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["state.pt"]


def test_a_folder_that_cannot_be_made_costs_the_checkpoint_alone(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    keeper = CheckpointFile(tmp_path / "taken" / "state.pt", {}, every_steps=1)
    assert finished(make_training(), keeper) == finished(make_training())
    assert len(keeper.notes) == 1


def test_it_is_written_every_so_many_seconds(tmp_path: Path) -> None:
    clock = Clock()
    path = tmp_path / "state.pt"
    keeper = CheckpointFile(path, {}, every_s=15.0, clock=clock)
    training = make_training()
    for now, written in ((14.0, False), (15.0, True), (29.0, False), (30.5, True), (31.0, False)):
        clock.now = now
        path.unlink(missing_ok=True)
        keeper.keep(training)
        assert path.exists() is written, now


# ---- the rest


def test_the_settings_of_torch_are_as_they_were_afterwards() -> None:
    def settings() -> tuple[Any, ...]:
        return (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            torch.utils.deterministic.fill_uninitialized_memory,
            torch.backends.cudnn.benchmark,
        )

    before, state = settings(), torch.get_rng_state()

    def fail() -> None:
        torch.manual_seed(3)
        assert torch.are_deterministic_algorithms_enabled()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), reproducible(torch.device("cpu")):
        fail()
    assert settings() == before
    assert torch.equal(torch.get_rng_state(), state)


def test_what_has_no_deterministic_algorithm_is_named(recwarn: pytest.WarningsRecorder) -> None:
    import warnings

    with reproducible(torch.device("cpu")) as found:
        warnings.warn("put_ does not have a deterministic implementation, but ...", stacklevel=1)
        warnings.warn("put_ does not have a deterministic implementation, but ...", stacklevel=1)
        warnings.warn("something else", stacklevel=1)
    assert found == {"put_"}
    assert [str(w.message) for w in recwarn] == ["something else"]


def test_the_hash_of_weights_is_of_names_values_and_buffers() -> None:
    base = nn.BatchNorm1d(3)
    hashes = {weights_sha256(base)}
    assert weights_sha256(nn.BatchNorm1d(3)) in hashes
    with torch.no_grad():
        base.weight[1] += 1e-6
    hashes.add(weights_sha256(base))
    base.running_mean[0] = 1.0
    hashes.add(weights_sha256(base))
    hashes.add(weights_sha256(nn.Sequential(base)))
    hashes.add(weights_sha256(base.bfloat16()))
    assert len(hashes) == 5


def test_biases_and_norms_are_not_decayed() -> None:
    case = Case(level="host", mechanism="swin", host="nano", height=32, width=32, mode="fit")
    model = build_seeded(case, 10, seed=0)
    decayed, free = make_optimizer(model, RECIPE).param_groups
    assert decayed["weight_decay"] == RECIPE.weight_decay
    assert free["weight_decay"] == 0
    assert {p.dim() for p in free["params"]} == {1}
    assert min(p.dim() for p in decayed["params"]) == 2
    assert len(decayed["params"]) + len(free["params"]) == len(list(model.parameters()))


def test_beta2_reaches_the_optimizer() -> None:
    for group in make_optimizer(nn.Linear(2, 2), replace(RECIPE, beta2=0.5)).param_groups:
        assert group["betas"] == (0.9, 0.5)
