"""Where an export goes, and files that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from se_nas.errors import InputError


@dataclass(frozen=True)
class Destination:
    """The folder and the file names of an export: ``X.py`` and ``X.safetensors``, or a folder of its own."""

    folder: Path
    module: str
    weights: str
    about: str | None

    @classmethod
    def of(cls, target: Path) -> Destination:
        if target.suffix == ".py":
            return cls(target.parent, target.name, f"{target.stem}.safetensors", None)
        return cls(target, "model.py", "weights.safetensors", "architecture.json")


def check_free(target: Path, weights: bool, force: bool) -> None:
    """Raise unless the target can be written.

    Raises:
        InputError: if its parent is missing; if something is there and ``force`` is not given; if ``weights`` are not
            written, and those of an earlier export would stay beside the new file.
    """
    place = Destination.of(target)
    if not target.parent.is_dir():
        raise InputError(f"there is no folder {target.parent}", "make it first, or choose another target", "target")
    if not weights and (place.folder / place.weights).exists():
        problem = f"{place.folder / place.weights} is of an earlier export and would stay beside the new network"
        raise InputError(problem, "give weights, remove that file, or choose another target", "target")
    taken = [target, *([place.folder / place.weights] if place.folder != target else [])]
    for path in taken if not force else ():
        if os.path.lexists(path):
            raise InputError(f"{path} exists", "choose another target, or overwrite it (--force)", "target")


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files into a folder, made if need be: in a temporary folder, whence they are moved when all are complete.

    Raises:
        InputError: if the system refuses.
    """
    staging = (folder if folder.exists() else folder.parent) / f".{folder.name}.{os.getpid()}.tmp"
    try:
        staging.mkdir()
        for name, content in files.items():
            (staging / name).write_bytes(content)
        if folder.exists():
            for name in files:
                os.replace(staging / name, folder / name)
        else:
            os.rename(staging, folder)
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error.strerror or error}", "choose another target", "target") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
