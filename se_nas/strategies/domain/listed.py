"""Domains of a list: what a strategy makes up becomes the listed architecture that is most like it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from se_nas.errors import InputError
from se_nas.goals.objective import Objective
from se_nas.space.codes import Codes
from se_nas.strategies.domain.base import Domain, Floats, Ints, Key
from se_nas.strategies.domain.categorical import CategoricalDomain
from se_nas.strategies.domain.search_space import SearchSpaceDomain

NEAR = 20
"""Neighbours of an architecture: a list has hardly two that differ in one choice only."""


class _Listed(Domain):
    """The listed architectures within the budgets, in front of the domain of the whole space.

    Two are alike if their choices have features in common: SE or none at a site, then its ratio, squeeze, gate and placement.

    Args:
        space: has ``rows``, the codes of its architectures, shape (n, genes), each once.
        objectives: budgets of known objectives limit the list further.
    """

    def __init__(self, space: Any, objectives: Sequence[Objective]) -> None:
        self._keys: set[Key] | None = None
        super().__init__(space, objectives)  # type: ignore[call-arg]
        rows = np.asarray(space.rows, np.int64)
        self._rows: Ints = rows[super().feasible(rows)]  # type: ignore[safe-super]
        if not len(self._rows):
            raise InputError("no architecture of the list is within the budgets", "loosen one of them", "objectives")
        self._keys = {row.tobytes() for row in self._rows}
        self._features = self._of(self._rows)

    def feasible(self, codes: Codes) -> npt.NDArray[np.bool_]:
        if self._keys is None:  # the whole space's domain is still being made
            return super().feasible(codes)  # type: ignore[safe-super]
        return np.array([row.tobytes() in self._keys for row in np.asarray(codes, np.int64)], bool)

    def sample(self, rng: np.random.Generator, n: int) -> Ints:
        if self._keys is None:
            return super().sample(rng, n)  # type: ignore[safe-super]
        return self._rows[rng.integers(len(self._rows), size=n)]

    def enumerate(self) -> Iterator[Ints]:
        return iter(self._rows)

    @property
    def count(self) -> int:
        return len(self._rows)

    @property
    def exact(self) -> bool:
        return True

    def last_unseen(self, seen: Collection[Key], rng: np.random.Generator) -> Ints | None:
        return Domain.last_unseen(self, seen, rng)

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


class ListedDomain(_Listed, SearchSpaceDomain):
    """Of a `se_nas.space.listed.ListedSpace`."""


class ListedCategorical(_Listed, CategoricalDomain):
    """Of a `CategoricalSpace` with ``rows``."""
