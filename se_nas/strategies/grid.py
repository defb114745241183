"""Exhaustive search of a small space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from se_nas.architecture import Architecture
from se_nas.errors import InputError
from se_nas.objective import Objective
from se_nas.space import SearchSpace

LIMIT = 10_000
"""Most architectures that a grid goes through."""


class GridStrategy:
    """Every architecture within the budgets, in the order of the space.

    Args:
        space: what to go through.
        objectives: not looked at.
        seed: not used.

    Raises:
        InputError: if the space holds more than `LIMIT` architectures.
    """

    def __init__(self, space: SearchSpace, objectives: Sequence[Objective], seed: int = 0) -> None:
        if space.feasible_size > LIMIT:
            raise InputError(
                f"grid is for at most {LIMIT:,} architectures and this space has {space.feasible_size:,}",
                "take --strategy random or nsga2, fewer candidates, or share: stage",
                "strategy",
            )
        self._left = space.enumerate()
        self._seen: set[Architecture] = set()

    def ask(self, n: int) -> list[Architecture]:
        asked: list[Architecture] = []
        for architecture in self._left:
            if architecture not in self._seen:
                self._seen.add(architecture)
                asked.append(architecture)
            if len(asked) == n:
                break
        return asked

    def tell(self, architecture: Architecture, metrics: Mapping[str, float] | None) -> None:
        self._seen.add(architecture)
