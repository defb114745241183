"""Additive costs: find out by experiments whether a cost is a sum over parts of the architecture, and tabulate the parts.

Many costs are (a network's parameters are the sum of its blocks' parameters), but a function of the whole architecture does
not tell. Two dimensions belong to the same part if the effect of changing both is not the sum of the two effects. A part's
table has one entry for each combination of its dimensions' values. The tables are checked on random architectures, and not
used if they fail.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from se_nas.space.codes import Codes
from se_nas.strategies.domain.base import Floats, Ints

MAX_DIMENSIONS = 80
"""With more dimensions, trying every pair takes too long."""

MAX_ENTRIES = 4096
"""Largest table of one part."""

ROUNDS = 3
"""Number of architectures on which each pair of dimensions is tried."""

CHECKS = 400
"""Number of random architectures on which the tables are checked."""

TOLERANCE = 1e-9
"""Rounding error allowed in a sum, relative to the largest cost."""


@dataclass(frozen=True)
class Parts:
    """Tables of additive costs.

    Attributes:
        members: indices of each part's dimensions.
        combinations: each part's combinations of codes, shape (combinations, dimensions of the part).
        tables: what each combination adds to each cost, shape (combinations, costs) for each part.
        base: costs of the architecture with codes 0, shape (costs,).
    """

    members: tuple[Ints, ...]
    combinations: tuple[Ints, ...]
    tables: tuple[Floats, ...]
    base: Floats

    def costs(self, codes: Codes) -> Floats:
        """The costs of codes of shape (n, dimensions); shape (n, costs)."""
        total = np.repeat(self.base[None], len(codes), 0)
        for dims, combinations, table in zip(self.members, self.combinations, self.tables, strict=True):
            sizes = combinations[-1] + 1
            total += table[np.ravel_multi_index(tuple(codes[:, dims].T), tuple(sizes))]
        return total

    def codes(self, keys: Ints) -> Ints:
        """The codes, shape (n, dimensions), from the index of each part's combination, shape (n, parts)."""
        codes = np.empty((len(keys), sum(map(len, self.members))), np.int64)
        for dims, combinations, key in zip(self.members, self.combinations, keys.T, strict=True):
            codes[:, dims] = combinations[key]
        return codes


def find_parts(costs: Callable[[Ints], Floats], sizes: Sequence[int]) -> Parts | None:
    """The parts over which all of these costs add up; None if there are none, or their tables would be too large.

    Args:
        costs: function of codes, shape (n, dimensions), that returns costs, shape (n, costs).
        sizes: number of values of each dimension.
    """
    sizes = list(map(int, sizes))
    dims = len(sizes)
    if dims > MAX_DIMENSIONS:
        return None
    rng = np.random.default_rng(0)
    together = _together(costs, sizes, rng)
    members = [np.flatnonzero(row).tolist() for dim, row in enumerate(together) if row.argmax() == dim]
    if any(math.prod(sizes[dim] for dim in part) > MAX_ENTRIES for part in members):
        return None
    combinations = tuple(np.array(list(itertools.product(*(range(sizes[dim]) for dim in part))), np.int64) for part in members)
    base = costs(np.zeros((1, dims), np.int64))[0]
    tables = []
    for part, rows in zip(members, combinations, strict=True):
        codes = np.zeros((len(rows), dims), np.int64)
        codes[:, part] = rows
        tables.append(costs(codes) - base)
    parts = Parts(tuple(map(np.array, members)), combinations, tuple(tables), base)
    checks = rng.integers(0, sizes, (CHECKS, dims))
    true, summed = costs(checks), parts.costs(checks)
    return parts if (np.abs(true - summed) <= TOLERANCE * np.abs(true).max(0)).all() else None


def _together(costs: Callable[[Ints], Floats], sizes: Sequence[int], rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Whether two dimensions belong to the same part, shape (dimensions, dimensions)."""
    dims = len(sizes)
    together = np.eye(dims, dtype=bool)
    first, second = np.triu_indices(dims, 1)
    for _ in range(ROUNDS):
        here = rng.integers(0, sizes, dims)
        there = np.where(np.array(sizes) > 1, (here + rng.integers(1, np.maximum(sizes, 2), dims)) % sizes, here)
        one = np.repeat(here[None], dims, 0)
        np.fill_diagonal(one, there)
        two = one[first]
        two[np.arange(len(second)), second] = there[second]
        found = costs(np.concatenate([here[None], one, two]))
        start, alone, both = found[0], found[1 : dims + 1], found[dims + 1 :]
        extra = np.abs(both - alone[first] - alone[second] + start)
        met = (extra > TOLERANCE * np.abs(found).max(0)).any(1)
        together[first[met], second[met]] = together[second[met], first[met]] = True
    for middle in range(dims):  # belonging to the same part is transitive
        together |= together[:, [middle]] & together[[middle]]
    return together
