"""The append-only record of finished trials, one JSON line each. Needs no torch."""

from __future__ import annotations

import json
import os
from pathlib import Path

from se_nas.errors import InputError
from se_nas.run.trial import Trial


class Ledger:
    """``trials.jsonl``: each finished trial is one line, written and flushed to disk before anything goes on.

    A last line without its end of line was being written when the process died. Readers ignore it; `recover` sets it aside.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[Trial]:
        """The finished trials, in the order in which they ended.

        Raises:
            InputError: for a line that is damaged.
        """
        whole, _ = self._split()
        trials = []
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                trials.append(Trial.from_json(json.loads(line)))
            except (ValueError, TypeError, KeyError) as error:
                detail = error.problem if isinstance(error, InputError) else error
                raise InputError(
                    f"damaged line, not a trial: {detail}",
                    "restore the file, or delete that line and run its trial again with se-nas resume",
                    f"{self.path}, line {number}",
                ) from None
        return trials

    def append(self, trial: Trial) -> None:
        """Add one line; when this returns it is on disk."""
        line = json.dumps(trial.to_json(), allow_nan=False, separators=(",", ":")) + "\n"
        with self.path.open("ab") as file:
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())

    def recover(self) -> bool:
        """Move a torn last line to ``trials.jsonl.torn``; whether there was one. Only for the holder of the lock."""
        whole, torn = self._split()
        if torn:
            with self.path.with_suffix(".jsonl.torn").open("ab") as file:
                file.write(torn + b"\n")
            with self.path.open("r+b") as file:
                file.truncate(len(whole))
        return bool(torn)

    def _split(self) -> tuple[bytes, bytes]:
        """The whole lines, and what follows the last end of line."""
        data = self.path.read_bytes() if self.path.exists() else b""
        end = data.rfind(b"\n") + 1
        return data[:end], data[end:]
