from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from paca_bench.data.images import SUFFIXES, read_square, read_upright, to_rgb


def pixel(image: Image.Image) -> list[int]:
    return np.asarray(to_rgb(image))[0, 0].tolist()


def test_transparent_parts_are_white_whatever_colour_hides_there() -> None:
    assert pixel(Image.new("RGBA", (2, 2), (255, 0, 0, 0))) == [255, 255, 255]
    assert pixel(Image.new("RGBA", (2, 2), (255, 0, 0, 255))) == [255, 0, 0]
    assert pixel(Image.new("LA", (2, 2), (0, 0))) == [255, 255, 255]
    assert pixel(Image.new("LA", (2, 2), (90, 255))) == [90, 90, 90]


def test_palette_is_looked_up(tmp_path: Path) -> None:
    image = Image.new("RGB", (4, 4), (10, 200, 30)).quantize(2)
    assert image.mode == "P"
    assert pixel(image) == [10, 200, 30]


def test_palette_with_a_transparent_colour(tmp_path: Path) -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 10, 200, 30])
    path = tmp_path / "palette.png"
    image.save(path, transparency=1)
    assert read_square(path, 2)[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize(("value", "expected"), [(0, 0), (257 * 90, 90), (65535, 255)])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bit_grey_is_scaled_not_clipped(
    tmp_path: Path, value: int, expected: int, suffix: str
) -> None:
    path = tmp_path / f"deep.{suffix}"
    Image.fromarray(np.full((3, 3), value, dtype=np.uint16)).save(path)
    assert read_square(path, 2)[0, 0].tolist() == [expected] * 3


def test_cmyk_black_and_bilevel() -> None:
    assert pixel(Image.new("CMYK", (2, 2), (0, 0, 0, 255))) == [0, 0, 0]
    assert pixel(Image.new("1", (2, 2), 1)) == [255, 255, 255]


def test_float_pixels_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "float.tif"
    Image.fromarray(np.zeros((2, 2), dtype=np.float32)).save(path)
    with pytest.raises(OSError, match="floating-point"):
        read_upright(path)


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_every_format_is_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"image{suffix}"
    Image.new("RGB", (9, 7), (200, 100, 50)).save(path)
    np.testing.assert_allclose(read_square(path, 4)[2, 2], [200, 100, 50], atol=4)


@pytest.mark.parametrize("size", [(30, 10), (10, 30)])
def test_the_centre_is_kept_and_its_proportions(tmp_path: Path, size: tuple[int, int]) -> None:
    image = Image.new("RGB", size, "red")
    image.paste("blue", ((size[0] - 10) // 2, (size[1] - 10) // 2, *((s + 10) // 2 for s in size)))
    path = tmp_path / "wide.png"
    image.save(path)
    # The outermost pixels may mix with what was cut off, as they do in resizing the whole.
    assert (read_square(path, 5)[1:-1, 1:-1] == [0, 0, 255]).all()


def test_shrinking_averages(tmp_path: Path) -> None:
    """A fine checkerboard becomes grey; without antialiasing it would stay black and white."""
    board = np.indices((64, 64)).sum(0) % 2 * 255
    path = tmp_path / "board.png"
    Image.fromarray(board.astype(np.uint8)).save(path)
    np.testing.assert_allclose(read_square(path, 8), 127.5, atol=12)


def test_exif_orientation_is_followed(tmp_path: Path) -> None:
    image = Image.new("RGB", (8, 8), "black")
    image.paste("white", (0, 0, 8, 4))
    exif = Image.Exif()
    exif[0x0112] = 3
    path = tmp_path / "turned.png"
    image.save(path, exif=exif)
    square = read_square(path, 8)
    assert square[0, 0].tolist() == [0, 0, 0]
    assert square[7, 7].tolist() == [255, 255, 255]


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n" + bytes(20)])
def test_why_a_file_cannot_be_read(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.png"
    path.write_bytes(content)
    with pytest.raises(OSError, match=r"."):
        read_upright(path)


def test_a_truncated_photo_is_unreadable_although_it_opens(tmp_path: Path) -> None:
    path = tmp_path / "cut.jpg"
    Image.effect_noise((64, 64), 80).save(path)
    path.write_bytes(path.read_bytes()[:-500])
    Image.open(path).close()
    with pytest.raises(OSError, match="truncated"):
        read_upright(path)
