"""Every mode that Pillow reads is converted as it is meant, or refused by name."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from se_nas.errors import InputError
from se_nas.evaluate.data import load_data
from se_nas.evaluate.images import read_image


def pixel(path: Path, channels: int = 1) -> object:
    return read_image(str(path), channels).getpixel((0, 0))


@pytest.mark.parametrize("ending", ["png", "tif", "pgm"])
@pytest.mark.parametrize(("value", "expected"), [(0, 0), (128, 0), (129, 1), (10_000, 39), (40_000, 156), (65_535, 255)])
def test_sixteen_bits_become_eight(tmp_path: Path, ending: str, value: int, expected: int) -> None:
    path, values = tmp_path / f"a.{ending}", np.full((4, 4), value, np.uint16)
    if ending == "pgm":
        path.write_bytes(b"P5 4 4 65535\n" + values.astype(">u2").tobytes())
    else:
        Image.fromarray(values).save(path)
    assert pixel(path) == expected and pixel(path, 3) == (expected,) * 3


@pytest.mark.parametrize(("alpha", "expected"), [(255, (200, 10, 30)), (0, (255, 255, 255)), (128, (227, 132, 142))])
def test_what_is_transparent_lies_over_white(tmp_path: Path, alpha: int, expected: tuple[int, ...]) -> None:
    Image.new("RGBA", (4, 4), (200, 10, 30, alpha)).save(tmp_path / "a.png")
    assert pixel(tmp_path / "a.png", 3) == expected
    Image.new("LA", (4, 4), (0, alpha)).save(tmp_path / "b.png")
    assert pixel(tmp_path / "b.png") == 255 - alpha


def test_a_palette_is_looked_up_and_its_transparent_colour_is_white(tmp_path: Path) -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 200, 10, 30])
    image.save(tmp_path / "a.png")
    image.save(tmp_path / "b.png", transparency=1)
    assert pixel(tmp_path / "a.png", 3) == (200, 10, 30) and pixel(tmp_path / "b.png", 3) == (255, 255, 255)
    assert pixel(tmp_path / "a.png") == Image.new("RGB", (1, 1), (200, 10, 30)).convert("L").getpixel((0, 0))


def test_inks_are_colours(tmp_path: Path) -> None:
    Image.new("CMYK", (4, 4), (255, 0, 0, 0)).save(tmp_path / "a.tif")
    assert pixel(tmp_path / "a.tif", 3) == (0, 255, 255)


@pytest.mark.parametrize(("mode", "ending"), [("F", "tif"), ("I", "tif"), ("LAB", "tif")])
def test_values_of_no_known_range_are_refused_by_name(tmp_path: Path, mode: str, ending: str) -> None:
    Image.new(mode, (4, 4)).save(tmp_path / f"a.{ending}")
    with pytest.raises(InputError, match=f"its mode is {mode}, and the range of its values is not known; save it with 8 or 16 bits"):
        pixel(tmp_path / f"a.{ending}")


@pytest.mark.parametrize("ending", ["png", "tif", "webp"])
def test_several_pictures_in_a_file_are_refused(tmp_path: Path, ending: str) -> None:
    frames = [Image.new("RGB", (4, 4), (value, 0, 0)) for value in (0, 255)]
    frames[0].save(tmp_path / f"a.{ending}", save_all=True, append_images=frames[1:])
    with pytest.raises(InputError, match="it holds several pictures"):
        pixel(tmp_path / f"a.{ending}")


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "directory", "nothing"])
def test_what_is_no_picture_is_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (64, 64)).save(path)
    whole = path.read_bytes()
    if damage in ("directory", "nothing"):
        path.unlink()
    if damage == "directory":
        path.mkdir()
    elif damage != "nothing":
        path.write_bytes({"empty": b"", "cut": whole[: len(whole) // 2], "text": b"hello"}[damage])
    with pytest.raises(InputError, match="cannot read the image"):
        pixel(path)


def test_a_pipe_among_the_images_is_named_at_once(tmp_path: Path) -> None:
    for name in ("cats", "dogs"):
        (tmp_path / name).mkdir()
        for number in range(8):
            Image.new("L", (8, 8)).save(tmp_path / name / f"{number}.png")
    os.mkfifo(tmp_path / "dogs/9.png")
    with pytest.raises(InputError, match=r"cannot read the image .*dogs/9.png: .*not a regular file"):
        load_data(f"folder:{tmp_path}", (1, 8, 8))
