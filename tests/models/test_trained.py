"""A checkpoint with its classes, at its own image size and at others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import interpolate

from paca_bench.errors import CheckpointError
from paca_bench.models.registry import create_model
from paca_bench.models.trained import read_trained

PVT: dict[str, Any] = {"widths": (8, 16, 20, 32), "depths": (1, 1, 1, 1)}
DEIT: dict[str, Any] = {"dim": 12, "depth": 1}
SWIN: dict[str, Any] = {"dim": 24, "depths": (2, 2, 2, 2)}


def save(path: Path, name: str, side: int, classes: int, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    model = create_model(name, num_classes=classes, img_size=side, **options)
    torch.save({"model": model.state_dict()}, path)
    return model.eval()


@pytest.mark.parametrize("classes", [1, 2, 7])
def test_the_number_of_classes_is_the_checkpoint_s(tmp_path: Path, classes: int) -> None:
    path = tmp_path / "w.pth"
    model = save(path, "pvt_v2_b0", 64, classes, **PVT)
    trained = read_trained("pvt_v2_b0", path, 64, PVT)
    assert trained.num_classes == classes
    trained.check(64)
    built, notes = trained.build(64)
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(built(images), model(images))
    assert notes == []
    assert not built.training


def test_a_position_table_is_interpolated_and_said_to_be(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    model = save(path, "deit_tiny_patch16_224", 64, 3, **DEIT)
    trained = read_trained("deit_tiny_patch16_224", path, 96, DEIT)
    trained.check(96)
    built, [note] = trained.build(96)
    assert "pos_embed was interpolated from 17 to 37 positions" in note
    table, own = built.pos_embed.detach(), model.pos_embed.detach()
    grid = own[:, 1:].unflatten(1, (4, 4)).permute(0, 3, 1, 2)
    expected = interpolate(grid, size=(6, 6), mode="bicubic", align_corners=False)
    torch.testing.assert_close(table[:, 1:], expected.permute(0, 2, 3, 1).flatten(1, 2))
    torch.testing.assert_close(table[:, :1], own[:, :1])
    assert built(torch.randn(1, 3, 96, 96)).shape == (1, 3)
    unchanged, notes = trained.build(64)
    assert notes == []
    torch.testing.assert_close(unchanged.pos_embed, model.pos_embed)


def test_a_constant_position_table_stays_constant(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    model = save(path, "deit_tiny_patch16_224", 64, 3, **DEIT)
    weights = {**model.state_dict(), "pos_embed": torch.full((1, 17, 12), 0.25)}
    torch.save(weights, path)
    built, _ = read_trained("deit_tiny_patch16_224", path, 48, DEIT).build(48)
    torch.testing.assert_close(built.pos_embed.detach(), torch.full((1, 10, 12), 0.25))


def test_swin_needs_nothing_interpolated(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    model = save(path, "swin_tiny_patch4_window7_224", 64, 3, **SWIN)
    built, notes = read_trained("swin_tiny_patch4_window7_224", path, 96, SWIN).build(96)
    assert notes == []
    images = torch.randn(1, 3, 96, 96)
    torch.testing.assert_close(built(images), model(images), atol=1e-5, rtol=1e-5)


def test_building_leaves_the_random_numbers_alone(tmp_path: Path) -> None:
    save(tmp_path / "w.pth", "pvt_v2_b0", 64, 3, **PVT)
    trained = read_trained("pvt_v2_b0", tmp_path / "w.pth", 64, PVT)
    before = torch.random.get_rng_state()
    trained.build(64)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_table_that_is_not_square_is_not_guessed_at(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    model = save(path, "deit_tiny_patch16_224", 64, 3, **DEIT)
    for positions in (0, 1, 13):
        torch.save({**model.state_dict(), "pos_embed": torch.zeros(1, positions, 12)}, path)
        with pytest.raises(CheckpointError, match="pos_embed"):
            read_trained("deit_tiny_patch16_224", path, 64, DEIT).check(64)


def test_a_backbone_has_no_classes(tmp_path: Path) -> None:
    save(tmp_path / "w.pth", "pvt_v2_b0", 64, 0, **PVT)
    with pytest.raises(CheckpointError, match=r"no classifier \(head.weight\)"):
        read_trained("pvt_v2_b0", tmp_path / "w.pth", 64, PVT)


def test_another_architecture_does_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    save(path, "pvt_v2_b0", 64, 3, **PVT)
    for name, options in (("pvt_v2_b1", {}), ("swin_tiny_patch4_window7_224", SWIN)):
        trained = read_trained(name, path, 64, options)
        for attempt in (trained.check, trained.build):
            with pytest.raises(CheckpointError, match=f"does not fit {name}: .*--option"):
                attempt(64)


def test_a_classifier_of_another_form_is_of_another_model(tmp_path: Path) -> None:
    model = save(tmp_path / "w.pth", "pvt_v2_b0", 64, 3, **PVT)
    torch.save({**model.state_dict(), "head.weight": torch.zeros(3, 4, 1, 1)}, tmp_path / "w.pth")
    trained = read_trained("pvt_v2_b0", tmp_path / "w.pth", 64, PVT)
    assert trained.num_classes == 3  # by its bias
    with pytest.raises(CheckpointError, match=r"head.weight \(3, 4, 1, 1\) for \(3, 32\)"):
        trained.check(64)
    shapeless = {"head.weight": torch.zeros(3), "head.bias": torch.zeros(())}
    torch.save(shapeless, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="of another form"):
        read_trained("pvt_v2_b0", tmp_path / "w.pth", 64, PVT)
