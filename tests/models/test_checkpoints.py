"""Checkpoints load entirely or not at all, and run nothing."""

from __future__ import annotations

import argparse
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from paca_bench.errors import CheckpointError
from paca_bench.models.checkpoints import CheckpointReport, load_checkpoint
from paca_bench.models.registry import create_model
from paca_bench.models.segmenter import create_segmenter
from tests.fill import fill

SMALL = {"widths": (8, 16, 20, 32), "depths": (1, 1, 1, 1), "num_classes": 3}


def small(name: str = "pvt_v2_b0", **options: Any) -> nn.Module:
    return create_model(name, **{**SMALL, **options})


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    model = small()
    fill(model)
    return dict(model.state_dict())


def assert_loaded(model: nn.Module, weights: dict[str, torch.Tensor]) -> None:
    for key, value in model.state_dict().items():
        assert torch.equal(value, weights[key]), key


WRAPPINGS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "bare": lambda w: w,
    "model": lambda w: {"model": w, "epoch": 3},
    "state_dict": lambda w: {"state_dict": w, "optimizer": {"lr": 0.1}},
    "averaged": lambda w: {"state_dict": {"x": torch.zeros(1)}, "state_dict_ema": w},
    "nested": lambda w: {"model": {"state_dict": w}},
    "arguments": lambda w: {"model": w, "args": argparse.Namespace(lr=0.1, data="x")},
    "parallel": lambda w: {"model": {f"module.{k}": v for k, v in w.items()}},
    "compiled": lambda w: {f"_orig_mod.module.{k}": v for k, v in w.items()},
    "backbone": lambda w: {f"backbone.{k}": v for k, v in w.items()},
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_wrapped_and_prefixed_files(
    wrapping: str, weights: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "weights.pth"
    torch.save(WRAPPINGS[wrapping](weights), path)
    for source in (path, str(path), WRAPPINGS[wrapping](weights)):
        model = small()
        assert load_checkpoint(model, source).fits
        assert_loaded(model, weights)


def test_the_older_file_format(weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(weights, path, _use_new_zipfile_serialization=False)
    model = small()
    load_checkpoint(model, path)
    assert_loaded(model, weights)


def test_safetensors(weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(weights, path)
    model = small()
    load_checkpoint(model, path)
    assert_loaded(model, weights)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(small(), path)


def test_safetensors_missing_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "safetensors.torch", None)
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="package safetensors; install it"):
        load_checkpoint(small(), path)


class Payload:
    """Writes a file when a pickle of it is read without care."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, (f"touch {self.path}",))


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle", "protocol 2"])
def test_code_in_a_pickle_does_not_run(form: str, tmp_path: Path) -> None:
    path, trace = tmp_path / "weights.pth", tmp_path / "ran"
    content = {"model": Payload(trace)}
    if form in ("zip", "legacy"):
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    else:
        protocol = 2 if form == "protocol 2" else pickle.HIGHEST_PROTOCOL
        path.write_bytes(pickle.dumps(content, protocol=protocol))
    with pytest.raises(CheckpointError, match=r"weights\.pth") as caught:
        load_checkpoint(small(), path)
    assert not trace.exists()
    assert "\n" not in str(caught.value)
    # The same file does run when read with no care: the test above can fail.
    if form == "protocol 2":
        pickle.loads(path.read_bytes())
        assert trace.exists()


def test_a_pickle_of_a_whole_model_names_the_class(tmp_path: Path) -> None:
    torch.save(small(), tmp_path / "whole.pth")
    with pytest.raises(CheckpointError, match=r"holds .*PyramidVisionTransformerV2, which could"):
        load_checkpoint(small(), tmp_path / "whole.pth")


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("kept", [0, 100, 0.5, 0.99])
def test_a_truncated_file_is_one_line(
    kept: float, legacy: bool, weights: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "weights.pth"
    torch.save(weights, path, _use_new_zipfile_serialization=not legacy)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if kept < 1 else int(kept)])
    with pytest.raises(CheckpointError, match=r"cannot read .*weights\.pth") as caught:
        load_checkpoint(small(), path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (torch.ones(3), "no state dict but Tensor"),
        ({}, "no state dict but dict"),
        ({"lr": 0.1, "epoch": 3}, "2 entries are not tensors, such as lr, epoch"),
        ({"other.weight": torch.ones(3)}, "nothing that fits"),
    ],
)
def test_a_file_without_weights(content: Any, message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(small(), tmp_path / "weights.pth", strict=False)


def test_no_file(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent.pth"):
        with pytest.raises(CheckpointError, match="no checkpoint file"):
            load_checkpoint(small(), path)


def test_another_models_checkpoint_is_named_and_copies_nothing(
    weights: dict[str, torch.Tensor],
) -> None:
    model = small("pvt_tiny")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    pattern = (
        r"missing: pos_embed1, .*\d+ unexpected: .*dwconv.*, \.\.\.; .*mis-shaped: .*\(8, 3, 7, 7\)"
    )
    with pytest.raises(CheckpointError, match=pattern):
        load_checkpoint(model, weights)
    assert_loaded(model, before)


def test_what_fits_is_loaded_if_asked(weights: dict[str, torch.Tensor]) -> None:
    model = small(num_classes=4)
    changed = {**weights, "extra": torch.ones(1)}
    del changed["norm1.bias"]
    with pytest.raises(CheckpointError, match="strict=False"):
        load_checkpoint(model, changed)
    report = load_checkpoint(model, changed, strict=False)
    assert report == CheckpointReport(
        missing=("norm1.bias",),
        unexpected=("extra",),
        misshaped=(("head.weight", (3, 32), (4, 32)), ("head.bias", (3,), (4,))),
    )
    assert not report.fits
    assert torch.equal(model.norm1.weight, weights["norm1.weight"])


def test_a_headless_backbone_takes_the_classifiers_weights(
    weights: dict[str, torch.Tensor],
) -> None:
    report = load_checkpoint(small(num_classes=0), weights, strict=False)
    assert report == CheckpointReport((), ("head.weight", "head.bias"), ())


def test_derived_buffers_may_be_of_another_size_or_absent() -> None:
    options = {"dim": 12, "depths": (2, 2, 1, 1), "num_classes": 3}
    source = create_model("swin_tiny_patch4_window7_224", **options)
    fill(source)
    state = source.state_dict()
    assert "layers.0.blocks.1.attn_mask" in state
    target = create_model("swin_tiny_patch4_window7_224", img_size=(224, 448), **options)
    mask = target.layers[0].blocks[1].attn_mask.clone()
    assert load_checkpoint(target, state).fits
    assert torch.equal(target.layers[0].blocks[1].attn_mask, mask)
    trained = {k: v for k, v in state.items() if not k.endswith(("attn_mask", "position_index"))}
    assert load_checkpoint(target, trained).fits


def test_a_segmenter_keeps_its_own_prefix() -> None:
    options = {"widths": (8, 16, 20, 32), "depths": (1, 1, 1, 1), "channels": 8}
    source = create_segmenter("pvt_v2_b0", 3, **options)
    fill(source)
    target = create_segmenter("pvt_v2_b0", 3, **options)
    wrapped = {"state_dict": {f"module.{k}": v for k, v in source.state_dict().items()}}
    assert load_checkpoint(target, wrapped).fits
    assert_loaded(target, dict(source.state_dict()))
