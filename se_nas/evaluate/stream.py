"""Read image files batch by batch, in worker processes, while a network trains on the previous batch."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable, Iterator, Sequence

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from se_nas.errors import InputError
from se_nas.evaluate.images import read_image, stack

Transform = Callable[[Image.Image], Image.Image]
FEW = 1000  # below this number, reading is faster than starting workers


def read_batches(
    paths: Sequence[str], size: tuple[int, int, int], batches: Sequence[Tensor], transform: Transform, seed: int = 0, pin: bool = False
) -> Iterator[Tensor]:
    """Batches of images, each uint8 (N, C, H, W). Random transforms do not depend on the number of workers.

    Args:
        paths: all files.
        size: (C, H, W), C being 1 or 3.
        batches: indices into ``paths``, one tensor per batch.
        transform: makes an image H x W; may draw torch's global random numbers.
        seed: seed of the transforms.
        pin: whether to use pinned memory, from which a GPU copies faster.

    Raises:
        InputError: naming a file that is no image.
    """
    keys = [(members.tolist(), seed + i) for i, members in enumerate(batches)]
    # a daemonic process, such as a pool's worker, cannot start processes
    alone = multiprocessing.current_process().daemon or sum(map(len, batches)) <= FEW
    workers = 0 if alone else min(8, torch.get_num_threads(), len(keys))
    # forked workers start at once, and a script needs no `if __name__ == "__main__"`
    context = "fork" if workers and sys.platform == "linux" else None
    loader = DataLoader(
        _Reader(paths, size, transform),
        batch_size=None,
        sampler=keys,
        num_workers=workers,
        pin_memory=pin,
        multiprocessing_context=context,
        generator=torch.Generator(),  # else it would draw from the global generator
    )
    for images in loader:
        if isinstance(images, InputError):
            raise images
        yield images


class _Reader(Dataset[Tensor | InputError]):
    """A dataset whose items are whole batches. The key is the indices of the images and a seed."""

    def __init__(self, paths: Sequence[str], size: tuple[int, int, int], transform: Transform) -> None:
        self.paths, self.size, self.transform = paths, size, transform

    def __getitem__(self, key: tuple[list[int], int]) -> Tensor | InputError:
        members, seed = key
        with torch.random.fork_rng([]):
            torch.default_generator.manual_seed(seed)
            try:
                return stack((self.transform(read_image(self.paths[i], self.size[0])) for i in members), len(members), self.size)
            except InputError as error:  # returned, because an exception of a worker arrives as another type
                return error
