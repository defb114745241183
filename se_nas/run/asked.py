"""Trials that were asked for from outside and not told yet: ``asked.json`` in the run's directory. Needs no torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from se_nas.errors import InputError
from se_nas.files import read_bytes, refused, write_whole

FILE = "asked.json"

SCHEMA = 1
"""Version of this file, and of what ``se-nas ask`` prints."""


@dataclass(frozen=True)
class Asked:
    """One trial that is out.

    Attributes:
        job: as `se_nas.engines.plan.Job.to_json` gives it; ``number`` is the trial's.
        until: when it is asked again if nobody has told it, in seconds since 1970.
        times: how often it was asked.
    """

    job: Mapping[str, Any]
    until: float
    times: int = 1

    @property
    def number(self) -> int:
        return int(self.job["number"])


def read_asked(directory: Path, finished: Iterable[int]) -> list[Asked]:
    """The trials that are out, in the order in which they were first asked; those in the ledger are out no longer.

    Raises:
        InputError: for a file that is damaged or cannot be read.
    """
    path = directory / FILE
    if not path.exists():
        return []
    with refused(path):
        text = read_bytes(path)
    try:
        data = json.loads(text)
        if data["schema"] > SCHEMA:
            raise ValueError(f"written by a newer se-nas (schema {data['schema']}, this one reads {SCHEMA})")
        every = [Asked(dict(each["job"]), float(each["until"]), int(each["times"])) for each in data["asked"]]
        told = set(finished)
        return [each for each in every if each.number not in told]
    except (ValueError, TypeError, KeyError) as error:
        fix = "delete the file; trials that are out are then asked again"
        raise InputError(f"damaged: {type(error).__name__} {error}", fix, str(path)) from None


def write_asked(directory: Path, out: Iterable[Asked]) -> None:
    """Write the trials that are out, whole or not at all; the caller holds the run's lock.

    Raises:
        OSError: if the system refuses.
    """
    write_whole(directory / FILE, json.dumps({"schema": SCHEMA, "asked": [asdict(each) for each in out]}))
