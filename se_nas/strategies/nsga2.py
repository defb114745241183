"""NSGA-II (Deb et al., 2002)."""

from __future__ import annotations

import numpy as np

from se_nas.strategies.base import Strategy
from se_nas.strategies.domain.base import Ints
from se_nas.strategies.ranking import mutated, order

POPULATION = 20
"""Size of a generation. The first one is random; a larger one would use up a small search."""

CROSSOVER = 0.9
"""Probability that a child has two parents."""

TRIES = 10
"""Seen children in a row after which to take a random new architecture instead."""


class NSGA2Strategy(Strategy):
    """The parents are the best of all generations so far. Children: uniform crossover, then mutation of one choice on average.

    A generation is complete when `POPULATION` more trials were told. A child over budget is repaired (`Domain.repair`).
    """

    def propose(self, rng: np.random.Generator) -> Ints | None:
        codes, losses = self.candidates
        complete = len(codes) // POPULATION * POPULATION
        if not complete or self.nearly_done:
            return None
        best = order(losses[:complete], POPULATION)[:POPULATION]
        for _ in range(TRIES):
            child = self._child(codes[best], rng)
            if not self.is_seen(child):
                return child
        return None

    def _child(self, parents: Ints, rng: np.random.Generator) -> Ints:
        first, second = (
            parents[rng.integers(0, len(parents), 2).min()] for _ in range(2)
        )  # parents are sorted: the smaller index is the better
        mixed = np.where(rng.random(len(first)) < 0.5, first, second) if rng.random() < CROSSOVER else first
        child = mixed.copy()
        if rng.random() < 0.63 or (child == first).all():  # 0.63: the probability that at least one gene changes, at one on average
            child = mutated(child, self.domain.sizes, rng, 1 / len(child))
        return self.domain.repair(child, rng, self.seen)
