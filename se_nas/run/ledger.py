"""The ledger: an append-only file of finished trials, one JSON line for each. Needs no torch."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from se_nas.errors import InputError
from se_nas.files import read_bytes, refused, sync, write_whole
from se_nas.reading import parse_json
from se_nas.run.trial import SCHEMA, Trial
from se_nas.text import cut

_SUM = b',"sum":"'
_TAIL = len(_SUM) + 16 + len(b'"}')
LINE = 2**20
"""Bytes of the longest line that is read as a trial."""


@dataclass(frozen=True)
class Line:
    """One line of a ledger.

    Attributes:
        number: in the file, from 1.
        trial: what it says; None if it is damaged.
        damage: why it is no trial; "" if it is one.
    """

    number: int
    trial: Trial | None
    damage: str = ""


class Ledger:
    """``trials.jsonl``: each finished trial is one line, flushed to disk before the search goes on.

    A line ends with a checksum of all before it (lines of schema 1, of an earlier se-nas, have none), and its ``id`` is a digest
    of its architecture. If the process dies while it writes, the last line has no line end. Readers ignore such a line; `recover`
    moves it away.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[Trial]:
        """The finished trials, in the order in which they ended.

        Raises:
            InputError: for a damaged line, or a file that cannot be read.
        """
        trials = []
        for line in self.lines():
            if line.trial is None:
                raise InputError(
                    f"damaged line, not a trial: {line.damage}",
                    "restore the file, or delete that line and run its trial again with se-nas resume",
                    f"{self.path}, line {line.number}",
                )
            trials.append(line.trial)
        return trials

    def lines(self) -> Iterator[Line]:
        """All whole lines, damaged ones too.

        Raises:
            InputError: if the file cannot be read.
        """
        with refused(self.path):
            whole, _ = self._split()
        seen: dict[int, int] = {}
        for number, text in enumerate(whole.split(b"\n")[:-1], 1):
            try:
                trial = parse_line(text)
                if trial.number in seen:
                    raise ValueError(f"trial {trial.number} stands in line {seen[trial.number]} already")
            except (ValueError, TypeError, KeyError) as error:
                detail = error.problem if isinstance(error, InputError) else f"no {error}" if isinstance(error, KeyError) else str(error)
                yield Line(number, None, cut(detail, 200))
            else:
                seen[trial.number] = number
                yield Line(number, trial)

    def append(self, trial: Trial) -> None:
        """Add one trial. When this returns, the line is on disk; after an OSError nothing of it is there, after Ctrl-C all or nothing."""
        line = format_line(trial)
        new = not self.path.exists()
        with self.path.open("ab") as file:
            end = file.seek(0, os.SEEK_END)
            try:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
            except BaseException as error:
                with contextlib.suppress(OSError):
                    if isinstance(error, OSError) or os.fstat(file.fileno()).st_size < end + len(line):
                        os.ftruncate(file.fileno(), end)
                raise
        if new:
            sync(self.path.parent)

    def write(self, trials: Iterable[Trial]) -> None:
        """Write a whole ledger at once, or nothing.

        Raises:
            OSError: if the system refuses.
        """
        write_whole(self.path, b"".join(map(format_line, trials)))

    def recover(self) -> bool:
        """Move an incomplete last line to ``trials.jsonl.torn``, and return whether there was one. The caller holds the run."""
        whole, torn = self._split()
        if torn:
            with self.path.with_suffix(".jsonl.torn").open("ab") as file:
                file.write(torn + b"\n")
                file.flush()
                os.fsync(file.fileno())
            with self.path.open("r+b") as file:
                file.truncate(len(whole))
                os.fsync(file.fileno())
        return bool(torn)

    def _split(self) -> tuple[bytes, bytes]:
        """The complete lines, and what follows the last line end."""
        try:
            data = read_bytes(self.path)
        except FileNotFoundError:
            data = b""
        end = data.rfind(b"\n") + 1
        return data[:end], data[end:]


def format_line(trial: Trial) -> bytes:
    """The line of a trial, its end included."""
    text = json.dumps(trial.to_json(), allow_nan=False, separators=(",", ":")).encode()[:-1]
    return text + _SUM + checksum(text) + b'"}\n'


def parse_line(line: bytes) -> Trial:
    """Inverse of `format_line`, for a line without its end.

    Raises:
        ValueError, TypeError, KeyError: for anything else, and for a line that is not as it was written.
    """
    if len(line) > LINE:
        raise ValueError(f"it has {len(line):,} bytes")
    data = parse_json(line)
    if not isinstance(data, dict):
        raise ValueError("it holds no mapping")
    text, tail = line[:-_TAIL], line[-_TAIL:]
    summed = tail.startswith(_SUM) and tail.endswith(b'"}')
    if summed and tail[len(_SUM) : -2] != checksum(text):
        raise ValueError("its checksum differs: it is not as it was written")
    if not summed and ("sum" in data or data.get("schema") == SCHEMA):
        raise ValueError("its checksum is not at its end: it is not as it was written")
    data.pop("sum", None)
    return Trial.from_json(data)


def checksum(text: bytes) -> bytes:
    """Of a line: 16 hexadecimal digits."""
    return hashlib.sha256(text).hexdigest()[:16].encode()
