"""Expected hypervolume improvement, with objectives that are known exactly beside those that are predicted.

Of two objectives it is exact: the volume above the front is cut into strips along the second objective, and in each the
expected gains of the two multiply (Emmerich et al., 2011; Yang et al., 2019); a known objective's expectation is its value.
One objective is expected improvement. Of more, the volume is the mean, over directions, of the furthest point reached along
each (Deng and Zhang, 2019; Zhang and Golovin, 2020): the same directions and the same draws for all architectures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import ndtr, ndtri

from se_nas.strategies.domain import Floats

SURE = 5.0
"""What is dominated even when raised by so many deviations is expected to add nothing (it is less than 1e-7 of them)."""

DIRECTIONS = 96
DRAWS = 8
"""Of the predicted objectives, for each direction, where there are more than two objectives."""


def expected_improvement(means: Floats, deviations: Sequence[Floats | None], front: Floats) -> Floats:
    """How much the volume between the origin and the front is expected to grow by each architecture, shape (n,).

    Args:
        means: gains over the reference point, more being better, shape (n, objectives).
        deviations: of each objective, shape (n,); None where it is known.
        front: gains of what is there already, shape (points, objectives).
    """
    front = front[(front > 0).all(1)]
    if means.shape[1] == 1:
        return expected_gain(means[:, 0], deviations[0], np.array([front.max(initial=0.0)]))[:, 0]
    if means.shape[1] == 2:
        return _by_strips(means, deviations, front)
    return _by_directions(means, deviations, front)


def expected_gain(mean: Floats, deviation: Floats | None, levels: Floats) -> Floats:
    """E[max(y - level, 0)] of a normal y (without deviation: of y itself), shape (n, levels)."""
    over: Floats = mean[:, None] - levels
    if deviation is None:
        return np.maximum(over, 0)
    s = deviation[:, None]
    u = over / s
    gain: Floats = s * (u * ndtr(u) + np.exp(-0.5 * u * u) / math.sqrt(2 * math.pi))
    return gain


def _by_strips(means: Floats, deviations: Sequence[Floats | None], front: Floats) -> Floats:
    levels, edges = [0.0], []
    for first, second in front[np.lexsort((-front[:, 0], -front[:, 1]))].tolist():  # from the best in the second objective
        if first > levels[-1]:
            levels.append(first)
            edges.append(second)
    total = np.zeros(len(means))
    reach = [means[:, i] + (0 if deviations[i] is None else SURE * deviations[i]) for i in range(2)]  # type: ignore[operator]
    beaten = len(edges) - np.searchsorted(np.array(edges[::-1]), reach[1])  # points as good in the second objective
    some = np.flatnonzero((reach[0] > np.array(levels)[beaten]) & (reach[1] > 0))
    means, deviations = means[some], [None if deviation is None else deviation[some] for deviation in deviations]
    above = expected_gain(means[:, 1], deviations[1], np.array([*edges, 0.0]))  # of the lower edge of each strip
    width = np.diff(above, axis=1, prepend=0.0)
    total[some] = (width * expected_gain(means[:, 0], deviations[0], np.array(levels))).sum(1)
    return total


def _by_directions(means: Floats, deviations: Sequence[Floats | None], front: Floats) -> Floats:
    objectives = means.shape[1]
    rng = np.random.default_rng(0)
    directions = np.abs(rng.standard_normal((DIRECTIONS, objectives)))
    directions = np.maximum(directions / np.linalg.norm(directions, axis=1, keepdims=True), 1e-3)
    draws = ndtri((rng.permuted(np.tile(np.arange(DRAWS), (objectives, 1)), axis=1) + 0.5) / DRAWS)  # one of each eighth
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
