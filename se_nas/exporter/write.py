"""Where an export goes. Its files appear all together or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from se_nas.errors import InputError


@dataclass(frozen=True)
class Destination:
    """The folder and the file names of an export: ``X.py``, ``X.safetensors`` and so on, or a folder of its own.

    A name that is None is not written there.
    """

    folder: Path
    module: str
    weights: str
    onnx: str
    program: str
    about: str | None = None
    card: str | None = None
    hub: str | None = None
    timm: str | None = None

    @classmethod
    def of(cls, target: Path) -> Destination:
        if target.suffix == ".py":
            return cls(target.parent, target.name, *(f"{target.stem}.{kind}" for kind in ("safetensors", "onnx", "pt2")))
        names = ("model.py", "weights.safetensors", "model.onnx", "model.pt2", "architecture.json", "README.md", "hubconf.py")
        return cls(target, *names, "timm_model.py")

    @property
    def names(self) -> list[str]:
        """All files that there may be."""
        every = (self.module, self.weights, self.onnx, self.program, self.about, self.card, self.hub, self.timm)
        return [name for name in every if name]


def check_free(target: Path, written: Collection[str], force: bool) -> None:
    """Raise unless the target can be written.

    Raises:
        InputError: if a file is where a folder must be; if something is there and ``force`` is not given; if files of an
            earlier export that are not ``written`` now would stay beside the new ones.
    """
    place = Destination.of(target)
    there = next(folder for folder in target.absolute().parents if os.path.lexists(folder))
    if not there.is_dir():
        raise InputError(f"{there} is no folder", "choose another target", "target")
    for name in place.names:
        if name not in written and os.path.lexists(place.folder / name):
            problem = f"{place.folder / name} is of an earlier export and would stay beside the new network"
            raise InputError(problem, "write it anew, remove that file, or choose another target", "target")
    alone = place.folder == target
    taken = [target] if alone else [place.folder / name for name in written]
    for path in taken if not force else ():
        if os.path.lexists(path) and not (alone and path.is_dir() and not any(path.iterdir())):
            raise InputError(f"{path} exists", "choose another target, or overwrite it (--force)", "target")


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files into a folder, made if need be, all of them or none.

    Raises:
        InputError: if the system refuses.
    """
    with staged(folder) as staging:
        for name, content in files.items():
            (staging / name).write_bytes(content)


@contextlib.contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """A temporary folder whose files move into ``folder`` when they are complete; after an error all is as it was before.

    Raises:
        InputError: if the system refuses, or a symbolic link would lead out of the folder.
    """
    staging = (folder if folder.exists() else folder.parent) / f".{folder.name}.{os.getpid()}.tmp"
    made = [parent for parent in staging.parents if not parent.exists()]
    try:
        staging.mkdir(parents=True)
        yield staging
        if folder.exists():
            _move(staging, folder)
        else:
            os.rename(staging, folder)
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error.strerror or error}", "choose another target", "target") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        for parent in made:
            with contextlib.suppress(OSError):  # what was written is in it
                parent.rmdir()


def _move(staging: Path, folder: Path) -> None:
    """Move all files to their places; what stood there comes back if one of them cannot be moved."""
    names = sorted(path.relative_to(staging) for path in staging.rglob("*") if not path.is_dir())
    old = staging / ".old"
    undo: list[tuple[Path, Path | None]] = []
    try:
        for name in names:
            target, kept = folder / name, old / name
            _make_parents(folder, name)
            if target.is_dir() and not target.is_symlink():
                raise IsADirectoryError(errno.EISDIR, f"{name} is a folder there")
            if os.path.lexists(target):
                kept.parent.mkdir(parents=True, exist_ok=True)
                os.replace(target, kept)  # a symbolic link itself, not what it points to
                undo.append((target, kept))
            else:
                undo.append((target, None))
            os.replace(staging / name, target)
    except OSError:
        for target, before in reversed(undo):
            target.unlink(missing_ok=True)
            if before:
                os.replace(before, target)
        raise


def _make_parents(folder: Path, name: Path) -> None:
    for parent in [folder / part for part in reversed(name.parents) if part.parts]:
        if parent.is_symlink():
            raise OSError(errno.ELOOP, f"{parent.name} is a symbolic link there")
        parent.mkdir(exist_ok=True)
