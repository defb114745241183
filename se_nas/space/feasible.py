"""The architectures that meet every budget: how many there are, drawing them uniformly, and the best of them.

Costs add up over groups, so the number of ways to complete a partial architecture depends only on what is left to
spend. From the last group to the first, a table keeps that number for each amount left; an architecture is drawn
group by group, each option with probability proportional to its completions. Nothing is rejected, so a budget that
one architecture in a billion meets costs no more than a loose one.

What is left is counted in steps of a grid. Each group's costs are taken relative to its cheapest option, metrics that
bind nowhere or repeat another are dropped, and the step is the costs' greatest common divisor: the tables are then
exact. Only where that takes more than `MAX_CELLS` cells is the grid made coarser, costs being rounded up: a budget is
never exceeded, and architectures within `FeasibleSet.margin` of a limit may be missed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from heapq import heappop, heappush
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

MAX_CELLS = 2**17
"""Amounts left to spend that a table tells apart at most."""

_LIMB = 48  # bits of a long integer that one 64-bit integer holds: 16 more are left for sums over options

_CHUNK = 4096  # code vectors drawn at once


class FeasibleSet:
    """Counts, samples and ranks code vectors whose summed costs stay within limits.

    Args:
        costs: a group's costs, shape (options, metrics), for each group.
        limits: what the sum over groups may not exceed, shape (metrics,).

    Attributes:
        exact: whether the tables are; if not, ``size`` is a lower bound, and `sample`, `enumerate` and `best` know
            only the part of the set that it counts. Should a coarse grid count nothing, that part is one code vector
            (among the cheapest by a weighted sum of the metrics), and nothing if that search fails as well.
        empty: whether there is none.
        margin: every code vector whose sums are at least this much below the limits is in that part, shape
            (metrics,); 0 if exact.
    """

    def __init__(self, costs: Sequence[Array], limits: Array) -> None:
        self._costs = costs
        self._limits = limits
        least = np.array([group.min(0) for group in costs]).reshape(len(costs), len(limits))
        slack = limits - least.sum(0)
        self.exact, self.margin = True, np.zeros(len(limits), np.int64)
        self.empty = bool((slack < 0).any())
        self._single: Array | None = None
        relative = [group - low for group, low in zip(costs, least, strict=True)]
        self._lay_grid(relative, np.maximum(slack, 0))
        if not self.empty and self._tables[0].flat[-1] == 0:
            self._single = None if self.exact else self._search_one()
            self.empty = self._single is None

    def _lay_grid(self, relative: Sequence[Array], slack: Array) -> None:
        """Costs and limits in steps of a grid, and the tables over it."""
        every = np.concatenate(relative)
        binding = np.flatnonzero(sum(group.max(0) for group in relative) > slack)
        step = np.maximum([math.gcd(*every[:, m].tolist()) for m in range(len(slack))], 1)
        length = slack // step
        _, first, group_of = np.unique(every[:, binding] // step[binding], axis=1, return_index=True, return_inverse=True)
        chosen = [min(binding[group_of.ravel() == i], key=lambda m: int(length[m])) for i in range(len(first))]  # the tightest of equals
        coarse = np.ones(len(slack), np.int64)
        while math.prod(int(length[m] // coarse[m]) + 1 for m in chosen) > MAX_CELLS:
            longest = max(chosen, key=lambda m: int(length[m] // coarse[m]))
            coarse[longest] += max(1, coarse[longest] // 8)
        self.exact = bool((coarse == 1).all())
        grid = step * coarse
        rounded = [-(-group // grid) for group in relative]
        if not self.exact:
            waste = sum((up * grid - group).max(0) for up, group in zip(rounded, relative, strict=True)) + slack % grid
            self.margin = np.where(np.isin(np.arange(len(slack)), chosen), waste, 0)
        self._steps = [group[:, chosen] for group in rounded]
        self._slack = (slack // grid)[chosen]
        self._classes = [_Classes(group) for group in self._steps]
        self._tables = self._count()

    def _count(self) -> list[Floats]:
        """For each group and each amount left, the ways to choose that group and later ones; shape: slack + 1 each."""
        tables = [np.ones(tuple(self._slack + 1))]
        for classes in reversed(self._classes):
            table = classes.add(tables[0])
            if table.flat[-1] > 2.0**900:  # only ratios within a table matter; nothing possible may become impossible
                table = np.where(table > 0, np.maximum(np.ldexp(table, -800), np.finfo(float).tiny), 0)
            tables.insert(0, table)
        return tables

    @cached_property
    def size(self) -> int:
        """How many code vectors are within the limits; if not exact, at least so many."""
        if self.empty:
            return 0
        if self._single is not None:
            return 1
        if max(table.flat[-1] for table in self._tables) < 2**53:
            return int(self._tables[0].flat[-1])
        limbs = np.zeros((1, *(self._slack + 1)), np.int64) + 1  # the same sums in integers of any length, lowest part first
        for classes in reversed(self._classes):
            limbs = _carry(classes.add(limbs))
        return sum(int(limb.flat[-1]) << (_LIMB * i) for i, limb in enumerate(limbs))

    def sample(self, rng: np.random.Generator) -> Array:
        """One code vector, each feasible one equally likely; shape (groups,)."""
        codes: Array = self.sample_many(rng, 1)[0]
        return codes

    def sample_many(self, rng: np.random.Generator, n: int) -> Array:
        """Code vectors drawn independently, each feasible one equally likely (to the 53 bits of a float); shape (n, groups).

        Raises:
            ValueError: if there is none.
        """
        if self.empty:
            raise ValueError("nothing is within the limits")
        if self._single is not None:
            return np.repeat(self._single[None], n, 0)
        if n > _CHUNK:
            return np.concatenate([self.sample_many(rng, min(_CHUNK, n - start)) for start in range(0, n, _CHUNK)])
        codes = np.empty((n, len(self._costs)), np.int64)
        left = np.tile(self._slack, (n, 1))
        for group, classes in enumerate(self._classes):
            ways = np.cumsum(classes.completions(self._tables[group + 1], left), 1)
            total = ways[:, -1]
            pick = np.minimum(rng.random(n) * total, np.nextafter(total, 0))
            drawn = (ways <= pick[:, None]).sum(1)
            codes[:, group] = classes.members[drawn, rng.integers(0, classes.sizes[drawn])]
            left -= classes.steps[drawn]
        return codes

    def enumerate(self) -> Iterator[Array]:
        """Every code vector within the limits, the last group changing fastest; no dead end is entered."""
        if self._single is not None:
            yield self._single
        elif not self.empty:
            yield from self._enumerate(0, self._slack, [])

    def _enumerate(self, group: int, left: Array, codes: list[int]) -> Iterator[Array]:
        if group == len(self._costs):
            yield np.array(codes, np.int64)
            return
        for option, steps in enumerate(self._steps[group]):
            after = left - steps
            if (after >= 0).all() and self._tables[group + 1][tuple(after)] > 0:
                yield from self._enumerate(group + 1, after, [*codes, option])

    def best(self, values: Sequence[Array]) -> Array:
        """The code vector within the limits with the greatest sum of values (below 2**61); shape (groups,).

        Args:
            values: of each group's options, integers, shape (options,).

        Raises:
            ValueError: if there is none.
        """
        if self.empty:
            raise ValueError("nothing is within the limits")
        if self._single is not None:
            return self._single
        value = np.zeros(tuple(self._slack + 1), np.int64)
        choices: list[npt.NDArray[np.int16]] = []
        for classes, worth in zip(reversed(self._classes), reversed(values), strict=True):
            value, choice = classes.choose(value, worth)
            choices.insert(0, choice)
        codes, left = [], self._slack
        for choice, steps in zip(choices, self._steps, strict=True):
            codes.append(int(choice[tuple(left)]))
            left = left - steps[codes[-1]]
        return np.array(codes, np.int64)

    def ranked(self, values: Sequence[Floats]) -> Iterator[Array]:
        """Code vectors within the limits, from the greatest sum of values down; each of shape (groups,).

        A search that extends the most promising beginning, with the best possible rest known exactly for each amount left:
        nothing over a limit is ever looked at, and of n groups with m options the k best take about k * n * m steps.

        Args:
            values: of each group's options, finite, shape (options,).
        """
        if self.empty:
            return
        if self._single is not None:
            yield self._single
            return
        rest = [np.zeros(tuple(self._slack + 1))]  # for each group and each amount left, the best sum over it and later ones
        for steps, worth in zip(reversed(self._steps), reversed(values), strict=True):
            best = np.full_like(rest[0], -np.inf)
            for step, value in zip(steps, worth, strict=True):
                to, since = _shifted(rest[0], step)
                best[to] = np.maximum(best[to], rest[0][since] + value)
            rest.insert(0, best)
        heap: list[tuple[float, tuple[int, ...], float, tuple[int, ...]]] = [(0.0, (), 0.0, tuple(map(int, self._slack)))]
        while heap:
            _, codes, value, left = heappop(heap)
            group = len(codes)
            if group == len(values):
                yield np.array(codes, np.int64)
                continue
            for option, steps in enumerate(self._steps[group]):
                after = tuple(int(a - b) for a, b in zip(left, steps, strict=True))
                if all(a >= 0 for a in after) and rest[group + 1][after] > -np.inf:
                    so_far = value + float(values[group][option])
                    heappush(heap, (-(so_far + float(rest[group + 1][after])), (*codes, option), so_far, after))

    def _search_one(self) -> Array | None:
        """A code vector within the limits, looked for among those that are cheapest by a weighted sum of the metrics."""
        scale = np.maximum(np.abs(self._limits), 1)
        for weight in np.linspace(0, 1, 101):
            weights = np.linspace(weight, 1 - weight, len(scale)) / scale
            codes = np.array([int(np.argmin(group @ weights)) for group in self._costs])
            if (sum(group[code] for group, code in zip(self._costs, codes, strict=True)) <= self._limits).all():
                return codes
        return None


class _Classes:
    """A group's options, those of equal cost taken together.

    Args:
        costs: in grid steps, shape (options, metrics).

    Attributes:
        steps: the distinct costs, shape (classes, metrics).
        sizes: how many options have each, shape (classes,).
        members: which, the rest of each row being of no meaning, shape (classes, largest size).
    """

    def __init__(self, costs: Array) -> None:
        self.steps, index, self.sizes = np.unique(costs, axis=0, return_inverse=True, return_counts=True)
        self.members = np.zeros((len(self.steps), self.sizes.max()), np.int64)
        for row in range(len(self.steps)):
            self.members[row, : self.sizes[row]] = np.flatnonzero(index.ravel() == row)

    def add(self, table: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Ways with this group chosen as well: for each amount left, the sum over options of the table at what then is left."""
        total = np.zeros_like(table)
        for steps, size in zip(self.steps, self.sizes, strict=True):
            to, since = _shifted(table, steps)
            total[to] += size * table[since]
        return total

    def choose(self, value: Array, worth: Array) -> tuple[Array, npt.NDArray[np.int16]]:
        """The greatest value with this group chosen as well, and the option that gives it; impossible is far below 0."""
        best, choice = np.full_like(value, -(2**62)), np.zeros(value.shape, np.int16)
        for steps, size, members in zip(self.steps, self.sizes, self.members, strict=True):
            option = members[:size][np.argmax(worth[members[:size]])]
            to, since = _shifted(value, steps)
            candidate = np.where(value[since] > -(2**61), value[since] + worth[option], -(2**62))
            better = candidate > best[to]
            best[to][better] = candidate[better]
            choice[to][better] = option
        return best, choice

    def completions(self, table: Floats, left: Array) -> Floats:
        """For each row of what is left, shape (n, metrics), and each class: its size times the table at what then is left."""
        after = left[:, None] - self.steps
        possible = (after >= 0).all(2)
        found = table[tuple(np.moveaxis(np.maximum(after, 0), 2, 0))] if after.shape[2] else np.full(possible.shape, table[()])
        return np.where(possible, found * self.sizes, 0)


def _shifted(table: npt.NDArray[Any], steps: Array) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Where a table over what is left is read, and where that is written, once ``steps`` are spent (of its last axes)."""
    lengths = table.shape[table.ndim - len(steps) :]
    to = (..., *(slice(int(step), None) for step in steps))
    since = (..., *(slice(0, max(length - int(step), 0)) for step, length in zip(steps, lengths, strict=True)))
    return to, since


def _carry(limbs: Array) -> Array:
    """The same numbers with every limb below 2**48; shape (limbs or one more, ...)."""
    limbs = np.concatenate([limbs, np.zeros_like(limbs[:1])])
    for i in range(len(limbs) - 1):
        limbs[i + 1] += limbs[i] >> _LIMB
        limbs[i] &= (1 << _LIMB) - 1
    return limbs if limbs[-1].any() else limbs[:-1]
