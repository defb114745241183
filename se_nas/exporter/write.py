"""Where an export goes. Its files appear all together or not at all, whatever ends it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import signal
import threading
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from se_nas.errors import InputError
from se_nas.files import OWN, hold, is_refusal, own_name, sweep, sync

OLD, PLAN = ".old", ".plan"
"""In the temporary folder: what stood in the places of the new files, and which places those are."""

FIX = "make room, or choose another target"


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
    channels: str | None = None

    @classmethod
    def of(cls, target: Path) -> Destination:
        if target.suffix == ".py":
            return cls(target.parent, target.name, *(f"{target.stem}.{kind}" for kind in ("safetensors", "onnx", "pt2")))
        names = ("model.py", "weights.safetensors", "model.onnx", "model.pt2", "architecture.json", "README.md", "hubconf.py")
        return cls(target, *names, "timm_model.py", "channels.json")

    @property
    def names(self) -> list[str]:
        """All files that there may be."""
        every = (self.module, self.weights, self.onnx, self.program, self.about, self.card, self.hub, self.timm, self.channels)
        return [name for name in every if name]


def check_free(target: Path, written: Collection[str], force: bool) -> None:
    """Raise unless the target can be written. An export there that was killed is undone first.

    Raises:
        InputError: if a file is where a folder must be; if something is there and ``force`` is not given, or it is of no
            export; if files of an earlier export that are not ``written`` now would stay beside the new ones.
    """
    with _refused(target):
        place = Destination.of(target)
        above = next((folder for folder in target.absolute().parents if os.path.lexists(folder)), target)  # / has no parent
        if not above.is_dir():
            raise InputError(f"{above} is no folder", "choose another target", "target")
        for folder in {place.folder, target.parent}:
            undo_killed(folder)
        for name in place.names:
            if name not in written and os.path.lexists(place.folder / name):
                problem = f"{place.folder / name} is of an earlier export and would stay beside the new network"
                raise InputError(problem, "write it anew, remove that file, or choose another target", "target")
        there = [place.folder / name for name in written if os.path.lexists(place.folder / name)]
        if force and there and not _is_export(place):
            raise InputError(f"{there[0]} is of no export of se-nas", "move it away, or choose another target", "target")
        alone = place.folder == target
        taken = [target] if alone else [place.folder / name for name in written]
        for path in taken if not force else ():
            if os.path.lexists(path) and not (alone and path.is_dir() and not any(path.iterdir())):
                raise InputError(f"{path} exists", "choose another target, or overwrite it (--force)", "target")


def _is_export(place: Destination) -> bool:
    """Whether an earlier export stands at a place: its record does, or, of a single file, its first line says so."""
    try:
        if place.about:
            return {"architecture", "id", "space"} <= set(json.loads((place.folder / place.about).read_text(encoding="utf-8")))
        with open(place.folder / place.module, encoding="utf-8") as file:
            return "found by se-nas" in file.readline()
    except (OSError, ValueError, TypeError):
        return False


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

    If the process is killed while they move, `undo_killed` brings back what was there.

    Raises:
        InputError: if the system refuses, or a symbolic link would lead out of the folder.
    """
    with _refused(folder):
        there = folder.exists()
        staging = (folder if there else folder.parent) / own_name()
        made = [parent for parent in staging.parents if not parent.exists()]
        staging.mkdir(parents=True)
    try:
        with _refused(folder), _held(staging):
            yield staging
            _sync_all(staging)
            with _uninterrupted():
                if there:
                    _move(staging, folder)
                else:
                    os.rename(staging, folder)
                    sync(folder.parent)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        for parent in made:
            with contextlib.suppress(OSError):  # what was written is in it
                parent.rmdir()


def undo_killed(folder: Path) -> None:
    """Bring back what stood in a folder before exports that were killed, and remove what they have left."""
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            staging = folder / name
            if OWN.fullmatch(name) and (staging / PLAN).is_file():
                with contextlib.suppress(OSError, ValueError), _held(staging) as ours:
                    if ours:
                        _undo(staging, folder, json.loads((staging / PLAN).read_text(encoding="utf-8")))
    sweep(folder)


def _move(staging: Path, folder: Path) -> None:
    """Move all files to their places; what stood there comes back if one of them cannot be moved."""
    names = sorted(str(path.relative_to(staging)) for path in staging.rglob("*") if not path.is_dir())
    for name in names:
        target = folder / name
        if target.is_dir() and not target.is_symlink():
            raise IsADirectoryError(errno.EISDIR, f"{name} is a folder there")
        _check_parents(folder, Path(name))
    before = [name for name in names if os.path.lexists(folder / name)]
    for name in before:
        kept = staging / OLD / name
        kept.parent.mkdir(parents=True, exist_ok=True)
        _keep(folder / name, kept)
    plan = {name: name in before for name in names}
    (staging / PLAN).write_text(json.dumps(plan), encoding="utf-8")
    _sync_all(staging)
    try:
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(staging / name, folder / name)  # a symbolic link itself, not what it points to
        for parent in {(folder / name).parent for name in names}:
            sync(parent)
        (staging / PLAN).unlink()  # from here on, the new files stay
    except BaseException:
        _undo(staging, folder, plan)
        raise


NO_LINK = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}
"""Errors of file systems without hard links, of files of another user, and of a file with too many links."""


def _keep(path: Path, kept: Path) -> None:
    """A hard link to what stands at a place, which stays there; a copy where the system makes no such link."""
    try:
        if os.link in os.supports_follow_symlinks:  # elsewhere it would link what a symbolic link points to
            os.link(path, kept, follow_symlinks=False)
            return
    except OSError as error:
        if error.errno not in NO_LINK:
            raise
    shutil.copy2(path, kept, follow_symlinks=False)


def _undo(staging: Path, folder: Path, plan: Mapping[str, bool]) -> None:
    """As it was: what stood there comes back, and what is new goes."""
    for name, stood in plan.items():
        if stood and os.path.lexists(staging / OLD / name):
            os.replace(staging / OLD / name, folder / name)
        elif not stood and not os.path.lexists(staging / name):
            (folder / name).unlink(missing_ok=True)
    for parent in sorted({(folder / name).parent for name in plan} - {folder}):
        with contextlib.suppress(OSError):
            parent.rmdir()  # if it was made for them
    (staging / PLAN).unlink(missing_ok=True)


def _check_parents(folder: Path, name: Path) -> None:
    for parent in [folder / part for part in reversed(name.parents) if part.parts]:
        if parent.is_symlink():
            raise OSError(errno.ELOOP, f"{parent.name} is a symbolic link there")


def _sync_all(folder: Path) -> None:
    """Bring all files of a folder to disk, and their names."""
    for at, _, names in os.walk(folder):
        for name in names:
            if not os.path.islink(os.path.join(at, name)):
                descriptor = os.open(os.path.join(at, name), os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
        sync(Path(at))


@contextlib.contextmanager
def _held(staging: Path) -> Iterator[bool]:
    """Hold a temporary folder, so that no other process takes it for one that a kill has left; yields whether it is ours."""
    descriptor = os.open(staging, os.O_RDONLY)
    try:
        try:
            ours = hold(descriptor)
        except OSError:  # a file system without locks: nobody sweeps there either
            ours = False
        yield ours
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait for a moment: they come when the block has ended."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in handlers:
        signal.signal(number, lambda came_now, _: came.append(came_now))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        if came:
            signal.raise_signal(came[0])


@contextlib.contextmanager
def _refused(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        if isinstance(error, InputError) or not is_refusal(error):
            raise
        said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(f"cannot write {folder}: {said}", FIX, "target") from error
