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
"""Largest number of architectures of a `SearchSpace` that a grid accepts."""


class GridStrategy(Strategy):
    """Proposes every architecture within the budgets, in the order of the space.

    In a huge categorical space the order is spread out instead: neighbours in the order are far apart in the space.

    Args:
        space: the space to go through.
        objectives: only their budgets matter.
        seed: not used.

    Raises:
        InputError: if a `SearchSpace` has more than `LIMIT` architectures. (A `CategoricalSpace` may be larger: it is searched in
            a loop of the user's own, who can stop it.)
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

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_left"}  # a generator cannot be pickled

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._left = self.domain.enumerate()  # what is seen is passed over

    def withdraw(self) -> None:
        super().withdraw()
        self._left = self.domain.enumerate()

    def propose(self, rng: np.random.Generator) -> Ints | None:
        return next((codes for codes in self._left if not self.is_seen(codes)), None)
