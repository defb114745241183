"""Faults at single file operations, as SQLite injects them: a run's life is played, and operation N kills it or fails.

Counted are all operations that change files: opening to write, writing, truncating, renaming, linking, removing, making
directories, syncing. A kill is `os._exit` in a process of its own: nothing is tidied up, as after SIGKILL.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import sys
from collections.abc import Callable
from typing import Any

OPERATIONS = ("replace", "rename", "unlink", "remove", "rmdir", "mkdir", "link", "fsync", "ftruncate", "truncate")


class Injector:
    """Counts file operations below a folder, and calls ``fault`` at number ``at`` (from 1)."""

    def __init__(self, folder: str, at: int, fault: Callable[[], None]) -> None:
        self._folder, self._at, self._fault = os.path.realpath(folder), at, fault
        self.count = 0
        self.log: list[str] = []

    def step(self, name: str, path: object) -> None:
        self.count += 1
        self.log.append(f"{name} {path}")
        if self.count == self._at:
            self._fault()

    def _ours(self, path: object) -> bool:
        if isinstance(path, int):
            try:
                path = os.readlink(f"/proc/self/fd/{path}")
            except OSError:
                return False
        try:
            return os.path.realpath(os.path.dirname(os.fspath(path)) or ".").startswith(self._folder)  # type: ignore[call-overload]
        except (TypeError, ValueError):
            return False

    def install(self) -> None:
        """Put the counting in the place of the operations; for the life of the process."""
        for name in OPERATIONS:
            setattr(os, name, self._wrapped(name, getattr(os, name)))
        self._wrap_open()

    def _wrapped(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def operation(path: Any, *args: Any, **kwargs: Any) -> Any:
            if self._ours(path):
                self.step(name, path)
            return real(path, *args, **kwargs)

        return operation

    def _wrap_open(self) -> None:
        real_open, real_os_open, real_fdopen = builtins.open, os.open, os.fdopen

        def opened(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            if set(mode) & set("wax+") and self._ours(file):
                self.step("open", file)
                return Writing(real_open(file, mode, *args, **kwargs), self, file)
            return real_open(file, mode, *args, **kwargs)

        def os_opened(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
            if flags & (os.O_WRONLY | os.O_RDWR) and self._ours(path):
                self.step("open", path)
            return real_os_open(path, flags, *args, **kwargs)

        def fd_opened(descriptor: int, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            file = real_fdopen(descriptor, mode, *args, **kwargs)
            return Writing(file, self, descriptor) if "w" in mode and self._ours(descriptor) else file

        builtins.open = io.open = opened  # type: ignore[assignment]
        os.open, os.fdopen = os_opened, fd_opened  # type: ignore[assignment]


class Writing:
    """A file whose writes are counted. A fault comes when half of the bytes are written, as a kill or a full disk does."""

    def __init__(self, file: Any, injector: Injector, path: object) -> None:
        self._file, self._injector, self._path = file, injector, path

    def write(self, data: Any) -> Any:
        half = len(data) // 2
        written = self._file.write(data[:half])
        self._file.flush()
        self._injector.step("write", self._path)
        return (written or 0) + self._file.write(data[half:])

    def __enter__(self) -> Writing:
        self._file.__enter__()
        return self

    def __exit__(self, *raised: Any) -> Any:
        return self._file.__exit__(*raised)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def kill() -> None:
    """End this process as SIGKILL does."""
    os._exit(99)


def fail(number: int = errno.ENOSPC) -> Callable[[], None]:
    """Raise what a full disk (or another fault) raises."""

    def raise_it() -> None:
        raise OSError(number, os.strerror(number))

    return raise_it


def in_child(play: Callable[[], Any], folder: str, at: int, fault: Callable[[], None]) -> tuple[int, int]:
    """Play in a forked process with a fault at operation ``at``; (exit code, operations counted).

    The exit code is 0 if it ended well, 99 after a kill, 2 after an `InputError`, and 1 after any other exception.
    """
    from se_nas.errors import InputError

    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        injector = Injector(folder, at, fault)
        try:
            injector.install()
            play()
            code = 0
        except InputError:
            code = 2
        except BaseException:
            import traceback

            traceback.print_exc(file=sys.stderr)
        finally:
            os.write(writer, str(injector.count).encode())
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader) as file:
        counted = file.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code, int(counted or 0)
