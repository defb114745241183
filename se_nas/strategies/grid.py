"""Exhaustive search of a small space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from se_nas.errors import InputError
from se_nas.goals.objective import Objective
from se_nas.strategies.base import Strategy
from se_nas.strategies.domain.base import Ints

LIMIT = 10_000
"""Most architectures of a search space that a grid goes through."""


class GridStrategy(Strategy):
    """Every architecture within the budgets, in the order of the space (a huge categorical space: neighbours far apart).

    Args:
        space: what to go through.
        objectives: not looked at, but for their budgets.
        seed: not used.

    Raises:
        InputError: if a search space holds more than `LIMIT` architectures. (A `CategoricalSpace` may be larger: the loop is
            the user's own, who may stop it.)
    """

    def __init__(self, space: Any, objectives: Sequence[Objective], seed: int = 0) -> None:
        super().__init__(space, objectives, seed)
        if hasattr(space, "groups") and (self.domain.count or 0) > LIMIT:
            raise InputError(
                f"grid is for at most {LIMIT:,} architectures and this space has {self.domain.count:,}",
                "take --strategy random or known-cost, fewer candidates, or share: stage",
                "strategy",
            )
        self._left = self.domain.enumerate()

    def withdraw(self) -> None:
        super().withdraw()
        self._left = self.domain.enumerate()

    def propose(self, rng: np.random.Generator) -> Ints | None:
        return next((codes for codes in self._left if not self.is_seen(codes)), None)
