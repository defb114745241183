"""A search space of which only listed architectures may be proposed: those that somebody has measured already."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from se_nas.errors import InputError
from se_nas.space.architecture import Architecture
from se_nas.space.budget import METRICS
from se_nas.space.codes import Codes
from se_nas.space.feasible import FeasibleList
from se_nas.space.space import SearchSpace


class ListedSpace(SearchSpace):
    """The architectures of a list. Sites, costs and candidates are those of the space; budgets shorten the list.

    Attributes:
        rows: option codes of the architectures, shape (n, genes).
    """

    rows: Codes

    @classmethod
    def of(cls, space: SearchSpace, architectures: Sequence[Architecture]) -> ListedSpace:
        """The part of a space that holds these architectures.

        Raises:
            InputError: for one that is not in the space, or if none is within its budgets.
        """
        if not architectures:
            raise InputError("no architecture is listed", "list one or more")
        listed = cls.__new__(cls)
        vars(listed).update(vars(space))
        listed._forget("_feasible")
        listed.rows = np.unique([space.encode(each) for each in architectures], axis=0)
        if listed._feasible.empty:
            limits = " and ".join(map(str, space.budgets))
            raise InputError(f"no architecture of the list meets {limits}", "raise a budget", "budgets")
        return listed

    def is_feasible(self, architecture: Architecture) -> bool:
        return self.contains(architecture) and bool((self.encode(architecture) == self._feasible.rows).all(1).any())

    def ranked(self, worth: Sequence[npt.NDArray[np.float64]]) -> Iterator[Architecture]:
        rows = self._feasible.rows
        total = np.sum([table[column] for table, column in zip(worth, rows.T, strict=True)], 0)
        return (self.decode(rows[place]) for place in np.argsort(-total, kind="stable"))

    def _extreme(self, metric: str, sign: int, within_budgets: bool) -> Architecture:
        if not within_budgets:
            return super()._extreme(metric, sign, within_budgets)
        return max(self.enumerate(), key=lambda each: [sign * getattr(self.cost(each), name) for name in (metric, *METRICS)])

    @cached_property
    def _feasible(self) -> FeasibleList:
        costs = self.cost_many(self.rows)
        within = [getattr(costs, budget.metric) <= budget.limit for budget in self.budgets]
        rows = self.rows[np.all(within, 0)] if within else self.rows
        return FeasibleList(rows.astype(np.int64))
