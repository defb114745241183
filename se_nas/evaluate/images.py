"""Image files and arrays, brought to one size as uint8 tensors."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn import functional as F

from se_nas.errors import InputError
from se_nas.files import opened

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
MODES = {1: "L", 3: "RGB"}


STRAIGHT = ("1", "L", "RGB", "RGBX", "CMYK", "YCbCr", "HSV")
"""Modes of 8 bits a channel that Pillow converts as they are meant."""

CLEAR = ("LA", "La", "PA", "RGBA", "RGBa")
"""Modes with transparency."""

DEEP = {"PNG": 65535, "PPM": 65535}
"""Format -> largest value of a grey picture that Pillow gives as 32-bit numbers."""


def read_image(path: str, channels: int) -> Image.Image:
    """The image in a file, grey (1 channel) or RGB (3).

    16 bits become 8 by division, colours of a palette are looked up, and what is transparent lies over white.

    Raises:
        InputError: if it is no regular file, Pillow cannot read it, it holds several pictures, or the range of its values is
            not known (floating point, 32 bits, LAB).
    """
    try:
        with opened(path) as file, Image.open(file) as image:
            converted = _convert(image, channels)
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
        problem, fix = (error.problem, error.fix) if isinstance(error, InputError) else (str(error), "replace or delete it")
        raise InputError(f"cannot read the image {path}: {problem}", fix, "data") from error
    return converted


def _convert(image: Image.Image, channels: int) -> Image.Image:
    """A picture of any mode as grey or RGB."""
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":  # in that one, the first is the photograph
        raise InputError("it holds several pictures", "give one a file")
    mode = MODES[channels]
    if image.mode.startswith("I;16"):
        return _shallow(np.asarray(image), 65535).convert(mode)
    if image.mode == "I" and image.format in DEEP:
        return _shallow(np.asarray(image), DEEP[image.format]).convert(mode)
    if image.mode == "P" and "transparency" not in image.info:
        return image.convert("RGB").convert(mode)
    if image.mode in CLEAR or "transparency" in image.info:
        picture = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB").convert(mode)
    if image.mode not in STRAIGHT:
        raise InputError(f"its mode is {image.mode}, and the range of its values is not known", "save it with 8 or 16 bits a channel")
    return image.convert(mode)


def _shallow(values: np.ndarray[Any, Any], most: int) -> Image.Image:
    """Grey values from 0 to ``most`` as 8 bits, rounded."""
    if values.min(initial=0) < 0 or values.max(initial=0) > most:
        raise InputError(f"its values are beyond 0 to {most}", "save it with 8 or 16 bits a channel")
    return Image.fromarray(((values.astype(np.uint32) * 255 + most // 2) // most).astype(np.uint8))


def fit(image: Image.Image, height: int, width: int, border: float = 0.0) -> Image.Image:
    """Resize an image by its shorter side, and crop its centre.

    Args:
        image: of any size.
        height: of the result, pixels.
        width: of the result, pixels.
        border: share of the picture dropped on each side first.
    """
    if image.size == (width, height):
        return image
    return ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR, bleed=border)


def stack(images: Iterable[Image.Image], count: int, size: tuple[int, int, int]) -> Tensor:
    """A number of images of one size: uint8, (N, C, H, W)."""
    channels, height, width = size
    pixels = np.empty((count, height, width) if channels == 1 else (count, height, width, channels), np.uint8)
    for i, image in enumerate(images):
        pixels[i] = np.asarray(image)
    return torch.from_numpy(pixels.reshape(count, height, width, channels)).permute(0, 3, 1, 2).contiguous()


def resize(images: Tensor, size: tuple[int, int, int]) -> Tensor:
    """Resize bilinearly with antialiasing. Grey is repeated to RGB; RGB is weighted to grey (ITU-R BT.601).

    Shapes: uint8 (N, c, h, w) -> uint8 (N, C, H, W).

    Raises:
        InputError: for numbers of channels that cannot be converted.
    """
    found, channels = images.shape[1], size[0]
    if tuple(images.shape[2:]) != size[1:]:
        images = F.interpolate(images, size[1:], mode="bilinear", antialias=True)
    if found == channels:
        return images
    if (found, channels) == (1, 3):
        return images.expand(-1, 3, -1, -1).contiguous()
    if (found, channels) == (3, 1):
        red, green, blue = images.to(torch.int32).unbind(1)
        return ((299 * red + 587 * green + 114 * blue + 500) // 1000).to(torch.uint8)[:, None]
    raise InputError(f"the images have {found} channels and the network takes {channels}", "correct input_size and backbone_args", "data")
