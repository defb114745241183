"""Measure the front of a search whose latencies were predicted, on the machine that the profile is of."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from se_nas.latency.fingerprint import differences, fingerprint
from se_nas.profiling.profile import time_networks
from se_nas.profiling.rounds import least
from se_nas.profiling.runtimes import How
from se_nas.run.latency import Latencies
from se_nas.space.budget import LATENCY

if TYPE_CHECKING:
    from se_nas.run.run import Run
    from se_nas.space.space import SearchSpace

ROUNDS = 15
MOST = 12
"""Architectures of the front that are measured, the best of the first objective among them."""


def measure_front(run: Run, space: SearchSpace, tell: Callable[[str], None] = lambda text: None) -> Latencies | None:
    """Measure the front and the plain backbone side by side, and keep that in the run's directory.

    Returns:
        What was measured; None if the search had no profile, or one of another machine.
    """
    cost = space.costs.get(LATENCY)
    if cost is None or not cost.origin or not run.front.front:
        return None
    words = cost.origin["how"]
    how = How(**words)
    if differences(cost.origin["machine"], fingerprint(how.device, how.runtime)):
        return None
    front = run.front
    entries = sorted(front.front, key=lambda entry: front.trade.loss(front.objectives, entry.values))[:MOST]
    references = [entry.architecture for entry in front.references.values()]
    chosen = list(dict.fromkeys([space.reference("plain"), *(entry.architecture for entry in entries), *references]))
    times, _ = time_networks(space, chosen, how, ROUNDS, 0, tell)
    whole, halves = least(times)
    floor = float(np.mean(np.abs(halves[:, 0] - halves[:, 1]) / halves[:, 1]))
    seconds = {architecture.id: float(each) for architecture, each in zip(chosen, whole, strict=True)}
    found = Latencies(float(whole[0]), seconds, floor, float(cost.value(cost.adds.plain)))
    found.write(run.path)
    return found
