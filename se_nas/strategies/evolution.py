"""Regularised evolution (Real et al., 2019, arXiv 1802.01548): the oldest die, not the worst."""

from __future__ import annotations

import numpy as np

from se_nas.strategies.base import Strategy
from se_nas.strategies.domain.base import Ints
from se_nas.strategies.ranking import mutated, order

POPULATION = 50
"""The youngest so many are alive (the paper: 100 for searches of thousands)."""

TOURNAMENT = 10
"""So many are drawn, and the best of them is the parent (the paper: 25 of 100)."""

FIRST = 20
"""Drawn at random before the first child."""


class EvolutionStrategy(Strategy):
    """A child is the best of a random few of the youngest, with one choice changed.

    Of several objectives, the best of the few is on their front, and there where it is least crowded.
    """

    def propose(self, rng: np.random.Generator) -> Ints | None:
        codes, losses = self.candidates
        if len(codes) < FIRST or self.nearly_done:
            return None
        codes, losses = codes[-POPULATION:], losses[-POPULATION:]
        few = rng.choice(len(codes), min(TOURNAMENT, len(codes)), replace=False)
        parent = codes[few[order(losses[few])[0]]]
        for _ in range(len(parent)):
            child = self.domain.repair(mutated(parent, self.domain.sizes, rng, 0.0), rng)
            if not self.is_seen(child):
                return child
        return None
