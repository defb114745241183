"""What one more trial is worth: the hypervolume that it is expected to add.

A new architecture (`expected_improvement`): objectives that are known exactly stand beside those that a model predicts.

- One objective: expected improvement.
- Two: exact. The region above the front is cut into strips along the second objective; in each strip the expected gains of the
  two objectives multiply (Emmerich et al., 2011; Yang et al., 2019). For a known objective the expectation is its value.
- More: the mean, over random directions, of the furthest point reached along each (Deng and Zhang, 2019; Zhang and Golovin,
  2020). All architectures are compared on the same directions and draws.

A repeat (`worth_again`): a finished architecture on the front, tried again with another seed because noise hides which is
better. One more noisy trial moves the believed mean by less than the truth may be away: by a standard deviation of
s = v / sqrt(v + n), where v is the variance of the belief and n the variance of a trial's noise. This is the knowledge gradient
(Frazier et al., 2009, for one objective); Picheny et al. (2013) use it to weigh new points against repeats.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import ndtr, ndtri

from se_nas.goals.hypervolume import dominated_volume
from se_nas.strategies.domain.base import Floats, Ints
from se_nas.strategies.ranking import first_front

SURE = 5.0
"""Take the gain as 0 if a point is dominated even after adding this many standard deviations (the error is below 1e-7 of one)."""

DIRECTIONS, DRAWS = 96, 8
"""With more than two objectives: number of directions, and draws of the predicted objectives for each."""

OUTCOMES = 9
"""Outcomes of a repeat that are tried: the midpoints of this many equal parts of the normal distribution."""

MOST = 16
"""Look at this many members of the front at most: the most uncertain ones."""


def expected_improvement(means: Floats, deviations: Sequence[Floats | None], front: Floats) -> Floats:
    """Expected growth of the volume between the origin and the front, for each new architecture; shape (n,).

    Args:
        means: expected gains over the reference point, larger is better, shape (n, objectives).
        deviations: their standard deviations, shape (n,) for each objective; None for a known one.
        front: gains of the finished architectures, shape (points, objectives).
    """
    front = front[(front > 0).all(1)]
    if means.shape[1] == 1:
        return expected_gain(means[:, 0], deviations[0], np.array([front.max(initial=0.0)]))[:, 0]
    if means.shape[1] == 2:
        return _by_strips(means, deviations, front)
    return _by_directions(means, deviations, front)


def expected_gain(mean: Floats, deviation: Floats | None, levels: Floats) -> Floats:
    """E[max(y - level, 0)] for a normal y, shape (n, levels). Without a deviation, y is the mean itself."""
    over: Floats = mean[:, None] - levels
    if deviation is None:
        return np.maximum(over, 0)
    s = deviation[:, None]
    u = over / s
    gain: Floats = s * (u * ndtr(u) + np.exp(-0.5 * u * u) / math.sqrt(2 * math.pi))
    return gain


def _by_strips(means: Floats, deviations: Sequence[Floats | None], front: Floats) -> Floats:
    levels, edges = [0.0], []
    for first, second in front[np.lexsort((-front[:, 0], -front[:, 1]))].tolist():  # the best in the second objective first
        if first > levels[-1]:
            levels.append(first)
            edges.append(second)
    total = np.zeros(len(means))
    reach = [means[:, i] + (0 if deviations[i] is None else SURE * deviations[i]) for i in range(2)]  # type: ignore[operator]
    beaten = len(edges) - np.searchsorted(np.array(edges[::-1]), reach[1])  # number of points as good in the second objective
    some = np.flatnonzero((reach[0] > np.array(levels)[beaten]) & (reach[1] > 0))
    means, deviations = means[some], [None if deviation is None else deviation[some] for deviation in deviations]
    above = expected_gain(means[:, 1], deviations[1], np.array([*edges, 0.0]))  # gain above the lower edge of each strip
    width = np.diff(above, axis=1, prepend=0.0)
    total[some] = (width * expected_gain(means[:, 0], deviations[0], np.array(levels))).sum(1)
    return total


def _by_directions(means: Floats, deviations: Sequence[Floats | None], front: Floats) -> Floats:
    objectives = means.shape[1]
    rng = np.random.default_rng(0)
    directions = np.abs(rng.standard_normal((DIRECTIONS, objectives)))
    directions = np.maximum(directions / np.linalg.norm(directions, axis=1, keepdims=True), 1e-3)
    draws = ndtri((rng.permuted(np.tile(np.arange(DRAWS), (objectives, 1)), axis=1) + 0.5) / DRAWS)  # one draw of each of DRAWS equal parts
    scale = np.maximum(front.max(0, initial=0.0), 1e-12) if len(front) else np.maximum(means.max(0), 1e-12)
    total = np.zeros(len(means))
    samples = [
        [means[:, i] / scale[i] + (0 if deviation is None else deviation / scale[i] * draw[i]) for i, deviation in enumerate(deviations)]
        for draw in draws.T
    ]
    for direction in directions:
        reached = ((front / scale) / direction).min(1).max(initial=0.0) ** objectives
        for sample in samples:
            far = np.minimum.reduce([values / part for values, part in zip(sample, direction, strict=True)])
            total += np.maximum(np.maximum(far, 0) ** objectives - reached, 0)
    return total / (DIRECTIONS * DRAWS)


def moves(deviations: Sequence[Floats | None], noise: Sequence[float]) -> list[Floats | None]:
    """How far one more trial is expected to move each believed mean.

    Args:
        deviations: standard deviation of the belief, shape (n,) for each objective; None for a known one.
        noise: standard deviation of a trial's noise, for each objective.

    Returns:
        Standard deviations, shape (n,) for each objective; None for a known one.
    """
    return [None if v is None else v**2 / np.sqrt(v**2 + n**2 + 1e-300) for v, n in zip(deviations, noise, strict=True)]


def worth_again(means: Floats, moved: Sequence[Floats | None], allowed: Ints) -> tuple[int, float]:
    """Which finished architecture is most worth another trial, and how much volume that trial is expected to add.

    Args:
        means: believed gains, shape (n, objectives).
        moved: result of `moves` for the allowed ones, shape (allowed,) for each objective.
        allowed: indices that may be tried again; those not on the front are skipped.

    Returns:
        (index, volume), or (-1, 0.0) if no repeat is worth anything.
    """
    front = first_front(-means)
    some = [place for place, i in enumerate(allowed) if front[i] and (means[i] > 0).all()]
    spread = np.sum([np.zeros(len(allowed)) if move is None else move for move in moved], 0)
    here, draws = dominated_volume(means[front].tolist()), ndtri((np.arange(OUTCOMES) + 0.5) / OUTCOMES)
    best, most = -1, 0.0
    for place in sorted(some, key=lambda place: -spread[place])[:MOST]:
        i = int(allowed[place])
        others = np.delete(means, i, 0)
        left, steps = others[first_front(-others)].tolist(), np.array([0.0 if move is None else move[place] for move in moved])
        gain = float(np.mean([dominated_volume([*left, (means[i] + draw * steps).tolist()]) for draw in draws])) - here
        if gain > most:
            best, most = i, gain
    return best, most
