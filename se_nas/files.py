"""Files of a person: written whole or not at all, held against other processes, and what the system refuses said in one line.

A file is written under a name of our own (`.se-nas-RANDOM.tmp`) beside its place, synced, and moved there; then the directory is
synced. The name is removed whatever happens. After a kill or a power cut it is left over; `sweep` knows, by the lock on it, that
nobody writes it any more.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from se_nas.errors import InputError

try:
    import fcntl as _fcntl
except ImportError:  # not a POSIX system: nothing is held there, and nothing swept
    _fcntl = None  # type: ignore[assignment]

fcntl: Any = _fcntl

OWN = re.compile(r"\.se-nas-[0-9a-f]{16}\.tmp")
"""Names of our own: no person's file is called so."""

LARGEST = 256 * 2**20
"""Bytes of the largest text that is read. A ledger line takes about 1,000."""

_UNSUPPORTED = (errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)
"""How file systems say that they cannot lock this (network file systems: a directory)."""


def own_name() -> str:
    """A new name of our own."""
    return f".se-nas-{secrets.token_hex(8)}.tmp"


# What the system says.


def refusal(error: BaseException, path: str | Path, verb: str = "read", fix: str = "") -> InputError:
    """What the system said about a path, as one line: ``runs/a: cannot be read: Permission denied; check the path``."""
    name = getattr(error, "filename", None)
    named = os.fsdecode(name) if isinstance(name, (str, bytes)) else ""
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    beside = f" ({named})" if named and named != str(path) and not OWN.search(named) else ""
    fixes = {"read": "check the path and its permissions", "written": "make room, check its permissions, or take another place"}
    return InputError(f"cannot be {verb}: {said}{beside}", fix or fixes[verb], str(path))


def is_refusal(error: BaseException) -> bool:
    """Whether an exception is the system's word about a path: of the system itself, or of a name that no path can have."""
    return isinstance(error, OSError) or (isinstance(error, ValueError) and ("null" in str(error) or isinstance(error, UnicodeEncodeError)))


@contextlib.contextmanager
def refused(path: str | Path, verb: str = "read", fix: str = "") -> Iterator[None]:
    """Turn what the system says into an `InputError` with the path."""
    try:
        yield
    except (OSError, ValueError) as error:
        if isinstance(error, InputError) or not is_refusal(error):
            raise
        raise refusal(error, path, verb, fix) from None


# Reading.


@contextlib.contextmanager
def opened(path: str | Path) -> Iterator[BinaryIO]:
    """A regular file, open to be read. Anything else (a pipe, a device, a directory) is an OSError at once, and is not waited for."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        yield file


def read_bytes(path: str | Path, largest: int = LARGEST) -> bytes:
    """The content of a file or pipe.

    Raises:
        OSError: if it cannot be read, or holds more than ``largest`` bytes.
    """
    parts, left = [], largest
    with open(path, "rb") as file:
        while part := file.read(2**20):
            parts.append(part)
            left -= len(part)
            if left < 0:
                raise OSError(errno.EFBIG, f"it holds more than {largest:,} bytes", str(path))
    return b"".join(parts)


# Writing.


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write. When the block ends it takes the place of ``path``, whole and on disk; after any error nothing has changed.

    A link at ``path`` is replaced itself, and what it points to stays as it is. Its mode follows the umask.

    Raises:
        OSError: if the system refuses.
    """
    part, descriptor = _own_file(path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.replace(part, path)
        sync(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise


def _own_file(folder: Path) -> tuple[Path, int]:
    """A new file under a name of our own, held; again if a sweep took it before it was held."""
    while True:
        path = folder / own_name()
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0), 0o666)
        try:
            if _hold_if_possible(descriptor) and path.exists():
                return path, descriptor
        except BaseException:
            path.unlink(missing_ok=True)
            os.close(descriptor)
            raise
        os.close(descriptor)


def write_whole(path: Path, content: bytes | str) -> None:
    """Write a file whole or not at all, see `replacing`.

    Raises:
        OSError: if the system refuses.
    """
    with replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def sync(directory: Path) -> None:
    """Bring the names in a directory to disk. Some file systems cannot; then there is nothing to do."""
    with contextlib.suppress(PermissionError):  # one that may be written and not listed
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
        finally:
            os.close(descriptor)


def make_directory(path: Path) -> list[Path]:
    """Make a directory and its parents, on disk; those that were made, the outermost first.

    Raises:
        OSError: if the system refuses; then none is left.
    """
    missing: list[Path] = []
    at = path
    while not at.exists():
        missing.insert(0, at)
        if at == at.parent:
            break
        at = at.parent
    made: list[Path] = []
    try:
        for each in missing:
            with contextlib.suppress(FileExistsError):
                each.mkdir()
                made.append(each)
                sync(each.parent)
        if not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    except BaseException:
        remove_empty(made)
        raise
    return made


def remove_empty(directories: list[Path]) -> None:
    """Remove those of these directories that are empty, the last first."""
    for each in reversed(directories):
        with contextlib.suppress(OSError):
            each.rmdir()


# Holding.


def hold(descriptor: int) -> bool:
    """Lock an open file or directory until it is closed, or the process ends. False if another holds it.

    Raises:
        OSError: if the file system cannot lock it.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _hold_if_possible(descriptor: int) -> bool:
    try:
        return hold(descriptor)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        return True


@contextlib.contextmanager
def held(folder: Path, instead: str) -> Iterator[bool]:
    """Hold a directory against other processes; yields whether it is ours. Nothing in it can be removed to get past that.

    Args:
        folder: the directory.
        instead: a file in it, held where the file system cannot lock a directory; made if need be.

    Raises:
        OSError: if the directory cannot be opened.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            ours = hold(descriptor)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            os.close(descriptor)
            descriptor = os.open(folder / instead, os.O_RDWR | os.O_CREAT, 0o666)
            ours = hold(descriptor)
        _HELD.add(descriptor)
        yield ours
    finally:
        _HELD.discard(descriptor)
        os.close(descriptor)


_HELD: set[int] = set()


def _let_go() -> None:
    """In a forked process: what its parent holds must not stay held when the parent is killed."""
    for descriptor in _HELD:
        os.close(descriptor)
    _HELD.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


def sweep(folder: Path) -> None:
    """Remove what writers that were killed have left in a folder: names of our own that nobody holds."""
    if fcntl is None:
        return
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if OWN.fullmatch(name):
                _sweep(folder / name)


def _sweep(path: Path) -> None:
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            if not hold(descriptor):
                return
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                shutil.rmtree(path)
            else:
                path.unlink()
        finally:
            os.close(descriptor)
