"""The architectures that meet every budget: how many there are, and drawing one uniformly, by dynamic programming.

Costs add up over groups, so the number of ways to complete a partial architecture depends only on what it has spent.
From the last group to the first, a table keeps each reachable sum of costs with the number of ways to reach it; an
architecture is drawn group by group, each option with probability proportional to its completions. Nothing is
rejected, so a budget that one architecture in a billion meets costs no more than a loose one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.int64]

MAX_SUMS = 200_000
"""Longest table of sums kept exactly. A longer one is coarsened: sums are rounded up to a grid, so that a budget is
never exceeded, and architectures within one grid step a group of the limit may be missed."""


class FeasibleSet:
    """Counts and samples code vectors whose summed costs stay within limits.

    Args:
        costs: a group's costs, shape (options, metrics), for each group.
        limits: what the sum over groups may not exceed, shape (metrics,), at least one metric.

    Attributes:
        size: how many code vectors are within the limits.
        exact: whether the tables are; if not, ``size`` is a lower bound.
    """

    def __init__(self, costs: Sequence[Array], limits: Array) -> None:
        self._costs = costs
        self._limits = limits
        self.exact = True
        self._sums, self._counts = self._tables()
        self._cumulative = [np.cumsum(counts, dtype=object) for counts in self._counts]

        self.size = int(self._counts[0].sum())

    def sample(self, rng: np.random.Generator) -> Array:
        """One code vector, each feasible one equally likely; shape (groups,)."""
        left = self._limits.copy()
        codes = np.zeros(len(self._costs), np.int64)
        for group, costs in enumerate(self._costs):
            ways = self._completions(group + 1, left - costs)
            codes[group] = _draw(ways, rng)
            left = left - costs[codes[group]]
        return codes

    def enumerate(self) -> Iterator[Array]:
        """Every code vector within the limits, the last group changing fastest; no dead end is entered."""
        return self._enumerate(0, self._limits, [])

    def _enumerate(self, group: int, left: Array, codes: list[int]) -> Iterator[Array]:
        if group == len(self._costs):
            yield np.array(codes, np.int64)
            return
        for option, ways in enumerate(self._completions(group + 1, left - self._costs[group])):
            if ways:
                yield from self._enumerate(group + 1, left - self._costs[group][option], [*codes, option])

    def _completions(self, group: int, left: Array) -> list[int]:
        """For each row of ``left``, the number of ways to choose groups ``group`` and later within it."""
        sums, counts = self._sums[group], self._counts[group]
        if sums.shape[1] == 1:  # the rows are sorted
            ends = np.searchsorted(sums[:, 0], left[:, 0], side="right")
            return [int(self._cumulative[group][end - 1]) if end else 0 for end in ends]
        rows, index = np.unique(left, axis=0, return_inverse=True)
        ways = [int(counts[(sums <= row).all(1)].sum()) for row in rows]
        return [ways[i] for i in index.ravel()]

    def _tables(self) -> tuple[list[Array], list[npt.NDArray[np.object_]]]:
        """For each group: the sums that it and later groups can reach within the limits, and the ways to each."""
        metrics = len(self._limits)
        cheapest = np.array([costs.min(0) for costs in self._costs]).reshape(-1, metrics)
        sums = [np.zeros((1, metrics), np.int64)]
        counts = [np.array([1], object)]
        for group in reversed(range(len(self._costs))):
            options, multiplicity = np.unique(self._costs[group], axis=0, return_counts=True)
            reached = (options[:, None] + sums[0][None]).reshape(-1, metrics)
            ways = (multiplicity.astype(object)[:, None] * counts[0][None]).ravel()
            within = (reached + cheapest[:group].sum(0) <= self._limits).all(1)
            table, total = _merge(reached[within], ways[within])
            step = 1
            while len(table) > MAX_SUMS:
                self.exact, step = False, step * 2
                grid = np.maximum(self._limits * step // (2 * MAX_SUMS), 1)
                table, total = _merge(-(-table // grid) * grid, total)
            sums.insert(0, table)
            counts.insert(0, total)
        return sums, counts


def _merge(sums: Array, ways: npt.NDArray[np.object_]) -> tuple[Array, npt.NDArray[np.object_]]:
    """Equal sums become one row, their ways added (as Python integers: they exceed 64 bits)."""
    rows, index = np.unique(sums, axis=0, return_inverse=True)
    total = np.zeros(len(rows), object)
    np.add.at(total, index.ravel(), ways)
    return rows, total


def _draw(ways: list[int], rng: np.random.Generator) -> int:
    """An index with probability proportional to ``ways``, exact for integers of any size."""
    total = sum(ways)
    words = total.bit_length() // 32 + 2
    pick = int.from_bytes(rng.bytes(4 * words), "little") * total >> (32 * words)
    for index, way in enumerate(ways):
        if pick < way:
            return index
        pick -= way
    raise AssertionError("unreachable")
