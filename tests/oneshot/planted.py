"""A task of which it is known where an SE block is useful and where it is harmful."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from se_nas.evaluate.augment import Augment
from se_nas.evaluate.data import Data, Split
from se_nas.network.blocks import register_block
from se_nas.space.space import SearchSpace

CHANNELS = 16


class Branch(nn.Module):
    """A site for an SE block."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, CHANNELS, 1)

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.conv(x)
        return features


register_block(Branch, {"standard": ("conv", "output")})


class TwoBranches(nn.Module):
    """Two branches, each of two channels, that are linear up to the head: alone they cannot tell the sign of a product."""

    def __init__(self) -> None:
        super().__init__()
        self.useful, self.harmful = Branch(), Branch()
        self.head = nn.Linear(2 * CHANNELS, 2)

    def forward(self, images: Tensor) -> Tensor:
        both = [self.useful(images[:, :2]), self.harmful(images[:, 2:])]
        scores: Tensor = self.head(torch.cat(both, 1).mean((2, 3)))
        return scores


def planted_space(**changes: object) -> SearchSpace:
    return SearchSpace(TwoBranches, (4, 4, 4), **{"reduction": [2], **changes})  # type: ignore[arg-type]


def planted_data(seed: int, train: int = 768, val: int = 512) -> Data:
    """Images whose class is the sign of a product of two channels' means, which an SE block can compute.

    The first two channels tell it truly, for 9 images of 10. The last two tell it always where weights are trained, and
    mean nothing on the validation split: who listens to them has learned a wrong lesson.
    """
    generator = torch.Generator().manual_seed(seed)

    def split(size: int, leak: bool) -> Split:
        def sign() -> Tensor:
            return torch.randint(2, (size,), generator=generator) * 2 - 1

        label, first, third = sign(), sign(), sign()
        told = torch.where(torch.rand(size, generator=generator) < 0.9, label, -label)
        signs = torch.stack([first, first * told, third, third * (label if leak else sign())], 1)
        pixels = 128 + 40 * signs[:, :, None, None] + 10 * torch.randn(size, 4, 4, 4, generator=generator)
        return Split(pixels.clamp(0, 255).to(torch.uint8), (label > 0).long())

    parts = split(train, True), split(val, False)
    return Data("planted", *parts, None, ("minus", "plus"), (0.5,) * 4, (0.16,) * 4, Augment())
