"""Folders of images, one folder per class."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from se_nas.errors import InputError
from se_nas.evaluate.images import ENDINGS, MODES
from se_nas.evaluate.split import Files, Size, Splits
from se_nas.files import refused
from se_nas.text import shown


def load_folder(path: str, size: Size) -> Splits:
    """``train/CLASS/*.jpg`` with ``test/`` or ``val/`` or both beside it, or one pool ``CLASS/*.jpg``.

    Raises:
        InputError: for a folder that is not of that form.
    """
    with refused(path):
        return _load(path, size)


def _load(path: str, size: Size) -> Splits:
    root = Path(path).expanduser()
    if not path or not root.is_dir():
        raise InputError(f"there is no folder {shown(path)}", "write folder:PATH, PATH with a folder of images for each class", "data")
    if size[0] not in MODES:
        raise InputError(f"image files cannot have {size[0]} channels", "set input_size to 1 or 3 channels", "input_size")
    train = root / "train" if (root / "train").is_dir() else root
    classes = _folders(train)
    if len(classes) < 2:
        raise InputError(f"{train} has fewer than 2 class folders", "put each class's images into a folder of its own", "data")
    val, test = (_list(root / name, classes, size) if train != root and (root / name).is_dir() else None for name in ("val", "test"))
    return Splits(_list(train, classes, size), val, test, classes)


def _list(folder: Path, classes: tuple[str, ...], size: Size) -> Files:
    found = _folders(folder)
    if found != classes:
        differ = ", ".join(sorted(set(found) ^ set(classes)))
        raise InputError(f"{folder} and train differ in class folders {differ}", "give every split the same classes", "data")
    paths: list[str] = []
    counts: list[int] = []
    for name in classes:
        images = _images(folder / name)
        if not images:
            raise InputError(f"{folder / name} has no image", f"put images there ({', '.join(ENDINGS)}), or remove the folder", "data")
        paths += images
        counts.append(len(images))
    return Files(tuple(paths), torch.arange(len(classes)).repeat_interleave(torch.tensor(counts)), size)


def _folders(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith(".")))


def _raise(error: OSError) -> None:
    raise error


def _images(folder: Path) -> list[str]:
    """Sorted, so that labels, splits and pixels are the same on every machine."""
    return sorted(
        os.path.join(at, name) for at, _, names in os.walk(folder, onerror=_raise) for name in names if name.lower().endswith(ENDINGS)
    )
