"""Random search: uniform over the architectures within the budgets, without replacement."""

from __future__ import annotations

import numpy as np

from se_nas.strategies.base import Strategy
from se_nas.strategies.domain.base import Ints


class RandomStrategy(Strategy):
    """Draws from the feasible architectures, uniformly and without replacement."""

    def propose(self, rng: np.random.Generator) -> Ints | None:
        return self.domain.unseen(self.seen, rng)
