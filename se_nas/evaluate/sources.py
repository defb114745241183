"""Sources of datasets: the shipped digits, torchvision, and a person's own function."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from se_nas.backbones import import_callable
from se_nas.errors import InputError
from se_nas.evaluate.augment import Augment
from se_nas.evaluate.split import Files, Images, Size, Split, Splits, cut
from se_nas.text import shown


def load_digits() -> Splits:
    """1,797 handwritten digits, 8x8 grey, one pool.

    Source: Optical Recognition of Handwritten Digits (E. Alpaydin, C. Kaynak; UCI Machine Learning Repository, 1998,
    doi 10.24432/C50P49), its test part as scikit-learn ships it; licence CC BY 4.0. The file keeps the grey levels 0..16.
    """
    with np.load(Path(__file__).with_name("digits.npz")) as arrays:
        levels, labels = arrays["images"], arrays["labels"]
    images = np.rint(levels * (255 / 16)).astype(np.uint8)[:, None]
    return Splits(Split(torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64))), None, None, tuple("0123456789"))


CUE = 2
"""Height and width of the cue, in pixels."""


def load_cued() -> Splits:
    """Pairs of the shipped digits, of which a cue names the one to read: a synthetic task that needs gating of channels.

    Channels 0 and 1 hold a digit each. Channel 2 or 3 holds a small bright square at a random place: in channel 2 the label
    is the first digit, in channel 3 the second. A convolution sees the cue only near it; a squeeze sees it from everywhere.
    The digits are split before they are paired, so that no digit is in two splits.
    """
    digits = load_digits()
    pool, test = cut(digits.train, 0.2, digits.classes, 0)
    train, val = cut(pool, 0.25, digits.classes, 0)
    return Splits(_cued(train, 2000, 0), _cued(val, 1000, 1), _cued(test, 1000, 2), digits.classes)


def _cued(digits: Images, count: int, seed: int) -> Split:
    """A number of pairs, drawn with a seed."""
    assert isinstance(digits, Split)
    generator = torch.Generator().manual_seed(seed)
    height, width = digits.images.shape[2:]

    def draw(below: int) -> Tensor:
        return torch.randint(below, (count,), generator=generator)

    first, second, cued, top, left = draw(len(digits)), draw(len(digits)), draw(2), draw(height - CUE + 1), draw(width - CUE + 1)
    images = torch.zeros(count, 4, height, width, dtype=torch.uint8)
    images[:, 0], images[:, 1] = digits.images[first, 0], digits.images[second, 0]
    for down, right in itertools.product(range(CUE), repeat=2):
        images[torch.arange(count), 2 + cued, top + down, left + right] = 255
    return Split(images, torch.where(cued == 0, digits.labels[first], digits.labels[second]))


def load_torchvision(kind: str, key: str, root: str) -> Splits:
    """A torchvision dataset that is one array; it is downloaded to ``root`` if it is not there.

    Args:
        kind: class name in torchvision.datasets.
        key: ``train`` if the class takes ``train=True``, ``split`` if it takes ``split="train"``.
        root: folder.

    Raises:
        InputError: if it is not there and cannot be downloaded.
    """
    from torchvision import datasets

    parts = {"train": {"train": True, "split": "train"}[key], "test": {"train": False, "split": "test"}[key]}
    try:
        train, test = (getattr(datasets, kind)(root, download=True, **{key: value}) for value in parts.values())
    except (OSError, RuntimeError) as error:
        raise InputError(f"{kind} is not under {root} and cannot be downloaded: {error}", _place(kind, root), "data") from error
    names = tuple(map(str, getattr(train, "classes", range(10))))
    return Splits(_arrays(train), None, _arrays(test), names)


def load_imagenet(root: str, size: Size) -> Splits:
    """ImageNet (ILSVRC 2012) as torchvision.datasets.ImageNet reads it; its validation images are our test split.

    Raises:
        InputError: if it is not there.
    """
    from torchvision import datasets

    try:
        train, test = (datasets.ImageNet(root, split) for split in ("train", "val"))
    except (OSError, RuntimeError) as error:
        raise InputError(f"ImageNet is not under {root}: {error}", _place("ImageNet", root), "data") from error
    return Splits(_files(train.samples, size), None, _files(test.samples, size), tuple(names[0] for names in train.classes))


def load_callable(name: str) -> Splits:
    """A dataset from a person's function, which returns ``{"train": (images, labels)}``, optionally with ``val``, ``test`` and ``augment``.

    Images are uint8, or floats in 0..1 (kept as uint8), shape (N, C, H, W); labels are integers from 0, shape (N,);
    either may be a numpy array. ``augment`` is ``{"flip": bool, "pad": int}``; there is none by default.

    Raises:
        InputError: for a function that fails or returns anything else.
    """
    function = import_callable(name, "data")
    try:
        given = function()
    except (Exception, SystemExit) as error:
        raise InputError(f"{name}() raised {type(error).__name__}: {error}", "correct that function", "data") from error
    form = 'return {"train": (images, labels)}, and perhaps "val" and "test" alike and "augment": {"flip": False, "pad": 0}'
    if not isinstance(given, Mapping) or "train" not in given or set(given) - {"train", "val", "test", "augment"}:
        found = f"the keys {list(given)}" if isinstance(given, Mapping) else f"a {type(given).__name__}"
        raise InputError(f"{name}() returned {found}", form, "data")
    splits = {key: _check(f"{name}(), {key}", given[key]) for key in ("train", "val", "test") if key in given}
    count = int(splits["train"].labels.max()) + 1
    for key, split in splits.items():
        if (last := int(split.labels.max())) >= count:
            raise InputError(f"{name}(), {key}: label {last} is not among those of train", f"use labels 0 to {count - 1}", "data")
    try:
        augment = Augment(**given["augment"]) if "augment" in given else None
    except InputError as error:
        raise error.at(f"data, {name}()") from None
    except TypeError:
        raise InputError(f"{name}(), augment: {shown(given['augment'])} is no augmentation", form, "data") from None
    return Splits(splits["train"], splits.get("val"), splits.get("test"), tuple(map(str, range(count))), augment)


def _place(kind: str, root: str) -> str:
    return f"put its files there as torchvision.datasets.{kind} expects them, or set data_root to where they are"


def _arrays(dataset: Any) -> Split:
    """Pixels as (N, H, W), (N, H, W, 3) or (N, 3, H, W), as torchvision has them."""
    images = torch.as_tensor(dataset.data)
    images = images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2) if images.shape[3] == 3 else images
    labels = dataset.targets if hasattr(dataset, "targets") else dataset.labels
    return Split(images.contiguous(), torch.as_tensor(labels, dtype=torch.int64))


def _files(samples: list[tuple[str, int]], size: Size) -> Files:
    paths, labels = zip(*samples, strict=True)
    return Files(paths, torch.tensor(labels), size)


def _check(where: str, pair: Any) -> Split:
    try:
        images, labels = (torch.as_tensor(part) for part in pair)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{where}: not a pair of arrays ({error})", "return (images, labels)", "data") from None
    if images.ndim != 4 or len(images) == 0:
        raise InputError(f"{where}: images have shape {list(images.shape)}", "give them shape (N, C, H, W), N at least 1", "data")
    if labels.shape != images.shape[:1]:
        raise InputError(f"{where}: labels have shape {list(labels.shape)}", f"give one label an image, shape ({len(images)},)", "data")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool or int(labels.min()) < 0:
        raise InputError(f"{where}: labels are not integers from 0", "number the classes 0, 1, 2, ...", "data")
    return Split(_bytes(where, images), labels.long())


def _bytes(where: str, images: Tensor) -> Tensor:
    if images.dtype == torch.uint8:
        return images
    if not images.is_floating_point():
        raise InputError(f"{where}: images are {images.dtype}", "give uint8, or floats in 0..1", "data")
    if not bool(((images >= 0) & (images <= 1)).all()):
        raise InputError(f"{where}: images hold values outside 0..1", "scale floats to 0..1, or give uint8", "data")
    return (images * 255).round().to(torch.uint8)
