"""Rank architectures by non-dominated sorting and crowding distance (Deb et al., 2002), and mutate them."""

from __future__ import annotations

import numpy as np

from se_nas.strategies.domain.base import Floats, Ints


def fronts(losses: Floats) -> Ints:
    """Non-dominated sorting: the front that each point is on, 0 for points that none dominates.

    Args:
        losses: smaller is better, shape (n, objectives).

    Returns:
        Shape (n,).
    """
    no_worse = (losses[:, None] <= losses[None]).all(2)
    dominates = no_worse & ~no_worse.T
    rank = np.full(len(losses), -1)
    left = np.ones(len(losses), bool)
    level = 0
    while left.any():
        best = left & ~(dominates & left[:, None]).any(0)
        rank[best] = level
        left &= ~best
        level += 1
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


def order(losses: Floats) -> Ints:
    """Indices from best to worst: by front, then by crowding distance, the least crowded first."""
    rank = fronts(losses)
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
