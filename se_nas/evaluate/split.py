"""Splits of a dataset, in memory or in files, and cutting one from another."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from se_nas.errors import InputError
from se_nas.evaluate.augment import Augment
from se_nas.evaluate.images import fit, read_image, stack
from se_nas.text import shown

Size = tuple[int, int, int]
CHUNK = 64  # images per task of a thread


@dataclass(frozen=True, eq=False)
class Split:
    """Images in memory.

    Attributes:
        images: uint8, (N, C, H, W).
        labels: int64, (N,).
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def size(self) -> Size:
        """(C, H, W)."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    def take(self, index: Tensor) -> Split:
        return Split(self.images[index], self.labels[index])


@dataclass(frozen=True, eq=False)
class Files:
    """Images in files that are too large for memory.

    Attributes:
        paths: paths of N images.
        labels: int64, (N,).
        size: (C, H, W) to which they are decoded.
    """

    paths: tuple[str, ...]
    labels: Tensor
    size: Size

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Tensor) -> Files:
        return Files(tuple(self.paths[i] for i in index.tolist()), self.labels[index], self.size)

    def decoded(self) -> Split:
        """Decode all images in a pool of threads; an `InputError` names a file that is no image."""
        channels, height, width = self.size
        images = torch.empty((len(self), *self.size), dtype=torch.uint8)

        def decode(start: int) -> None:
            paths = self.paths[start : start + CHUNK]
            images[start : start + CHUNK] = stack((fit(read_image(path, channels), height, width) for path in paths), len(paths), self.size)

        with ThreadPoolExecutor() as pool:
            for _ in pool.map(decode, range(0, len(self), CHUNK)):
                pass
        return Split(images, self.labels)


Images = Split | Files


@dataclass(frozen=True, eq=False)
class Splits:
    """The splits of a source. Without ``val`` and ``test``, ``train`` is one pool from which both are cut later.

    Attributes:
        classes: their names; a label is an index into them.
        augment: the source's own augmentation, if it has one.
    """

    train: Images
    val: Images | None
    test: Images | None
    classes: tuple[str, ...]
    augment: Augment | None = None


def cut(images: Images, fraction: float, classes: tuple[str, ...], seed: int) -> tuple[Images, Images]:
    """The rest, and the part that was cut off: ``fraction`` of every class, at least one image, selected by ``seed``.

    Raises:
        InputError: if a class has too few images for both.
    """
    counts = torch.bincount(images.labels, minlength=len(classes))
    if 1 in counts:
        name = classes[int((counts == 1).nonzero()[0])]
        raise InputError(f"class {shown(name)} has too few images to be in every split", "add images of it, or leave it out", "data")
    shuffled = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    by_class = torch.split(shuffled[images.labels[shuffled].argsort(stable=True)], counts.tolist())
    share = [members[: min(max(1, round(fraction * len(members))), len(members) - 1)] for members in by_class if len(members)]
    taken = torch.zeros(len(images), dtype=torch.bool)
    taken[torch.cat(share)] = True
    return images.take((~taken).nonzero()[:, 0]), images.take(taken.nonzero()[:, 0])
