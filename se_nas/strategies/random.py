"""Random search: every architecture within the budgets equally likely, none twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from se_nas.architecture import Architecture
from se_nas.objective import Objective
from se_nas.space import SearchSpace


class RandomStrategy:
    """Draws from the feasible set without replacement.

    Args:
        space: what to draw from.
        objectives: not looked at.
        seed: of the draws.
    """

    def __init__(self, space: SearchSpace, objectives: Sequence[Objective], seed: int = 0) -> None:
        self._space = space
        self._rng = np.random.default_rng(seed)
        self._seen: set[Architecture] = set()

    def ask(self, n: int) -> list[Architecture]:
        asked: list[Architecture] = []
        while len(asked) < n and len(self._seen) < self._space.feasible_size:
            architecture = sample_unseen(self._space, self._seen, self._rng)
            self._seen.add(architecture)
            asked.append(architecture)
        return asked

    def tell(self, architecture: Architecture, metrics: Mapping[str, float] | None) -> None:
        if self._space.contains(architecture) and self._space.is_feasible(architecture):
            self._seen.add(architecture)


def sample_unseen(space: SearchSpace, seen: set[Architecture], rng: np.random.Generator) -> Architecture:
    """A feasible architecture that is not in ``seen`` (feasible ones too, and not all of them), each equally likely."""
    for _ in range(1000):
        architecture = space.sample(rng)
        if architecture not in seen:
            return architecture
    left = [architecture for architecture in space.enumerate() if architecture not in seen]  # nearly all are seen: few are left to list
    return left[rng.integers(len(left))]
