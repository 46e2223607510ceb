"""The published evaluation of each model: preprocessing and top-1."""

from __future__ import annotations

import re
from fractions import Fraction

import pytest

from paca_bench.data.preprocess import IMAGENET_MEAN, IMAGENET_STD
from paca_bench.evaluate.protocol import published_preprocessing
from paca_bench.evaluate.published import published_side, published_top1
from paca_bench.models.registry import model_names

HALF = (0.5, 0.5, 0.5)
CROPS = {
    "pacavit_tiny_p2cconv_100_0": Fraction(9, 10),
    "pacavit_convmixer_base_100": Fraction(9, 10),
    "swin_tiny_patch4_window7_224": Fraction(7, 8),
    "swin_base_patch4_window12_384": None,
    "pvt_tiny": Fraction(7, 8),
    "pvt_v2_b2_li": Fraction(7, 8),
    "deit_base_patch16_224": Fraction(7, 8),
    "vit_tiny_patch16_224": Fraction(9, 10),
}


@pytest.mark.parametrize("model", CROPS)
def test_each_family_is_preprocessed_as_its_authors_do(model: str) -> None:
    own = published_preprocessing(model)
    assert own.crop == CROPS[model]
    expected = (HALF, HALF) if model.startswith("vit_") else (IMAGENET_MEAN, IMAGENET_STD)
    assert (own.mean, own.std) == expected
    assert "/" in own.source


def test_every_registered_model_has_a_published_evaluation() -> None:
    unknown = published_preprocessing("my_model")
    assert unknown.crop == Fraction(7, 8)
    assert "none is published" in unknown.source
    for name in model_names():
        assert published_preprocessing(name) is not unknown, name


def test_the_authors_figure_goes_before_that_of_others() -> None:
    top1 = published_top1("swin_tiny_patch4_window7_224", 224, {}, 1000)
    assert (top1.percent, top1.source) == (81.2, "microsoft/Swin-Transformer, README.md")
    only_timm = published_top1("vit_tiny_patch16_224", 224, {}, 1000)
    assert only_timm.percent == 75.452
    assert published_top1("pacavit_small_p2cconv_100_0", 224, {}, 1000).percent == 83.08


@pytest.mark.parametrize(
    ("model", "side", "options", "classes", "why"),
    [
        ("my_model", 224, {}, 1000, "no top-1 is published"),
        ("pacavit_convmixer_tiny_100", 224, {}, 1000, "no top-1 is published"),
        ("pvt_tiny", 256, {}, 1000, "for another size: 75.1 at 224 px"),
        ("pvt_tiny", 224, {"depths": (1, 1, 1, 1)}, 1000, r"other settings \(depths\)"),
        ("pvt_tiny", 224, {}, 10, "1000 classes, this one 10"),
    ],
)
def test_where_there_is_none_it_says_why(
    model: str, side: int, options: dict[str, object], classes: int, why: str
) -> None:
    top1 = published_top1(model, side, options, classes)
    assert top1.percent is None
    assert re.search(why, top1.why_none)


def test_the_size_that_is_published_is_the_usual_one() -> None:
    assert published_side("swin_base_patch4_window12_384") == 384
    assert published_side("pvt_tiny") == published_side("my_model") == 224
