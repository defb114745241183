"""Pareto local search (Paquete et al., 2004): try neighbours of the front until none is new."""

from __future__ import annotations

import numpy as np

from se_nas.strategies.base import Strategy
from se_nas.strategies.domain.base import Ints
from se_nas.strategies.ranking import first_front

FIRST = 10
"""Random architectures before the first neighbour."""


class LocalSearchStrategy(Strategy):
    """Draws a member of the front, then one of its new neighbours (one choice changed).

    With one objective this is the local search that White et al. (2020, arXiv 2005.02960) found hard to beat. When no
    neighbour of the front is new, it goes on at random.
    """

    def propose(self, rng: np.random.Generator) -> Ints | None:
        codes, losses = self.candidates
        if len(codes) < FIRST:
            return None
        for member in rng.permutation(np.flatnonzero(first_front(losses))):
            near = self.domain.neighbours(codes[member])
            for row in rng.permutation(len(near)):
                if not self.is_seen(near[row]):
                    found: Ints = near[row]
                    return found
        return None
