"""The architectures that meet every budget: count them, draw them uniformly, rank them.

Costs add up over groups. So the number of ways to complete a partial architecture depends only on the budget that is
left. Dynamic programming, from the last group to the first, tabulates that number for each remaining budget. To draw an
architecture, go group by group and take each option with probability proportional to its number of completions. No draw
is rejected, so a budget that one architecture in a billion meets is as fast as a loose one.

The remaining budget is counted in steps of a grid. Each group's costs are taken relative to its cheapest option. Metrics
that never bind, or that repeat another metric, are dropped. The step is the greatest common divisor of the costs, which
makes the tables exact. If that takes more than `MAX_CELLS` cells, the grid is made coarser and costs are rounded up: no
budget is ever exceeded, but architectures within `FeasibleSet.margin` of a limit may be missed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from heapq import heappop, heappush
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

MAX_CELLS = 2**17
"""Largest number of cells of a table: of remaining budgets that it tells apart."""

_LIMB = 48  # bits of a long integer in each 64-bit limb: the other 16 hold carries from sums over options

_CHUNK = 4096  # code vectors drawn at once

Prefix = tuple[int, ...]
"""Codes of the extra dimensions. They come first in a code vector, and choose the backbone."""


class FeasibleSet:
    """Counts, draws and ranks the code vectors whose summed costs are within limits.

    Args:
        costs: costs of each group's options, shape (options, metrics) for each group.
        limits: upper limits of the sums over groups, shape (metrics,).

    Attributes:
        exact: whether the tables are exact. If not, the methods see only part of the set, and ``size`` counts that part.
            If a coarse grid contains nothing, the part is a single code vector: one within the limits among the cheapest
            by a weighted sum of the metrics. If there is none either, the set counts as empty.
        empty: whether nothing is within the limits.
        margin: the part holds every code vector whose sums are this much below the limits, or more; shape (metrics,), 0 if
            exact.
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
        """Express costs and limits in steps of a grid, and make the tables over it."""
        every = np.concatenate(relative)
        binding = np.flatnonzero(sum(group.max(0) for group in relative) > slack)
        step = np.maximum([math.gcd(*every[:, m].tolist()) for m in range(len(slack))], 1)
        length = slack // step
        _, first, group_of = np.unique(every[:, binding] // step[binding], axis=1, return_index=True, return_inverse=True)
        chosen = [
            min(binding[group_of.ravel() == i], key=lambda m: int(length[m])) for i in range(len(first))
        ]  # of equal metrics, the tightest
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
        """For each group and remaining budget, the number of ways to choose this group and all later ones; shape slack + 1."""
        tables = [np.ones(tuple(self._slack + 1))]
        for classes in reversed(self._classes):
            table = classes.add(tables[0])
            if table.flat[-1] > 2.0**900:  # only ratios within a table matter, but no positive entry may become 0
                table = np.where(table > 0, np.maximum(np.ldexp(table, -800), np.finfo(float).tiny), 0)
            tables.insert(0, table)
        return tables

    @cached_property
    def size(self) -> int:
        """Number of code vectors within the limits; a lower bound if not exact."""
        if self.empty:
            return 0
        if self._single is not None:
            return 1
        if max(table.flat[-1] for table in self._tables) < 2**53:
            return int(self._tables[0].flat[-1])
        limbs = np.zeros((1, *(self._slack + 1)), np.int64) + 1  # the same sums in long integers, lowest limb first
        for classes in reversed(self._classes):
            limbs = _carry(classes.add(limbs))
        return sum(int(limb.flat[-1]) << (_LIMB * i) for i, limb in enumerate(limbs))

    def sample_many(self, rng: np.random.Generator, n: int) -> Array:
        """Draw code vectors independently and uniformly (to the 53 bits of a float); shape (n, groups).

        Raises:
            ValueError: if the set is empty.
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
        """Every code vector within the limits; the last group changes fastest. Enters no dead end."""
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
        """The code vector within the limits that has the largest sum of values; shape (groups,).

        Args:
            values: an integer for each option, shape (options,) for each group; sums must stay below 2**61.

        Raises:
            ValueError: if the set is empty.
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
        """Code vectors within the limits, sorted by their sum of values, largest first; each of shape (groups,).

        Best-first search. It always extends the most promising partial vector, and knows the best completion exactly for
        each remaining budget. So it never visits a vector over a limit, and the k best of n groups with m options take
        about k * n * m steps.

        Args:
            values: a finite number for each option, shape (options,) for each group.
        """
        if self.empty:
            return
        if self._single is not None:
            yield self._single
            return
        rest = [np.zeros(tuple(self._slack + 1))]  # for each group and remaining budget, the best sum over this group and later ones
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
        """Look for a code vector within the limits among the cheapest ones by weighted sums of the metrics."""
        scale = np.maximum(np.abs(self._limits), 1)
        for weight in np.linspace(0, 1, 101):
            weights = np.linspace(weight, 1 - weight, len(scale)) / scale
            codes = np.array([int(np.argmin(group @ weights)) for group in self._costs])
            if (sum(group[code] for group, code in zip(self._costs, codes, strict=True)) <= self._limits).all():
                return codes
        return None


class FeasibleUnion:
    """The union of several backbones' `FeasibleSet`; its code vectors begin with the backbone's prefix.

    Args:
        sets: prefix -> the backbone's set.
    """

    def __init__(self, sets: Mapping[Prefix, FeasibleSet]) -> None:
        self._sets = {prefix: one for prefix, one in sets.items() if not one.empty}
        self.empty = not self._sets
        self.exact = all(one.exact for one in sets.values())

    @cached_property
    def size(self) -> int:
        """Number of code vectors within the limits; a lower bound if not exact."""
        return sum(one.size for one in self._sets.values())

    def sample_many(self, rng: np.random.Generator, n: int) -> Array:
        """Draw code vectors independently and uniformly; shape (n, genes).

        Raises:
            ValueError: if the set is empty.
        """
        if self.empty:
            raise ValueError("nothing is within the limits")
        shares = [one.size / self.size for one in self._sets.values()]
        which = rng.choice(len(shares), n, p=np.array(shares) / sum(shares))
        parts = [_prefixed(prefix, one.sample_many(rng, int((which == i).sum()))) for i, (prefix, one) in enumerate(self._sets.items())]
        codes = np.concatenate(parts)
        drawn = np.empty_like(codes)
        drawn[np.argsort(which, kind="stable")] = codes
        return drawn

    def enumerate(self) -> Iterator[Array]:
        """Every code vector within the limits; the last group changes fastest."""
        for prefix, one in self._sets.items():
            for codes in one.enumerate():
                yield np.array([*prefix, *codes], np.int64)


class FeasibleList:
    """The code vectors of a list.

    Args:
        rows: shape (n, genes), each once.
    """

    exact = True

    def __init__(self, rows: Array) -> None:
        self.rows, self.size, self.empty = np.asarray(rows, np.int64), len(rows), not len(rows)

    def sample_many(self, rng: np.random.Generator, n: int) -> Array:
        """Draw code vectors independently and uniformly; shape (n, genes).

        Raises:
            ValueError: if the list is empty.
        """
        if self.empty:
            raise ValueError("nothing is within the limits")
        return self.rows[rng.integers(self.size, size=n)]

    def enumerate(self) -> Iterator[Array]:
        """Every code vector, in the order of the list."""
        return iter(self.rows)


def _prefixed(prefix: Prefix, codes: Array) -> Array:
    return np.concatenate([np.tile(np.array(prefix, np.int64), (len(codes), 1)), codes], 1)


class _Classes:
    """A group's options, in classes of equal cost.

    Args:
        costs: cost of each option in grid steps, shape (options, metrics).

    Attributes:
        steps: cost of each class, shape (classes, metrics).
        sizes: number of options of each class, shape (classes,).
        members: options of each class, shape (classes, largest size); row i is valid up to ``sizes[i]``.
    """

    def __init__(self, costs: Array) -> None:
        self.steps, index, self.sizes = np.unique(costs, axis=0, return_inverse=True, return_counts=True)
        self.members = np.zeros((len(self.steps), self.sizes.max()), np.int64)
        for row in range(len(self.steps)):
            self.members[row, : self.sizes[row]] = np.flatnonzero(index.ravel() == row)

    def add(self, table: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Number of ways once this group is chosen too: for each remaining budget, sum the table over what each option leaves."""
        total = np.zeros_like(table)
        for steps, size in zip(self.steps, self.sizes, strict=True):
            to, since = _shifted(table, steps)
            total[to] += size * table[since]
        return total

    def choose(self, value: Array, worth: Array) -> tuple[Array, npt.NDArray[np.int16]]:
        """The largest value once this group is chosen too, and the option that gives it. Impossible entries are below -2**61."""
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
        """Number of completions with each class: its size, times the table at the budget that it leaves.

        Args:
            table: completions by later groups, for each remaining budget.
            left: remaining budgets, shape (n, metrics).

        Returns:
            Shape (n, classes).
        """
        after = left[:, None] - self.steps
        possible = (after >= 0).all(2)
        found = table[tuple(np.moveaxis(np.maximum(after, 0), 2, 0))] if after.shape[2] else np.full(possible.shape, table[()])
        return np.where(possible, found * self.sizes, 0)


def _shifted(table: npt.NDArray[Any], steps: Array) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Slices (to, since) of a table over remaining budgets: budget ``to`` becomes ``since`` once ``steps`` are spent.

    ``steps`` are along the table's last axes.
    """
    lengths = table.shape[table.ndim - len(steps) :]
    to = (..., *(slice(int(step), None) for step in steps))
    since = (..., *(slice(0, max(length - int(step), 0)) for step, length in zip(steps, lengths, strict=True)))
    return to, since


def _carry(limbs: Array) -> Array:
    """Carry, so that every limb is below 2**48; shape (limbs or one more, ...)."""
    limbs = np.concatenate([limbs, np.zeros_like(limbs[:1])])
    for i in range(len(limbs) - 1):
        limbs[i + 1] += limbs[i] >> _LIMB
        limbs[i] &= (1 << _LIMB) - 1
    return limbs if limbs[-1].any() else limbs[:-1]
