from __future__ import annotations

import hashlib

import pytest
import torch
from torch import Tensor

from paca_bench.data.registry import check_dataset, load_dataset
from paca_bench.data.stripes import GAP, NARROWEST, WIDEST, Options
from paca_bench.errors import DataError
from paca_bench.models.geometry import get_geometry, local_reach
from paca_bench.spec import make_spec, read_suite

SIDE = 64


def load(spec: str, resolution: int = SIDE) -> tuple[Tensor, Tensor]:
    return load_dataset(spec).train.load(resolution)


def edges(images: Tensor) -> tuple[Tensor, Tensor]:
    """The colours in the middle of both stripes, of unit length: two of ``[n, 3]``."""
    inset = int(NARROWEST * images.shape[-1] / 2)
    return unit_colour(images[..., inset]), unit_colour(images[..., -1 - inset])


def unit_colour(column: Tensor) -> Tensor:
    return torch.nn.functional.normalize(column.float().mean(2))


def test_shape_balance_and_notes() -> None:
    dataset = load_dataset("stripes:n=400")
    assert dataset.classes == ("different", "equal")
    for split, count in ((dataset.train, 400), (dataset.test, 100)):
        images, labels = split.load(SIDE)
        assert images.shape == (count, 3, SIDE, SIDE)
        assert images.dtype == torch.uint8
        assert (labels.view(-1, 2).sum(1) == 1).all()
    assert any("chance is 50%" in note for note in dataset.notes)
    assert any(f"at least {GAP:.0%} of the side apart" in note for note in dataset.notes)


def test_default_is_one_thousand_and_a_quarter() -> None:
    dataset = load_dataset("stripes")
    assert (len(dataset.train), len(dataset.test)) == (1000, 250)


@pytest.mark.parametrize("colours", [2, 5])
def test_the_label_says_whether_the_colours_are_equal(colours: int) -> None:
    images, labels = load(f"stripes:n=200,colours={colours}")
    left, right = edges(images)
    assert ((left * right).sum(1) > 0.99).long().tolist() == labels.tolist()
    seen = {tuple((colour * 20).round().int().tolist()) for colour in torch.cat([left, right])}
    assert len(seen) >= colours


def test_between_the_stripes_is_no_colour() -> None:
    images, _ = load("stripes:n=40,discs=12")
    edge = int(WIDEST * SIDE) + 1
    between = images[..., edge:-edge].int()
    assert (between.amax(1) == between.amin(1)).all()
    assert between.amax() > 200
    assert load("stripes:n=40,discs=0")[0][..., edge:-edge].amax() == 0


def test_both_stripes_are_within_their_widths() -> None:
    coloured = load("stripes:n=40,discs=0", 200)[0].amax(1)[:, 100] > 60
    for side in (coloured, coloured.flip(1)):
        widths = side.int().cumprod(1).sum(1)
        assert widths.min() >= NARROWEST * 200 - 1
        assert widths.max() <= WIDEST * 200 + 1
        assert len(widths.unique()) > 3


def test_neither_stripe_alone_tells_anything() -> None:
    """Nor does any sum of what each tells alone: least squares on both colours has chance."""
    images, labels = load("stripes:n=2000", 32)
    # Orange or azure: more red or more blue.
    sides = [torch.sign(side[:, 0] - side[:, 2]) for side in edges(images)]
    features = torch.stack([*sides, torch.ones(len(labels))], 1).double()
    targets = labels.double() * 2 - 1
    fitted = features @ torch.linalg.lstsq(features, targets[:, None]).solution
    # The share of the variance; by chance alone 2 features of 2,000 images explain 0.1%.
    assert fitted.var() / targets.var() < 0.01
    product = features[:, 0] * features[:, 1]
    assert torch.equal(product, targets)


def test_the_same_picture_at_every_resolution() -> None:
    fine, fine_labels = load("stripes:n=16", 256)
    coarse, labels = load("stripes:n=16", 64)
    assert torch.equal(labels, fine_labels)
    assert (torch.nn.functional.avg_pool2d(fine.float(), 4) - coarse).abs().mean() < 2


def test_an_image_is_the_same_in_a_larger_data_set_and_in_no_other_part() -> None:
    few, more = load("stripes:n=8")[0], load("stripes:n=40")[0]
    assert torch.equal(few, more[:8])
    tests = load_dataset("stripes:n=40").test.load(SIDE)[0]
    seen = {image.numpy().tobytes() for image in more}
    assert not any(image.numpy().tobytes() in seen for image in tests)


def test_the_pixels_never_change() -> None:
    pixels = load("stripes:n=40")[0].contiguous().numpy()
    assert hashlib.sha256(pixels.tobytes()).hexdigest()[:16] == "38fc51da4b6db6d5"


def test_the_suite_asks_for_more_reach_than_the_convolutions_have() -> None:
    spec = make_spec(read_suite("long_range"))
    for sides in spec.accuracy_resolutions:
        assert local_reach(get_geometry(spec.host), 4) < GAP * min(sides)


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("easy", "no option 'easy'"),
        ("n=7", "n must be a whole number from 8 to 1,000,000, not '7'"),
        ("colours=1", "colours must be a whole number from 2 to 8"),
        ("discs=13", "discs must be a whole number from 0 to 12"),
        ("discs", "option discs has no value"),
        ("n=8,n=9", "option n is given twice"),
    ],
)
def test_wrong_options_are_named(argument: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        check_dataset(f"stripes:{argument}")


def test_options_are_read() -> None:
    assert Options.parse("discs=0,n=16,colours=3") == Options(n=16, colours=3, discs=0)
