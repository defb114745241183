"""NSGA-II (Deb et al., 2002), its generations read off what was told."""

from __future__ import annotations

import numpy as np

from se_nas.strategies.base import Strategy
from se_nas.strategies.domain.base import Ints
from se_nas.strategies.ranking import mutated, order

POPULATION = 20
"""A larger one would spend a whole small search on its random first generation."""

CROSSOVER = 0.9
"""How often a child has two parents."""

TRIES = 10
"""Children in a row that may be known already before a random new architecture is taken instead."""


class NSGA2Strategy(Strategy):
    """The best of all generations so far are the parents; children by uniform crossover and mutation of one choice on average.

    A generation is complete when `POPULATION` more trials were told. A child over budget is repaired, by as few choices
    as it needs of a random architecture within the budgets.
    """

    def propose(self, rng: np.random.Generator) -> Ints | None:
        codes, losses = self.candidates
        complete = len(codes) // POPULATION * POPULATION
        if not complete or self.nearly_done:
            return None
        best = order(losses[:complete])[:POPULATION]
        for _ in range(TRIES):
            child = self._child(codes[best], rng)
            if not self.is_seen(child):
                return child
        return None

    def _child(self, parents: Ints, rng: np.random.Generator) -> Ints:
        first, second = (parents[rng.integers(0, len(parents), 2).min()] for _ in range(2))  # the better of two, by their order
        mixed = np.where(rng.random(len(first)) < 0.5, first, second) if rng.random() < CROSSOVER else first
        child = mixed.copy()
        if rng.random() < 0.63 or (child == first).all():  # at least one of so many genes changes, at one on average
            child = mutated(child, self.domain.sizes, rng, 1 / len(child))
        return self.domain.repair(child, rng)
