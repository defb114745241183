"""Random search: every architecture within the budgets equally likely, none twice."""

from __future__ import annotations

import numpy as np

from se_nas.strategies.base import Strategy
from se_nas.strategies.domain.base import Ints


class RandomStrategy(Strategy):
    """Draws from the feasible set without replacement."""

    def propose(self, rng: np.random.Generator) -> Ints | None:
        return self.domain.unseen(self.seen, rng)
