"""Batches of a dataset on a device, normalised: (images float32 (N, C, H, W), labels int64 (N,)).

Images in memory are indexed and augmented on the device. Images in files are decoded and cropped by worker processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import torch
from torch import Generator, Tensor

from se_nas.evaluate.data import Data
from se_nas.evaluate.images import fit
from se_nas.evaluate.split import Files, Size, Split
from se_nas.evaluate.stream import Transform, read_batches

Batch = tuple[Tensor, Tensor]
BORDER = 1 / 16  # evaluation takes the middle 7/8, 224 of 256 pixels, as suits training by random resized crops


def resident(data: Data, device: torch.device) -> Data:
    """The same data; its training and validation images move to the device if they take at most a quarter of its free memory."""
    return replace(data, train=_move(data.train, device), val=_move(data.val, device))


def steps_per_epoch(images: Split | Files, batch_size: int) -> int:
    """The last incomplete batch is dropped, unless it is the only one."""
    return max(1, len(images) // batch_size)


def train_batches(data: Data, batch_size: int, device: torch.device, order: Generator, augment: Generator | None) -> Iterator[Batch]:
    """One epoch of the training split, shuffled.

    Args:
        data: the dataset.
        batch_size: images per batch.
        device: where the batches go.
        order: a CPU generator, for the order.
        augment: a generator on the device, for augmentation; ``None`` is no augmentation.
    """
    images = data.train
    shuffled = torch.randperm(len(images), generator=order)[: steps_per_epoch(images, batch_size) * batch_size]
    normalise = _normaliser(data, device)
    if isinstance(images, Files):
        transform = _random_crop(images.size, data.augment.flip) if augment else _centre(images.size)
        seed = int(torch.randint(2**31, (), generator=order))
        for pixels, labels in _streamed(images, shuffled, batch_size, device, transform, seed):
            yield normalise(pixels), labels
    else:
        for pixels, labels in _indexed(images, shuffled, batch_size, device):
            yield normalise(data.augment(pixels, augment) if augment else pixels), labels


def eval_batches(data: Data, images: Split | Files, batch_size: int, device: torch.device) -> Iterator[Batch]:
    """All images of one of the data's splits, in order."""
    index, normalise = torch.arange(len(images)), _normaliser(data, device)
    if isinstance(images, Files):
        batches = _streamed(images, index, batch_size, device, _centre(images.size))
    else:
        batches = _indexed(images, index, batch_size, device)
    for pixels, labels in batches:
        yield normalise(pixels), labels


def _normaliser(data: Data, device: torch.device) -> Callable[[Tensor], Tensor]:
    mean, std = (torch.tensor(values, device=device)[:, None, None] * 255 for values in (data.mean, data.std))
    return lambda pixels: (pixels.float() - mean) / std


def _move(images: Split | Files, device: torch.device) -> Split | Files:
    if isinstance(images, Files) or device.type == "cpu" or images.images.nbytes > torch.cuda.mem_get_info(device)[0] // 4:
        return images
    return Split(images.images.to(device), images.labels.to(device))


def _indexed(images: Split, index: Tensor, batch_size: int, device: torch.device) -> Iterator[Batch]:
    for members in torch.split(index.to(images.labels.device), batch_size):
        batch = images.take(members)
        yield batch.images.to(device), batch.labels.to(device)


def _streamed(files: Files, index: Tensor, batch_size: int, device: torch.device, transform: Transform, seed: int = 0) -> Iterator[Batch]:
    batches = torch.split(index, batch_size)
    pixels = read_batches(files.paths, files.size, batches, transform, seed, pin=device.type == "cuda")
    for images, members in zip(pixels, batches, strict=True):
        yield images.to(device, non_blocking=True), files.labels[members].to(device)


def _centre(size: Size) -> Transform:
    return partial(fit, height=size[1], width=size[2], border=BORDER)


def _random_crop(size: Size, flip: bool) -> Transform:
    from torchvision.transforms import v2

    mirror = [v2.RandomHorizontalFlip()] if flip else []
    transform: Transform = v2.Compose([v2.RandomResizedCrop(size[1:]), *mirror])
    return transform
