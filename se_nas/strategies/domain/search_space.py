"""The domain of a `SearchSpace`: one gene for each extra dimension and each group of sites; costs come from tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from se_nas.goals.objective import Objective
from se_nas.se.spec import FIELDS
from se_nas.space.architecture import Architecture
from se_nas.space.codes import Codes
from se_nas.strategies.domain.base import Domain, Floats, Ints, value_features

if TYPE_CHECKING:
    from se_nas.space.group import Group
    from se_nas.space.space import SearchSpace


class SearchSpaceDomain(Domain):
    """Architectures of a search space.

    Args:
        space: the space, with its budgets.
        objectives: budgets of known objectives limit the space further.
    """

    def __init__(self, space: SearchSpace, objectives: Sequence[Objective]) -> None:
        limits = {o.name: o.budget for o in objectives if o.known and o.budget is not None}
        tightest = {b.metric: b.limit for b in space.budgets}
        limits = {name: min(limit, tightest.get(name, limit)) for name, limit in limits.items()}
        self.space = space.with_budgets({name: float(v) if name in space.costs else int(v) for name, v in limits.items()})
        extra = space.coding.open
        self.sizes = np.array(space.coding.sizes)
        self.names = (*extra, *(group.name for group in space.groups))
        costs = list(space.tables.values())
        self.known = costs[0].fields
        self.tables = (*map(value_features, extra.values()), *(_features(group) for group in space.groups))
        self.parts = tuple((gene,) for gene in range(len(self.sizes)))
        self._extra = tuple(map(len, extra.values()))
        self._plain = np.array([table.plain for table in costs], np.int64)
        self._costs = [np.array(same) for same in zip(*(table.rows for table in costs), strict=True)]
        self._named = {cost.name: cost for cost in costs[0].named}
        self._place = [(group.name, {option: code for code, option in enumerate(group.options)}) for group in space.groups]
        self._columns = [self.known.index(budget.metric) for budget in self.space.budgets]
        self._limits = np.array([costs[0].left(budget) for budget in self.space.budgets], np.int64) + self._plain[0, self._columns]

    def encode(self, architecture: Architecture | Mapping[str, Any]) -> Ints | None:
        if not isinstance(architecture, Architecture):
            architecture = self.space.from_dimensions(architecture)
        if self.space.extra or architecture.extra:
            return self.space.encode(architecture).astype(np.int64) if self.space.contains(architecture) else None
        if [name for name, _ in architecture] != [name for name, _ in self._place]:
            return None
        codes = [place.get(option, -1) for (_, option), (_, place) in zip(architecture, self._place, strict=True)]
        return None if -1 in codes else np.array(codes, np.int64)

    def decode(self, codes: Codes) -> Architecture:
        return self.space.decode(codes)

    def costs(self, names: Sequence[str], codes: Codes) -> Floats:
        sums = self._sums(codes, [self.known.index(name) for name in names])
        found = sums.astype(float)
        for column, name in enumerate(names):
            if name in self._named:
                found[:, column] = self._named[name].value(sums[:, column])
        return found

    def feasible(self, codes: Codes) -> npt.NDArray[np.bool_]:
        return np.asarray((self._sums(codes, self._columns) <= self._limits).all(1))

    def sample(self, rng: np.random.Generator, n: int) -> Ints:
        return self.space.sample_many(rng, n).astype(np.int64)

    def enumerate(self) -> Iterator[Ints]:
        return (codes.astype(np.int64) for codes in self.space.enumerate_codes())

    @property
    def count(self) -> int:
        return self.space.feasible_size

    @property
    def exact(self) -> bool:
        return self.space.feasible_exact

    def _sums(self, codes: Codes, columns: list[int]) -> npt.NDArray[np.int64]:
        extra = len(self._extra)
        which = np.ravel_multi_index(tuple(codes.T[:extra]), self._extra) if extra else np.zeros(len(codes), np.int64)
        total: npt.NDArray[np.int64] = self._plain[:, columns][which]
        for table, place in zip(self._costs, codes.T[extra:], strict=True):
            total += table[:, :, columns][which, place]
        return total


def _features(group: Group) -> Floats:
    """Features of each option: whether it has SE, then those of each field of the setting (0 without SE)."""
    specs = [option for option in group.options if option is not None]
    columns = [np.array([[-1.0 if option is None else 1.0] for option in group.options])] if None in group.options else []
    for field in FIELDS:
        values: list[Any] = sorted({getattr(spec, field) for spec in specs})
        table = value_features(values)
        columns.append(
            np.array([np.zeros(table.shape[1]) if spec is None else table[values.index(getattr(spec, field))] for spec in group.options])
        )
    return np.concatenate(columns, 1)
