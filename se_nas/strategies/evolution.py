"""Regularised evolution (Real et al., 2019, arXiv 1802.01548): the oldest die, not the worst."""

from __future__ import annotations

import numpy as np

from se_nas.strategies.base import Strategy
from se_nas.strategies.domain.base import Ints
from se_nas.strategies.ranking import mutated, order

POPULATION = 50
"""Number of architectures alive: the youngest ones (the paper: 100, for searches of thousands)."""

TOURNAMENT = 10
"""Number of architectures drawn for a tournament; the best becomes the parent (the paper: 25 of 100)."""

FIRST = 20
"""Random architectures before the first child."""


class EvolutionStrategy(Strategy):
    """A child is the winner of a tournament among the youngest, with one choice changed.

    With several objectives the winner is on the tournament's Pareto front, where it is least crowded.
    """

    def propose(self, rng: np.random.Generator) -> Ints | None:
        codes, losses = self.candidates
        if len(codes) < FIRST or self.nearly_done:
            return None
        codes, losses = codes[-POPULATION:], losses[-POPULATION:]
        few = rng.choice(len(codes), min(TOURNAMENT, len(codes)), replace=False)
        parent = codes[few[order(losses[few], 1)[0]]]
        for _ in range(len(parent)):
            child = self.domain.repair(mutated(parent, self.domain.sizes, rng, 0.0), rng, self.seen)
            if not self.is_seen(child):
                return child
        return None
