"""Random crops and flips of a whole batch at once, on its device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from se_nas.errors import InputError


@dataclass(frozen=True)
class Augment:
    """Random changes of training images, drawn for each image.

    Attributes:
        flip: mirror left and right, half of the time.
        pad: zero pixels put on every side before a random crop back to the old size.
    """

    flip: bool = False
    pad: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.flip, bool) or type(self.pad) is not int or self.pad < 0:
            raise InputError(f"{self} cannot be", "flip is true or false, pad an integer from 0", "augment")

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Shapes: (N, C, H, W) -> (N, C, H, W), any dtype; the generator is on the images' device."""
        count, _, height, width = images.shape
        if self.pad:
            windows = F.pad(images, (self.pad,) * 4).unfold(2, height, 1).unfold(3, width, 1)
            top, left = torch.randint(2 * self.pad + 1, (2, count), generator=generator, device=images.device)
            images = windows[torch.arange(count, device=images.device), :, top, left]
        if self.flip:
            mirrored = torch.rand(count, generator=generator, device=images.device) < 0.5
            images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
        return images
