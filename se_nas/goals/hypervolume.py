"""Hypervolume of a set of points (Zitzler and Thiele, 1998). Needs neither torch nor numpy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from se_nas.goals.objective import Objective


def hypervolume(points: Iterable[Mapping[str, float]], objectives: Sequence[Objective], reference: Mapping[str, float]) -> float:
    """Volume that the points dominate, bounded by a reference point; its unit is the product of the objectives' units.

    Args:
        points: objective's name -> value, for each point.
        objectives: any number. With many points, more than four objectives take long.
        reference: objective's name -> value. A point counts only if it is better in every objective.
    """
    return dominated_volume([[o.loss(reference[o.name]) - o.loss(point[o.name]) for o in objectives] for point in points])


def dominated_volume(gains: Iterable[Sequence[float]]) -> float:
    """Exact volume that the points dominate, bounded by the origin. Larger gains are better.

    Args:
        gains: one gain for each objective, for each point.
    """
    points = sorted({tuple(map(float, point)) for point in gains if all(gain > 0 for gain in point)}, key=lambda p: p[::-1], reverse=True)
    if not points:
        return 0.0
    if len(points[0]) == 1:
        return points[0][0]
    volume, highest = 0.0, 0.0
    below = [*(point[-1] for point in points[1:]), 0.0]
    front: list[tuple[float, ...]] = []
    for point, end in zip(points, below, strict=True):  # slice between the last objective of this point and of the next
        if len(point) == 2:
            highest = max(highest, point[0])
            volume += highest * (point[1] - end)
            continue
        if not any(all(a >= b for a, b in zip(other, point[:-1], strict=True)) for other in front):
            front = [other for other in front if not all(a <= b for a, b in zip(other, point[:-1], strict=True))] + [point[:-1]]
        if point[-1] > end:
            volume += dominated_volume(front) * (point[-1] - end)
    return volume
