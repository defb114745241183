"""Tensors kept for later trials: in memory within a limit, otherwise in a temporary file that disappears with the process."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Hashable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any

import torch
from torch import Tensor

from se_nas.errors import InputError
from se_nas.evaluate.calls import Output
from se_nas.evaluate.memory import free_memory
from se_nas.evaluate.students import Key

GB = 10**9
SHARE = 4
"""By default a quarter of the memory that is free without what is kept."""
STEP = 64 * 2**20
"""Bytes after which free memory is looked up again."""
DISK = 2
"""At most half of the disk that is free without what is kept."""

Tensors = Mapping[Output, Tensor]


@dataclass(frozen=True)
class Piece:
    """A tensor in the file."""

    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device


Group = tuple[str, tuple[Hashable, ...]]
"""What computed the tensors (a digest), and for which block."""


class Kept:
    """What was computed of batches, by whoever computed it.

    When the memory is full, what saves more seconds a byte takes the place of what saves less, and this block's the place of
    another's. What has no place goes into the file, if reading it takes less time than computing it. A pickle or deep copy of
    it is empty.

    Args:
        limit: GB of memory; 0 keeps nothing, None a quarter of what is free.
        patience: how many times as long as computing reading from the file may take.
    """

    def __init__(self, limit: float | None = None, patience: float = 1.0) -> None:
        self.limit, self.patience = limit, patience
        self._memory: dict[Group, dict[Hashable, Tensors]] = {}
        self._pieces: dict[tuple[str, Key], dict[Output, Piece]] = {}
        self._worth: dict[str, float] = {}  # seconds a byte
        self._quick: dict[str, bool] = {}
        self._refused: set[Group] = set()
        self._file: IO[bytes] | None = None
        self._said, self._unsaid = set[str](), list[str]()
        self._share, self._looked = 0.0, -STEP
        self.in_memory = self.on_disk = self.found = 0

    def __reduce__(self) -> Any:
        return type(self), (self.limit, self.patience)

    def __contains__(self, both: tuple[str, Key]) -> bool:
        digest, key = both
        return key.place in self._memory.get((digest, key.block), ()) or both in self._pieces

    def takes(self, digest: str, key: Key) -> bool:
        """Whether there was room so far for what is like this."""
        return self.limit != 0 and (digest, key.block) not in self._refused

    def get(self, digest: str, key: Key) -> Tensors:
        """What was kept; the tensors are not to be changed."""
        self.found += 1
        held = self._memory.get((digest, key.block), {}).get(key.place)
        return self._read(self._pieces[digest, key]) if held is None else held

    def put(self, digest: str, key: Key, tensors: Tensors, seconds: float) -> bool:
        """Keep tensors if there is room. Returns whether there was.

        Args:
            digest: of what computed them.
            key: of what batch.
            tensors: all on one device.
            seconds: that computing them took.
        """
        device = next((tensor.device for tensor in tensors.values()), torch.device("cpu"))
        own = {output: _without_surroundings(tensor) for output, tensor in tensors.items()}
        size = sum(tensor.nbytes for tensor in own.values())
        worth = self._worth.setdefault(digest, seconds / max(1, size))
        if self._make_room(size, device, (True, worth), key.block):
            self._memory.setdefault((digest, key.block), {})[key.place] = own
            self.in_memory += size
            return True
        self.say(f"the memory for activations is full ({_size(self.in_memory)}); further ones go to disk if reading them is quicker")
        if self._quick.get(digest, True) and self._write(digest, key, own, size, seconds):
            return True
        self._refused.add((digest, key.block))
        return False

    def _make_room(self, size: int, device: torch.device, rank: tuple[bool, float], block: tuple[Hashable, ...]) -> bool:
        def rank_of(group: Group) -> tuple[bool, float]:
            return group[1] in ((), block), self._worth[group[0]]

        while self.in_memory + size > self._most(device):
            last = min(self._memory, key=rank_of, default=None)
            if last is None or rank_of(last) >= rank:
                return False
            _, tensors = self._memory[last].popitem()
            self.in_memory -= sum(tensor.nbytes for tensor in tensors.values())
            if not self._memory[last]:
                del self._memory[last]
        return True

    def _most(self, device: torch.device) -> float:
        if self.limit is not None:
            return self.limit * GB
        if abs(self.in_memory - self._looked) >= STEP:
            free, self._looked = free_memory(device), self.in_memory
            self._share = (free + self.in_memory) / SHARE if free else GB
        return self._share

    def drop(self, digest: str) -> None:
        """Forget what was computed so."""
        for group in [group for group in self._memory if group[0] == digest]:
            self.in_memory -= sum(tensor.nbytes for tensors in self._memory.pop(group).values() for tensor in tensors.values())
        self._pieces = {both: pieces for both, pieces in self._pieces.items() if both[0] != digest}

    def give_up(self, reason: str) -> bool:
        """Keep nothing from now on. Returns whether there was something in memory."""
        there = bool(self._memory)
        self.limit, self.in_memory = 0, 0
        self._memory.clear()
        if there:
            self.say(f"activations are no longer kept: {reason}")
        return there

    # The file. It has no name from the beginning, so that nothing stays however the process ends.

    def _write(self, digest: str, key: Key, tensors: Tensors, size: int, seconds: float) -> bool:
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="se-nas-cached-")  # noqa: SIM115
            if self.on_disk + size > (shutil.disk_usage(tempfile.gettempdir()).free + self.on_disk) / DISK:
                self.say(f"the disk for activations is full ({_size(self.on_disk)}): further ones are not kept")
                return False
            offset, pieces = self._file.seek(0, os.SEEK_END), dict[Output, Piece]()
            for output, tensor in tensors.items():
                pieces[output] = Piece(offset, tuple(tensor.shape), tensor.stride(), tensor.dtype, tensor.device)
                offset += self._file.write(_bytes(tensor.cpu()))
            self._file.flush()
            if digest not in self._quick:
                self._quick[digest] = self._reading(pieces) <= self.patience * seconds
        except OSError as error:
            self._quick[digest] = False
            self.say(f"activations are not kept on disk: {error.strerror or error}")
        if not self._quick[digest]:
            return False
        self._pieces[digest, key] = pieces
        self.on_disk += size
        return True

    def _reading(self, pieces: Mapping[Output, Piece]) -> float:
        """Seconds that reading takes, from the disk itself where the system lets us."""
        assert self._file is not None
        with suppress(AttributeError, OSError):
            os.fsync(self._file.fileno())
            os.posix_fadvise(self._file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        began = time.perf_counter()
        self._read(pieces)
        return time.perf_counter() - began

    def _read(self, pieces: Mapping[Output, Piece]) -> Tensors:
        assert self._file is not None
        found = {}
        for output, piece in pieces.items():
            tensor = torch.empty_strided(piece.shape, piece.stride, dtype=piece.dtype)
            self._file.seek(piece.offset)
            self._file.readinto(_bytes(tensor))  # type: ignore[attr-defined]
            found[output] = tensor.to(piece.device)
        return found

    # What is said.

    def say(self, text: str) -> None:
        """Say something, once."""
        if text.partition("(")[0] not in self._said:
            self._said.add(text.partition("(")[0])
            self._unsaid.append(text)

    def notes(self) -> list[str]:
        """What was said since it was last asked."""
        said, self._unsaid = self._unsaid, []
        return said

    def summary(self) -> list[str]:
        """How much is kept, and how often it was of use; empty if nothing is."""
        if not self.in_memory and not self.on_disk:
            return []
        return [f"activations kept: {_size(self.in_memory)} in memory, {_size(self.on_disk)} on disk; {self.found} batches began with them"]


def check_cache(limit: float | None, device: torch.device) -> None:
    """Raise unless the device has so many GB of memory free.

    Raises:
        InputError: if not; its source is ``cache``.
    """
    free = free_memory(device)
    if limit is not None and free and limit * GB > free:
        fix = "take less (the rest goes to disk), or leave it out for a quarter of what is free"
        raise InputError(f"{limit:g} GB are more than the {_size(free)} of memory that are free on {device}", fix, "cache")


def _without_surroundings(tensor: Tensor) -> Tensor:
    """A tensor that is small in a large storage, or whose elements lie apart, as one of its own."""
    dense = torch.empty_like(tensor, device="meta").stride() == tensor.stride()
    return tensor if dense and tensor.untyped_storage().nbytes() == tensor.nbytes else tensor.clone()


def _bytes(tensor: Tensor) -> memoryview:
    """The memory of a dense tensor on the CPU, whatever its strides and type."""
    storage = tensor.untyped_storage()
    flat = torch.empty(0, dtype=torch.uint8).set_(storage, tensor.storage_offset() * tensor.itemsize, (tensor.nbytes,))  # type: ignore[call-overload]
    return memoryview(flat.numpy())


def _size(size: float) -> str:
    return f"{size / GB:.1f} GB" if size >= GB else f"{size / 10**6:.1f} MB"
