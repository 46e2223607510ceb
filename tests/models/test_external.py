"""Models of other libraries: the real transformers, and a stand-in for timm."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
import transformers
from torch import nn

from paca_bench.complexity.count import agreed_counts
from paca_bench.errors import SpecError, UnsupportedError
from paca_bench.models.external import build_external, check_external, is_external
from paca_bench.models.subject import build_subject, case_cost, case_macs
from paca_bench.record import Case


@pytest.fixture
def small_vit(tmp_path: Path) -> str:
    config = transformers.ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    config.save_pretrained(tmp_path)
    return f"hf:{tmp_path}"


@pytest.fixture
def fake_timm(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """``timm`` with a transformer that takes ``img_size`` and a network that does not."""
    asked: list[dict[str, object]] = []

    def create_model(name: str, **settings: object) -> nn.Module:
        if name == "convnet" and "img_size" in settings:
            raise TypeError("unexpected keyword 'img_size'")
        asked.append({"name": name, **settings})
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 7))

    timm = ModuleType("timm")
    timm.__version__ = "1.0"
    timm.create_model = create_model
    is_model: Callable[[str], bool] = ["vit", "convnet"].__contains__
    timm.is_model = is_model
    monkeypatch.setitem(sys.modules, "timm", timm)
    return asked


def case(name: str) -> Case:
    return Case(level="model", mechanism=name, host="", height=64, width=32, mode="forward")


def test_only_known_prefixes_are_external() -> None:
    assert is_external("hf:vit")
    assert is_external("timm:resnet50")
    assert not is_external("swin_tiny_patch4_window7_224")
    assert not is_external("other:vit")


def test_transformers_gives_logits_at_the_size_asked_for(small_vit: str) -> None:
    module = build_external(small_vit, num_classes=5, img_size=(64, 32)).eval()
    with torch.inference_mode():
        assert module(torch.randn(2, 3, 64, 32)).shape == (2, 5)


def test_it_is_counted_by_dispatch_alone(small_vit: str) -> None:
    # 8 patches of 16 x 16 and a class token, C = 32: patch embedding, two blocks of
    # 4NC² + 2N²C + 4NC² (the MLP's ratio is 2), and the head.
    tokens, dim = 9, 32
    block = 8 * tokens * dim**2 + 2 * tokens**2 * dim
    expected = 8 * dim * 3 * 16**2 + 2 * block + dim * 1000
    assert case_cost(case(small_vit)) is None
    assert case_macs(case(small_vit)) == expected
    assert agreed_counts(case(small_vit)).counts.macs == expected


def test_an_unknown_type_is_one_clear_error() -> None:
    with pytest.raises(SpecError, match="no model type 'nonsense'"):
        check_external("hf:nonsense")


def test_a_type_that_classifies_no_images_is_not_supported() -> None:
    with pytest.raises(UnsupportedError, match="hf:bert cannot be built"):
        build_external("hf:bert", num_classes=5, img_size=(32, 32))


@pytest.mark.parametrize("name", ["vit", "convnet"])
def test_timm_is_given_the_size_where_it_takes_one(
    fake_timm: list[dict[str, object]], name: str
) -> None:
    module = build_subject(case(f"timm:{name}"), 7)
    assert module(torch.randn(1, 3, 64, 32)).shape == (1, 7)
    size = {"img_size": (64, 32)} if name == "vit" else {}
    assert fake_timm == [{"name": name, "num_classes": 7, **size}]


@pytest.mark.usefixtures("fake_timm")
def test_timm_does_not_know_every_name() -> None:
    with pytest.raises(SpecError, match="has no model 'nope'"):
        check_external("timm:nope")


def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(SpecError, match=r"needs the package timm.*pip install timm"):
        check_external("timm:resnet50")
