"""Latencies of a run's front, measured after the search: ``latency.json`` in its directory. Needs no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from se_nas.errors import InputError
from se_nas.files import refused, write_whole
from se_nas.reading import load_json
from se_nas.run.trial import is_finite

FILE = "latency.json"


@dataclass(frozen=True)
class Latencies:
    """What was measured, side by side.

    Attributes:
        plain: seconds of the plain backbone.
        seconds: architecture's id -> its seconds.
        floor: how far two halves of the rounds are apart, relative to a whole network.
        predicted_plain: what the profile says of the plain backbone: budgets are relative to it.
    """

    plain: float
    seconds: Mapping[str, float]
    floor: float
    predicted_plain: float

    def over(self, identity: str, limit: float) -> bool:
        """Whether a measured network is beyond a latency budget, by more than the measurement can be wrong.

        Args:
            identity: the architecture's id.
            limit: of the budget, in seconds of the profile.
        """
        measured = self.seconds.get(identity)
        return measured is not None and measured / self.plain > (limit / self.predicted_plain) * (1 + self.floor)

    def write(self, folder: Path) -> None:
        """Write them into a run's directory, whole or not at all."""
        with refused(folder, "written"):
            write_whole(folder / FILE, json.dumps(asdict(self), indent=1))


def read_latencies(folder: Path) -> Latencies | None:
    """Those of a run; None if there are none, or they are damaged (they can be measured again)."""
    if not (folder / FILE).is_file():
        return None
    try:
        found = Latencies(**load_json(folder / FILE))
        numbers = (found.plain, found.floor, found.predicted_plain, *found.seconds.values())
        return found if all(map(is_finite, numbers)) and found.plain > 0 < found.predicted_plain else None
    except (InputError, TypeError, AttributeError):
        return None
