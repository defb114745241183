"""Time many networks side by side: in each round all of them once, in random order, so that what disturbs the machine hits all."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from se_nas.profiling.runtimes import Once, Renewed

Floats = npt.NDArray[np.float64]

WARM_UP = 3
"""Runs of each network before any counts."""

VISIT = 2
"""Runs of a network in each round. The quicker one counts: the first finds caches full of another network."""

LONG = 0.05
"""Seconds of a run from which on one visit will do: what the caches hold when it begins is soon replaced."""

QUARTER = 0.25
"""Share of the rounds that are quicker than what counts."""

BLOCK = 5
"""Rounds after which networks that can be are set up anew. Blocks in turn make the two halves that are held against each other."""

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
        visits = VISIT if _warm_up(calls) < LONG else 1
        start = time.perf_counter()
        for done in range(1, rounds + 1):
            if done > 1 and done % BLOCK == 1:
                for call in [call for call in calls if isinstance(call, Renewed)]:
                    call.renew()
                    _warm_up([call])
            row = np.zeros(len(calls))
            for index in rng.permutation(len(calls)):
                row[index] = min(calls[index]() for _ in range(visits))
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


def undisturbed(times: Floats) -> tuple[Floats, Floats]:
    """What each network takes when little disturbs it, shape (networks,), and the same of every other block of rounds, (networks, 2).

    Times are taken relative to the median of their round, because whole rounds are slower than others. Of each network the
    lower quarter counts: on a quiet machine as good as the least, and on a busy one the least is an accident.
    """
    medians = np.median(times, 1)
    relative, scale = times / medians[:, None], np.quantile(medians, QUARTER)
    second = np.arange(len(times)) // min(BLOCK, len(times) // 2) % 2 == 1
    whole, *halves = (scale * np.quantile(rows, QUARTER, 0) for rows in (relative, relative[~second], relative[second]))
    return whole, np.stack(halves, 1)


def _warm_up(calls: Sequence[Once]) -> float:
    """Run each network a few times; returns the median of their times, in seconds."""
    return float(np.median([min(call() for _ in range(WARM_UP)) for call in calls]))
