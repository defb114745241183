"""The domain of a `ListedSpace`: what a strategy makes up becomes the listed architecture that is most like it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from se_nas.goals.objective import Objective
from se_nas.space.codes import Codes
from se_nas.strategies.domain.base import Floats, Ints, Key
from se_nas.strategies.domain.search_space import SearchSpaceDomain

if TYPE_CHECKING:
    from se_nas.space.listed import ListedSpace

NEAR = 20
"""Neighbours of an architecture: a list has hardly two that differ in one choice only."""


class ListedDomain(SearchSpaceDomain):
    """The listed architectures within the budgets.

    Two are alike if their choices have features in common: SE or none at a site, then its ratio, squeeze, gate and placement.
    """

    def __init__(self, space: ListedSpace, objectives: Sequence[Objective]) -> None:
        super().__init__(space, objectives)
        self._rows = np.array(list(self.enumerate()), np.int64)
        self._keys = {row.tobytes() for row in self._rows}
        self._features = self._of(self._rows)

    def feasible(self, codes: Codes) -> npt.NDArray[np.bool_]:
        return np.array([row.tobytes() in self._keys for row in np.asarray(codes, np.int64)], bool)

    def repair(self, codes: Ints, rng: np.random.Generator, seen: Collection[Key] = ()) -> Ints:
        """The most alike of the list that is not in ``seen``; a random one of several.

        Of all of them, the most alike to a parent with one choice changed would be the parent.
        """
        distances = self._distances(codes)
        used = np.array([row.tobytes() in seen for row in self._rows])
        if not used.all():
            distances[used] = np.inf
        found: Ints = self._rows[rng.choice(np.flatnonzero(distances == distances.min()))]
        return found

    def neighbours(self, codes: Ints) -> Ints:
        """The `NEAR` others of the list that are most alike, shape (n, genes)."""
        others = self._rows[np.argsort(self._distances(codes), kind="stable")[: NEAR + 1]]
        near: Ints = others[(others != codes).any(1)][:NEAR]
        return near

    def _distances(self, codes: Ints) -> Floats:
        """Number of features in which each of the list differs from an architecture, shape (n,)."""
        return np.asarray((self._features != self._of(codes[None])).sum(1), float)

    def _of(self, codes: Ints) -> Floats:
        return np.concatenate([table[column] for table, column in zip(self.tables, codes.T, strict=True)], 1)
