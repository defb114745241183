"""Rank architectures by non-dominated sorting and crowding distance (Deb et al., 2002), and mutate them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from se_nas.strategies.domain.base import Floats, Ints


def first_front(losses: Floats) -> npt.NDArray[np.bool_]:
    """Whether each point is one that no other dominates: nowhere worse, and somewhere better. Of equal points, all are.

    Args:
        losses: smaller is better, shape (n, objectives).

    Returns:
        Shape (n,).
    """
    order = np.lexsort(losses.T[::-1])
    ordered = losses[order]
    kept = np.zeros(len(losses), bool)
    if losses.shape[1] <= 2:  # in order of the first, a point is on the front if its last is below that of all before it, or equals it
        last, new = ordered[:, -1], np.r_[True, (ordered[1:] != ordered[:-1]).any(1)][: len(losses)]
        best = np.r_[np.inf, np.minimum.accumulate(last)[:-1]][: len(losses)]
        first = np.maximum.accumulate(np.where(new, np.arange(len(losses)), 0))  # of the equal ones
        kept[order] = ((last < best) & new)[first] if losses.shape[1] == 2 else first == 0
        return kept
    left = np.arange(len(losses))
    while len(left):  # nothing that is left dominates the first of the order
        point, rest = ordered[left[0]], ordered[left]
        kept[order[left[0]]] = True
        left = left[1:][~((point <= rest).all(1) & (point < rest).any(1))[1:]]
    return kept


def fronts(losses: Floats, enough: int | None = None) -> Ints:
    """Non-dominated sorting: the front that each point is on, 0 for points that none dominates.

    Args:
        losses: smaller is better, shape (n, objectives).
        enough: stop when so many points have their front; all others are then on one last front.

    Returns:
        Shape (n,).
    """
    rank = np.zeros(len(losses), np.int64)
    left, level, wanted = np.arange(len(losses)), 0, len(losses) if enough is None else enough
    while len(left) and len(losses) - len(left) < wanted:
        best = first_front(losses[left])
        rank[left[best]] = level
        left = left[~best]
        level += 1
    rank[left] = level
    return rank


def crowding(losses: Floats) -> Floats:
    """Crowding distance of points on one front: how far apart their neighbours are, infinite at the ends; shape (n,)."""
    distance = np.zeros(len(losses))
    for column in losses.T:
        order = np.argsort(column, kind="stable")
        span = column[order[-1]] - column[order[0]]
        distance[order[[0, -1]]] = np.inf
        if span > 0 and len(order) > 2:
            distance[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / span
    return distance


def order(losses: Floats, enough: int | None = None) -> Ints:
    """Indices from best to worst: by front, then by crowding distance, the least crowded first.

    Args:
        losses: smaller is better, shape (n, objectives).
        enough: so many of the best are wanted; the order of the others does not matter.
    """
    rank = fronts(losses, enough)
    crowd = np.zeros(len(losses))
    for level in range(rank.max(initial=-1) + 1):
        crowd[rank == level] = crowding(losses[rank == level])
    found: Ints = np.lexsort((-crowd, rank))
    return found


def mutated(codes: Ints, sizes: Ints, rng: np.random.Generator, share: float) -> Ints:
    """Change each gene to another of its options with probability ``share``, but at least one gene (if any has another option)."""
    free = np.flatnonzero(sizes > 1)
    if not len(free):
        return codes
    chosen = free[rng.random(len(free)) < share]
    genes = chosen if len(chosen) else free[[rng.integers(len(free))]]
    new: Ints = codes.copy()
    new[genes] = (codes[genes] + rng.integers(1, sizes[genes])) % sizes[genes]
    return new
