"""Image files and arrays, brought to one size as uint8 tensors."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn import functional as F

from se_nas.errors import InputError

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
MODES = {1: "L", 3: "RGB"}


def read_image(path: str, channels: int) -> Image.Image:
    """The picture in a file, grey (1 channel) or RGB (3).

    Raises:
        InputError: if Pillow cannot read it.
    """
    try:
        with Image.open(path) as image:
            converted: Image.Image = image.convert(MODES[channels])
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"cannot read the image {path}: {error}", "replace or delete it", "data") from error
    return converted


def fit(image: Image.Image, height: int, width: int, border: float = 0.0) -> Image.Image:
    """Resized to the shorter side, cut to its centre.

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
    """So many pictures, all of that size: uint8, (N, C, H, W)."""
    channels, height, width = size
    pixels = np.empty((count, height, width) if channels == 1 else (count, height, width, channels), np.uint8)
    for i, image in enumerate(images):
        pixels[i] = np.asarray(image)
    return torch.from_numpy(pixels.reshape(count, height, width, channels)).permute(0, 3, 1, 2).contiguous()


def resize(images: Tensor, size: tuple[int, int, int]) -> Tensor:
    """Bilinear with antialiasing; grey is repeated to RGB, and RGB weighted to grey (ITU-R BT.601).

    Shapes: uint8 (N, c, h, w) -> uint8 (N, C, H, W).

    Raises:
        InputError: for numbers of channels that do not convert.
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
