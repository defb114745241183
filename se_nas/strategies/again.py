"""Whether to try what is on the front again, with another seed, rather than something new: where noise hides which is better.

Both are worth what one more trial is expected to add to the volume of what is then believed: the front of posterior means.
A trial's noise keeps that belief from moving as far as the truth may be away: by s = v / sqrt(v + n), where v is the variance of
what is believed and n that of a trial's noise (the knowledge gradient with noise of Frazier et al., 2009, for one objective;
Picheny et al., 2013, weigh new points and repeats alike by it).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import ndtri

from se_nas.goals.hypervolume import dominated_volume
from se_nas.strategies.domain import Floats, Ints

DRAWS = 9
"""Of what another trial may say: middles of ninths of the normal distribution."""

MOST = 16
"""Members of the front that are looked into, the least certain."""


def moves(deviations: Sequence[Floats | None], noise: Sequence[float]) -> list[Floats | None]:
    """How far one more trial is expected to move each mean: standard deviations, shape (n,) for each objective; None where known."""
    return [None if v is None else v**2 / np.sqrt(v**2 + n**2 + 1e-300) for v, n in zip(deviations, noise, strict=True)]


def worth_again(means: Floats, moved: Sequence[Floats | None], allowed: Ints) -> tuple[int, float]:
    """Which of what is finished is most worth another trial, and how much volume that is expected to add.

    Args:
        means: gains believed, shape (n, objectives).
        moved: see `moves`.
        allowed: places that may be tried again; those that are not on the front are not.

    Returns:
        Its place and the volume; (-1, 0.0) if there is none.
    """
    by = np.asarray((means[:, None] <= means[None]).all(2) & (means[:, None] < means[None]).any(2))  # who is dominated by whom
    times = by.sum(1)
    front = [int(i) for i in allowed if times[i] == 0 and (means[i] > 0).all()]
    spread = np.sum([np.zeros(len(means)) if move is None else move for move in moved], 0)
    here, draws = dominated_volume(means[times == 0].tolist()), ndtri((np.arange(DRAWS) + 0.5) / DRAWS)
    best, most = -1, 0.0
    for i in sorted(front, key=lambda i: -spread[i])[:MOST]:
        left = times == by[:, i]  # the front without it
        left[i] = False
        others, steps = means[left].tolist(), np.array([0.0 if move is None else move[i] for move in moved])
        gain = float(np.mean([dominated_volume([*others, (means[i] + draw * steps).tolist()]) for draw in draws])) - here
        if gain > most:
            best, most = i, gain
    return best, most
