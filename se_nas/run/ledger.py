"""The ledger: an append-only file of finished trials, one JSON line for each. Needs no torch."""

from __future__ import annotations

import json
import os
from pathlib import Path

from se_nas.errors import InputError
from se_nas.run.trial import Trial


class Ledger:
    """``trials.jsonl``: each finished trial is one line, flushed to disk before the search goes on.

    If the process dies while it writes, the last line has no line end. Readers ignore such a line; `recover` moves it away.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[Trial]:
        """The finished trials, in the order in which they ended.

        Raises:
            InputError: for a damaged line.
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
        """Add one trial. When this returns, the line is on disk."""
        line = json.dumps(trial.to_json(), allow_nan=False, separators=(",", ":")) + "\n"
        with self.path.open("ab") as file:
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())

    def recover(self) -> bool:
        """Move an incomplete last line to ``trials.jsonl.torn``, and return whether there was one. The caller holds the lock."""
        whole, torn = self._split()
        if torn:
            with self.path.with_suffix(".jsonl.torn").open("ab") as file:
                file.write(torn + b"\n")
            with self.path.open("r+b") as file:
                file.truncate(len(whole))
        return bool(torn)

    def _split(self) -> tuple[bytes, bytes]:
        """The complete lines, and what follows the last line end."""
        data = self.path.read_bytes() if self.path.exists() else b""
        end = data.rfind(b"\n") + 1
        return data[:end], data[end:]
