"""Time many networks side by side: in each round all of them once, in random order, so that what disturbs the machine hits all."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from se_nas.profiling.runtimes import Once

Floats = npt.NDArray[np.float64]

WARM_UP = 3
"""Runs of each network before any counts."""

VISIT = 2
"""Runs of a network in each round. The quicker one counts: the first finds caches full of another network."""

LEAST = 4
"""Rounds without which nothing is known."""


def run_rounds(
    calls: Sequence[Once], rounds: int, seed: int = 0, tell: Callable[[int, float], None] = lambda done, left: None
) -> tuple[Floats, bool]:
    """The times of each network in each round.

    Args:
        calls: one for each network.
        rounds: how many.
        seed: of the order.
        tell: hears after each round how many are done, and the seconds that the others will take.

    Returns:
        Seconds, shape (rounds, networks), and whether it was stopped by Ctrl-C: then they are those of whole rounds.

    Raises:
        KeyboardInterrupt: if that came before `LEAST` rounds.
    """
    rng = np.random.default_rng(seed)
    found: list[Floats] = []
    collecting = gc.isenabled()
    gc.disable()
    try:
        for call in calls:
            for _ in range(WARM_UP):
                call()
        start = time.perf_counter()
        for done in range(1, rounds + 1):
            row = np.zeros(len(calls))
            for index in rng.permutation(len(calls)):
                row[index] = min(calls[index]() for _ in range(VISIT))
            found.append(row)
            tell(done, (time.perf_counter() - start) / done * (rounds - done))
            gc.collect(0)
    except KeyboardInterrupt:
        if len(found) < LEAST:
            raise
        return np.array(found), True
    finally:
        if collecting:
            gc.enable()
    return np.array(found), False


def least(times: Floats) -> tuple[Floats, Floats]:
    """The least of all rounds, shape (networks,), and of every other round, shape (networks, 2)."""
    return times.min(0), np.stack([times[::2].min(0), times[1::2].min(0)], 1)
