"""Names, settings, sizes and counts of all registered architectures."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from paca_bench.complexity.cost import CostSum
from paca_bench.complexity.dispatch import count
from paca_bench.errors import PluginError, SpecError, UnsupportedError
from paca_bench.models import registry
from paca_bench.models.registry import (
    Variant,
    create_model,
    get_model,
    image_size,
    model_cost,
    model_names,
    register_model,
)

# Name -> millions of parameters and billions of multiply-accumulates at 224 x 224 as published;
# for PaCa's misprints (teacher base, block-wise) and its unpublished tiny teacher, as measured.
PUBLISHED = {
    "pacavit_tiny_p2cconv_100_0": (12.2, 3.2),
    "pacavit_small_p2cconv_100_0": (22.0, 5.5),
    "pacavit_base_p2cconv_100_0": (46.9, 9.5),
    "pacavit_small_p2cmlp_100_0": (22.6, 5.9),
    "pacavit_small_p2cconv_2_0": (22.0, 4.7),
    "pacavit_small_p2cconv_49_0": (22.0, 5.0),
    "pacavit_small_p2cconv_49_100": (22.2, 5.3),
    "pacavit_small_p2cconv_100_49": (22.2, 5.3),
    "pacavit_small_p2cconv_100": (22.25, 5.6),
    "pacavit_small_p2cconv_100_blockwise": (24.19, 6.1),
    "pacavit_convmixer_tiny_100": (12.48, 3.42),
    "pacavit_convmixer_small_100": (21.1, 5.4),
    "pacavit_convmixer_base_100": (47.66, 9.7),
    "swin_tiny_patch4_window7_224": (28.29, 4.5),
    "swin_small_patch4_window7_224": (49.61, 8.7),
    "swin_base_patch4_window7_224": (87.77, 15.4),
    "pvt_tiny": (13.2, 1.9),
    "pvt_small": (24.5, 3.8),
    "pvt_medium": (44.2, 6.7),
    "pvt_large": (61.4, 9.8),
    "pvt_v2_b0": (3.67, 0.6),
    "pvt_v2_b1": (14.0, 2.1),
    "pvt_v2_b2": (25.36, 4.0),
    "pvt_v2_b2_li": (22.55, 3.9),
    "pvt_v2_b3": (45.2, 6.9),
    "pvt_v2_b4": (62.6, 10.1),
    "pvt_v2_b5": (82.0, 11.72),
    "deit_tiny_patch16_224": (5.72, 1.26),
    "deit_small_patch16_224": (22.05, 4.6),
    "deit_base_patch16_224": (86.57, 17.6),
}
SMALL = {
    "deit_tiny_patch16_224": {"dim": 24, "depth": 2},
    "swin_tiny_patch4_window7_224": {"dim": 12, "depths": (2, 2, 1, 2)},
    "pvt_tiny": {"widths": (8, 16, 20, 32), "depths": (1, 1, 1, 1)},
    "pvt_v2_b0": {"widths": (8, 16, 20, 32), "depths": (1, 1, 1, 1)},
    "pvt_v2_b2_li": {"widths": (8, 16, 20, 32), "depths": (1, 1, 1, 1)},
    "pacavit_tiny_p2cconv_100_0": {
        "widths": (8, 16, 32, 32),
        "depths": (2, 1, 1, 1),
        "clusters": (5, 4, 3, 0),
    },
    "pacavit_convmixer_tiny_100": {
        "widths": (8, 16, 32, 32),
        "depths": (2, 1, 1, 1),
        "clusters": (5, 4, 0, 3),
        "teacher_depths": (1, 1, 2, 1),
    },
}
PYRAMIDS = [name for name in SMALL if not name.startswith("deit")]


def build_on_meta(name: str, **options: Any) -> nn.Module:
    with torch.device("meta"):
        return create_model(name, **options)


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def test_all_published_names_are_there() -> None:
    assert set(PUBLISHED) <= set(model_names())


@pytest.mark.parametrize("name", PUBLISHED)
def test_size_and_work_are_as_published(name: str) -> None:
    millions, billions = PUBLISHED[name]
    cost = model_cost(name, height=224, width=224)
    assert cost.params / 1e6 == pytest.approx(millions, abs=0.05)
    assert cost.macs / 1e9 == pytest.approx(billions, abs=0.1)


@pytest.mark.parametrize("name", model_names())
def test_closed_form_counts_every_parameter(name: str) -> None:
    model = build_on_meta(name, num_classes=10)
    assert parameters(model) == model_cost(name, height=224, width=224, num_classes=10).params


# One of each shape of graph; the others differ in numbers only.
@pytest.mark.parametrize(
    "name", [*SMALL, "pacavit_small_p2cconv_100_blockwise", "pacavit_small_p2cmlp_100_0"]
)
def test_closed_form_equals_a_count_of_operators(name: str) -> None:
    size = (230, 170)
    model = build_on_meta(name, img_size=size).eval()
    cost = model_cost(name, height=size[0], width=size[1])
    assert count(model, (1, 3, *size)).macs == cost.macs


@pytest.mark.parametrize(
    "options",
    [
        {"clustering": "linear"},
        {"clustering": "mlp", "clusters": (7, 0, 9, 4)},
        {"clusters": (0, 0, 0, 0)},
        {"blockwise": True, "clusters": (3, 5, 7, 9)},
        {"teacher_depths": (1, 1, 1, 1), "clusters": (3, 0, 7, 9), "depths": (1, 1, 1, 1)},
    ],
)
def test_free_clusters_of_any_pacavit(options: dict[str, Any]) -> None:
    name, size = "pacavit_tiny_p2cconv_100_0", (70, 100)
    model = build_on_meta(name, **options).eval()
    cost = model_cost(name, height=size[0], width=size[1], **options)
    assert parameters(model) == cost.params
    assert count(model, (1, 3, *size)).macs == cost.macs


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("size", [(64, 64), (67, 90)])
@torch.no_grad()
def test_images_become_logits(name: str, size: tuple[int, int]) -> None:
    model = create_model(name, num_classes=11, img_size=size, **SMALL[name]).eval()
    logits = model(torch.randn(2, 3, *size))
    assert logits.shape == (2, 11)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("name", PYRAMIDS)
@torch.no_grad()
def test_stage_maps_have_the_shapes_that_are_said(name: str) -> None:
    model = create_model(name, num_classes=0, **SMALL[name]).eval()
    size = (67, 90)
    maps = model.forward_features(torch.randn(2, 3, *size))
    stages = get_model(name).stages(height=size[0], width=size[1], **SMALL[name])
    assert [tuple(m.shape) for m in maps] == [(2, dim, *grid) for grid, dim in stages]
    assert model(torch.randn(1, 3, *size)).shape == (1, stages[-1][1])


@torch.no_grad()
def test_pvt_without_a_class_token_classifies_the_mean_token() -> None:
    model = create_model("pvt_tiny", class_token=False, num_classes=5, **SMALL["pvt_tiny"]).eval()
    images = torch.randn(2, 3, 64, 96)
    expected = model.head(model.forward_features(images)[-1].mean(dim=(2, 3)))
    assert torch.equal(model(images), expected)


@pytest.mark.parametrize("name", SMALL)
def test_every_parameter_learns(name: str) -> None:
    model = create_model(name, num_classes=5, img_size=64, **SMALL[name])
    model(torch.randn(2, 3, 64, 64)).square().sum().backward()
    without = [key for key, p in model.named_parameters() if p.grad is None]
    assert without == []


@pytest.mark.parametrize("name", ["pvt_tiny", "pvt_v2_b0", "pvt_v2_b2", "deit_tiny_patch16_224"])
def test_too_small_an_image_says_which_sizes_work(name: str) -> None:
    least = {"pvt_tiny": 32, "deit_tiny_patch16_224": 16}.get(name, 29)
    build_on_meta(name, img_size=least)
    for attempt in (
        lambda: build_on_meta(name, img_size=(least, least - 1)),
        lambda: model_cost(name, height=least - 1, width=least),
    ):
        with pytest.raises(UnsupportedError, match=f"at least {least}x{least} pixels"):
            attempt()


def test_pvt_refuses_a_small_image_at_run_time_too() -> None:
    model = create_model("pvt_tiny", **SMALL["pvt_tiny"])
    with pytest.raises(UnsupportedError, match="at least 32x32"):
        model(torch.zeros(1, 3, 32, 31))


def test_deit_refuses_another_size_and_says_how_to_get_it() -> None:
    model = create_model("deit_tiny_patch16_224", **SMALL["deit_tiny_patch16_224"])
    with pytest.raises(SpecError, match=r"224x224 images.*img_size=\(256, 192\)"):
        model(torch.zeros(1, 3, 256, 192))


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("shape", [(1, 1, 224, 224), (3, 224, 224)])
def test_images_must_be_images(name: str, shape: tuple[int, ...]) -> None:
    model = build_on_meta(name, **SMALL[name])
    with pytest.raises(SpecError, match=r"expected \[B, 3, H, W\]"):
        model(torch.zeros(shape, device="meta"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "pvt_tny"}, "nearest names are pvt_tiny"),
        ({"name": "nothing like it at all"}, "nearest names are deit_base"),
        ({"name": "pvt_tiny", "clusters": 3}, "no option 'clusters'"),
        ({"name": "pvt_tiny", "num_classes": -1}, "num_classes must be an integer"),
        ({"name": "pvt_tiny", "img_size": (224, 224, 3)}, "a side or"),
        ({"name": "pvt_tiny", "img_size": (224, 0)}, "image width must be"),
        ({"name": "pvt_tiny", "img_size": 2.5}, "image height must be"),
        ({"name": "pacavit_small_p2cconv_100", "clusters": (1, 2)}, "one per stage"),
        ({"name": "pacavit_small_p2cconv_100", "clusters": 100}, "one per stage"),
        ({"name": "pacavit_small_p2cconv_100", "clusters": (1, 2, -3, 4)}, "each of clusters"),
        ({"name": "pacavit_small_p2cconv_100", "clustering": "kmeans"}, "unknown clustering"),
        ({"name": "pacavit_small_p2cconv_100", "blockwise": "no"}, "True or False"),
        ({"name": "pacavit_convmixer_tiny_100", "teacher_depths": (1, 2)}, "one per stage"),
        ({"name": "pacavit_small_p2cconv_100", "teacher_depths": (1, 2)}, "one number per stage"),
        ({"name": "deit_tiny_patch16_224", "num_heads": 5}, "does not divide dim 192"),
        ({"name": "deit_tiny_patch16_224", "depth": 0}, "depth must be an integer"),
    ],
)
def test_a_mistake_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        build_on_meta(**arguments)


def test_image_size_is_a_side_or_a_pair() -> None:
    assert image_size(224) == image_size([224, 224]) == (224, 224)
    assert image_size((256, 192)) == (256, 192)


class OneLinear(nn.Module):
    """The least architecture: a linear map of the mean colour."""

    def __init__(self, *, num_classes: int, img_size: tuple[int, int], scale: int = 1) -> None:
        super().__init__()
        self.head = nn.Linear(3, num_classes)
        self.scale = scale

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        return self.scale * self.head(images.mean(dim=(2, 3)))


def one_linear_cost(*, num_classes: int) -> CostSum:
    from paca_bench.models.parts import head_cost

    return CostSum.of([("head", head_cost(3, num_classes))])


@pytest.fixture
def _restored(monkeypatch: pytest.MonkeyPatch) -> None:
    registry.models()
    monkeypatch.setattr(registry, "_models", dict(registry._models))


class NeedsScale(OneLinear):
    """One that every row must give a scale."""

    def __init__(self, *, num_classes: int, img_size: tuple[int, int], scale: int) -> None:
        super().__init__(num_classes=num_classes, img_size=img_size, scale=scale)


def add(*variants: Variant, module: type[nn.Module] = OneLinear, **changes: Any) -> None:
    options = {"title": "t", "source": "s", "cost": one_linear_cost, **changes}
    register_model(*variants, **options)(module)


@pytest.mark.usefixtures("_restored")
def test_a_users_architecture_is_a_class_and_rows() -> None:
    add(Variant("mine"), Variant("mine_doubled", scale=2))
    assert {"mine", "mine_doubled"} <= set(model_names())
    assert create_model("mine_doubled").scale == 2
    assert create_model("mine_doubled", scale=3).scale == 3
    assert model_cost("mine", height=8, width=8, num_classes=4).macs == 12
    with pytest.raises(SpecError, match="mine has no stage maps"):
        get_model("mine").stages(height=8, width=8)


@pytest.mark.usefixtures("_restored")
@pytest.mark.parametrize(
    ("variant", "changes", "message"),
    [
        (Variant("Mine"), {}, "not allowed"),
        (Variant("pvt_tiny"), {}, "already registered by paca_bench.models.pvt"),
        (Variant("mine", depth=3), {}, "depth is not among"),
        (Variant("mine"), {"module": NeedsScale}, "does not set scale"),
        (Variant("mine"), {"cost": model_cost}, "name, options is not among"),
        (Variant("mine"), {"stages": lambda *, depth: []}, "depth is not among"),
        (Variant("mine"), {"dense_settings": {"dense": 1}}, "dense is not among"),
    ],
)
def test_an_unusable_architecture_is_refused_whole(
    variant: Variant, changes: dict[str, Any], message: str
) -> None:
    before = model_names()
    with pytest.raises(PluginError, match=message):
        add(Variant("fine"), variant, **changes)
    assert model_names() == before


def test_parts_of_a_cost_are_labelled_by_stage() -> None:
    cost = model_cost("pacavit_convmixer_tiny_100", height=224, width=224)
    expected = {f"stage{i}.attention.products" for i in (1, 2, 3, 4)}
    expected |= {"stem.convolution1", "teacher.stage1.blur.depthwise", "head.linear"}
    assert expected <= set(cost.terms)
    assert cost.terms["head.linear"] == 384 * 1000
