"""Where Ray Tune keeps partial trainings: a directory of a random name, made by us and removed by us, and nothing beside it."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from se_nas.errors import InputError
from se_nas.files import refused, write_whole

NAME = re.compile(r"se-nas-[0-9a-f]{16}")
NOTE = "ray_storage.json"
"""File in the run's directory: which directory is ours, so that the next search removes it after a kill."""


@contextlib.contextmanager
def own_directory(run: Path, named: str) -> Iterator[str]:
    """A new directory in the storage, removed afterwards. The caller holds the run.

    Args:
        run: the run's directory, which is the storage where none is named.
        named: a directory or URI; "" for none.

    Raises:
        InputError: if the storage cannot be written.
    """
    note = run / NOTE
    _remove_last(note)
    place, question, options = named.partition("?") if "://" in named else (str((Path(named) if named else run).resolve()), "", "")
    storage = f"{place.rstrip('/')}/se-nas-{secrets.token_hex(8)}{question}{options}"
    with refused(run, "written"):
        write_whole(note, json.dumps({"storage": storage}))
    try:
        remove_mark(storage, write_mark(storage))
        yield storage
    finally:
        remove_tree(storage)
        note.unlink(missing_ok=True)


def _remove_last(note: Path) -> None:
    """Remove the directory of a search of this run that was killed."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        storage = json.loads(note.read_text(encoding="utf-8"))["storage"]
        if NAME.fullmatch(storage.partition("?")[0].rpartition("/")[2]):
            remove_tree(storage)


def write_mark(storage: str) -> str:
    """Write a small file into the storage, and return its name. The content is the name, too.

    Raises:
        InputError: if the storage cannot be written.
    """
    mark = f"probe-{secrets.token_hex(8)}"
    try:
        filesystem, path = filesystem_of(storage)
        filesystem.create_dir(path, recursive=True)
        with filesystem.open_output_stream(f"{path}/{mark}") as file:
            file.write(mark.encode())
        return mark
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be written: {error}", "take a directory or URI that can be written (--storage)", storage) from None


def remove_mark(storage: str, mark: str) -> None:
    """Delete the file of `write_mark`."""
    with contextlib.suppress(OSError):
        filesystem, path = filesystem_of(storage)
        filesystem.delete_file(f"{path}/{mark}")


def remove_tree(storage: str) -> None:
    """Delete a directory and everything in it, if it exists."""
    with contextlib.suppress(OSError, ValueError):
        filesystem, path = filesystem_of(storage)
        filesystem.delete_dir(path)


def filesystem_of(storage: str) -> tuple[Any, str]:
    """pyarrow's file system of a directory or URI, and the path there."""
    from pyarrow.fs import FileSystem, LocalFileSystem

    found: tuple[Any, str] = FileSystem.from_uri(storage) if "://" in storage else (LocalFileSystem(), storage)
    return found
