"""A dataset, ready to train on: its splits, their size, and how they are normalised and augmented."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from se_nas.errors import InputError
from se_nas.evaluate.augment import Augment
from se_nas.evaluate.folder import load_folder
from se_nas.evaluate.images import resize
from se_nas.evaluate.sources import load_callable, load_cued, load_digits, load_imagenet, load_torchvision
from se_nas.evaluate.split import Files, Images, Size, Split, Splits, cut
from se_nas.text import shown

__all__ = ["SOURCES", "Data", "Files", "Split", "load_data"]

TEST_SEED = 0  # a test split that we cut is the same for every split_seed, so that scores compare
SAMPLE = 1000  # number of images for the statistics of streamed data


@dataclass(frozen=True, eq=False)
class Data:
    """A dataset at the size that the network takes.

    Attributes:
        name: the name that a person gave.
        train: images to train on.
        val: images that a search selects on.
        test: images for the final scores; nothing else may use them.
        classes: names of the classes; a label is an index.
        mean: mean of each channel, pixels in 0..1.
        std: standard deviation of each channel, pixels in 0..1.
        augment: random changes of training images.
    """

    name: str
    train: Images
    val: Images
    test: Images | None
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    augment: Augment


@dataclass(frozen=True)
class Source:
    """A kind of dataset.

    Attributes:
        load: (root, size) -> its splits.
        augment: augmentation that suits it.
        val: share of the training images for the validation split, if the dataset has none.
        test: share of the images for the test split, if the dataset is one pool.
        statistics: mean and std that trained backbones expect, instead of the data's own.
    """

    load: Callable[[str, Size], Splits]
    augment: Augment
    val: float = 0.1
    test: float = 0.1
    statistics: tuple[tuple[float, ...], tuple[float, ...]] | None = None


def _torchvision(kind: str, key: str, augment: Augment) -> Source:
    return Source(lambda root, size: load_torchvision(kind, key, root), augment)


SOURCES = {
    "digits": Source(lambda root, size: load_digits(), Augment(), val=0.25, test=0.2),
    "cued-digits": Source(lambda root, size: load_cued(), Augment()),
    "cifar10": _torchvision("CIFAR10", "train", Augment(flip=True, pad=4)),
    "cifar100": _torchvision("CIFAR100", "train", Augment(flip=True, pad=4)),
    "mnist": _torchvision("MNIST", "train", Augment(flip=False, pad=2)),
    "fashion-mnist": _torchvision("FashionMNIST", "train", Augment(flip=True, pad=2)),
    "svhn": _torchvision("SVHN", "split", Augment(flip=False, pad=4)),
    "imagenet": Source(load_imagenet, Augment(flip=True), val=0.04, statistics=((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))),
}


def load_data(
    name: str, input_size: Size, root: str = "data", val_fraction: float | None = None, split_seed: int = 0, memory: int | None = None
) -> Data:
    """The dataset with this name, its images resized to ``input_size``.

    Args:
        name: one of `SOURCES`, ``folder:PATH``, or ``package.module:callable`` (which runs that code).
        input_size: (C, H, W).
        root: folder of torchvision's datasets.
        val_fraction: share of the training images for the validation split, if the dataset has none.
        split_seed: seed that selects these images; it is independent of trials' seeds.
        memory: bytes that image files may take decoded, or they are decoded anew for each batch; a quarter of the machine's by default.

    Raises:
        InputError: if there is no such dataset, or its form is wrong.
    """
    source = _find_source(name, input_size)
    if val_fraction is not None and not 0 < val_fraction < 1:
        raise InputError(f"{shown(val_fraction)} is not a share", "write a number between 0 and 1", "val_fraction")
    splits = source.load(root, input_size)
    train, val, test = splits.train, splits.val, splits.test
    if val is None and test is None:
        train, test = cut(train, source.test, splits.classes, TEST_SEED)
    if val is None:
        train, val = cut(train, val_fraction or source.val, splits.classes, split_seed)
    limit = _memory() // 4 if memory is None else memory
    cached = sum(len(part) for part in (train, val, test) if part is not None) * torch.Size(input_size).numel() <= limit
    train, val = _ready(train, input_size, cached), _ready(val, input_size, cached)
    test = None if test is None else _ready(test, input_size, cached)
    mean, std = source.statistics if source.statistics and input_size[0] == 3 else _statistics(train)
    return Data(name, train, val, test, splits.classes, mean, std, splits.augment or source.augment)


def _find_source(name: str, size: Size) -> Source:
    if not isinstance(name, str):
        raise InputError(f"{shown(name)} is not the name of data", "write a string", "data")
    if name in SOURCES:
        return SOURCES[name]
    kind, _, rest = name.partition(":")
    if kind == "folder":
        return Source(lambda root, size: load_folder(rest, size), Augment(flip=True, pad=size[1] // 8))
    if kind and rest:
        return Source(lambda root, size: load_callable(name), Augment())
    raise InputError(f"unknown data {shown(name)}", f"take one of {', '.join(SOURCES)}, folder:PATH or package.module:callable", "data")


def _ready(images: Images, size: Size, cached: bool) -> Images:
    if isinstance(images, Split):
        return Split(resize(images.images, size), images.labels)
    return images.decoded() if cached else images


def _statistics(images: Images) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel; for images in files, of a sample."""
    if isinstance(images, Files):
        every = torch.linspace(0, len(images) - 1, min(len(images), SAMPLE)).long()
        images = images.take(every).decoded()
    channels = [_mean_and_std(images.images[:, channel]) for channel in range(images.size[0])]
    return tuple(mean for mean, _ in channels), tuple(std for _, std in channels)


def _mean_and_std(pixels: Tensor) -> tuple[float, float]:
    """Computed from counts of the 256 values: exact, without a copy in floats. A constant channel gets std 1/255."""
    counts = torch.bincount(pixels.flatten(), minlength=256).double()
    values = torch.arange(256, dtype=torch.float64) / 255
    mean = float((counts * values).sum() / counts.sum())
    variance = float((counts * (values - mean) ** 2).sum() / counts.sum())
    return mean, max(variance**0.5, 1 / 255)


def _memory() -> int:
    """Bytes of memory of the machine, free or not, so that one machine always treats a dataset in the same way."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 8 * 2**30
