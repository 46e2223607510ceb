"""The published preprocessing against an independent implementation, and by hand."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from paca_bench.data.images import read_upright
from paca_bench.data.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocessing

USUAL = Preprocessing("test")
SQUEEZED = Preprocessing("test", crop=None)


def noise(path: Path, width: int, height: int) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


# Of these sizes the cut is of whole pixels on both sides; see the test of half pixels below.
@pytest.mark.parametrize(
    ("side", "size"), [(224, (300, 200)), (224, (120, 180)), (112, (128, 128)), (384, (91, 67))]
)
def test_it_is_what_an_independent_implementation_computes(
    tmp_path: Path, side: int, size: tuple[int, int]
) -> None:
    from transformers import ConvNextImageProcessorPil

    path = noise(tmp_path / "noise.png", *size)
    # Theirs crops below 384 px, and squeezes from there on.
    processor = ConvNextImageProcessorPil(
        size={"shortest_edge": side},
        crop_pct=0.875,
        resample=Image.Resampling.BICUBIC,
        image_mean=IMAGENET_MEAN,
        image_std=IMAGENET_STD,
    )
    theirs = processor(Image.open(path), return_tensors="np")["pixel_values"][0]
    own = USUAL if side < 384 else SQUEEZED
    ours = (own.read(path, side) / 255 - own.mean) / own.std
    np.testing.assert_allclose(ours.transpose(2, 0, 1), theirs, atol=1e-5)


@pytest.mark.parametrize(
    ("crop", "side", "short"),
    [
        (Fraction(7, 8), 224, 256),
        (Fraction(7, 8), 384, 438),
        (Fraction(9, 10), 224, 248),
        (Fraction(9, 10), 384, 426),
    ],
)
def test_fractions_of_a_pixel_are_dropped(crop: Fraction, side: int, short: int) -> None:
    own = Preprocessing("test", crop=crop)
    assert own.resized(500, 333, side) == (short * 500 // 333, short)
    assert own.resized(333, 500, side) == (short, short * 500 // 333)
    assert own.resized(500, 500, side) == (short, short)
    assert str(short) in own.describe(side)


@given(side=st.integers(1, 5000))
def test_the_exact_ratio_is_what_the_official_codes_compute_in_floats(side: int) -> None:
    assert USUAL.resized(1, 1, side)[0] == int((256 / 224) * side) == int(side / 0.875)


def test_half_a_pixel_is_rounded_to_the_even_side(tmp_path: Path) -> None:
    """8 px of 9 are cut at round(0.5) = 0, 8 of 11 at round(1.5) = 2."""
    path = tmp_path / "columns.png"
    columns = np.arange(11, dtype=np.uint8) * 20
    Image.fromarray(np.broadcast_to(columns[None, :, None], (9, 11, 3)).copy()).save(path)
    own = Preprocessing("test", crop=Fraction(8, 9))
    np.testing.assert_array_equal(own.read(path, 8)[0, :, 0], columns[2:10])
    Image.fromarray(np.broadcast_to(columns[:, None, None], (11, 9, 3)).copy()).save(path)
    np.testing.assert_array_equal(own.read(path, 8)[:, 0, 0], columns[2:10])


def test_shrinking_averages_over_all_pixels(tmp_path: Path) -> None:
    board = (np.indices((256, 256)).sum(axis=0) % 2 * 255).astype(np.uint8)
    Image.fromarray(board).save(tmp_path / "board.png")
    seen = USUAL.read(tmp_path / "board.png", 28)
    assert np.ptp(seen.astype(int)) <= 2
    assert abs(float(seen.mean()) - 127.5) < 2


def test_odd_modes_and_turned_images_are_seen_as_everywhere_here(tmp_path: Path) -> None:
    hidden = Image.new("RGBA", (20, 20), (255, 0, 0, 0))
    hidden.save(tmp_path / "transparent.png")
    deep = Image.fromarray(np.full((20, 20), 90 * 257, dtype=np.uint16))
    deep.save(tmp_path / "deep.png")
    Image.new("RGB", (20, 20), (10, 200, 30)).quantize(2).save(tmp_path / "palette.png")
    turned = Image.new("RGB", (40, 20), "red")
    turned.paste("blue", (20, 0, 40, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter: left is up
    turned.save(tmp_path / "turned.png", exif=exif)
    for name, colour in {"transparent": 255, "deep": 90}.items():
        assert (USUAL.read(tmp_path / f"{name}.png", 8) == colour).all()
    assert (USUAL.read(tmp_path / "palette.png", 8) == (10, 200, 30)).all()
    upright = SQUEEZED.read(tmp_path / "turned.png", 8)
    assert (upright[0] == (255, 0, 0)).all()
    assert (upright[-1] == (0, 0, 255)).all()


def test_a_damaged_exif_block_does_not_spoil_an_image(tmp_path: Path) -> None:
    path = tmp_path / "odd.png"
    Image.new("RGB", (4, 6), "red").save(path, exif=b"Exif\0\0garbage")
    assert read_upright(path).size == (4, 6)


def test_a_thin_strip_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    noise(tmp_path / "strip.png", 1000, 2)
    with pytest.raises(OSError, match="1000x2 pixels"):
        USUAL.read(tmp_path / "strip.png", 224)


def test_normalisation_in_words() -> None:
    assert USUAL.normalisation == "mean 0.485, 0.456, 0.406, std 0.229, 0.224, 0.225"
    half = Preprocessing("test", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    assert half.normalisation == "mean 0.5, std 0.5"
