"""The domain of a `CategoricalSpace`: one gene for each dimension; costs come from functions, or from tables if they add up."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from se_nas.errors import InputError
from se_nas.goals.objective import Objective
from se_nas.space.categorical import CategoricalSpace, Choices
from se_nas.space.codes import Codes
from se_nas.space.feasible import FeasibleSet
from se_nas.strategies.domain.additive import TOLERANCE, Parts, find_parts
from se_nas.strategies.domain.base import Domain, Floats, Ints, Key, draw, spread_order, unravel, value_features

LISTED = 2**20
"""Under a budget, a space up to this size is listed as a whole."""

CHUNK = 4096
"""Number of architectures processed together."""

RARE = 0.003
"""If a smaller share is feasible, rejection sampling is slow, and architectures are drawn by the sums of their costs."""

DRAWN, SEARCH = 8, 300
"""To find the first feasible architectures: chunks to draw, then steps of descent if the chunks contain none."""

STEPS = 2**15
"""When drawing by sums: number of grid steps."""

KEPT, STRIDE = 1024, 4
"""When drawing by a random walk: number of architectures kept to start from, and steps of each walk."""

GIVE_UP = 16
"""Chunks without an unseen architecture, after which the search for one gives up."""


class CategoricalDomain(Domain):
    """Architectures of a categorical space.

    Args:
        space: the space, with its known costs.
        objectives: budgets of known objectives are limits.

    Raises:
        InputError: if nothing within the budgets was found.
    """

    def __init__(self, space: CategoricalSpace, objectives: Sequence[Objective]) -> None:
        self.space = space
        self.names, self.known = tuple(map(str, space.dims)), tuple(space.costs)
        self.sizes = np.array(space.sizes)
        self.tables = tuple(map(value_features, space.dims.values()))
        self._parts = self._find_parts()
        members = self._parts.members if self._parts else ()
        self.parts = tuple(tuple(map(int, part)) for part in members if len(part) > 1)
        bounded = [o for o in objectives if o.known and o.budget is not None and o.name in space.costs]
        self._bounded = [o.name for o in bounded]
        self._signs = np.array([o.loss(1.0) for o in bounded])
        self._limits = np.array([o.loss(float(o.budget or 0)) for o in bounded])
        self._list: Ints | None = None
        self._sums: _Sums | None = None
        self._some: Ints | None = None
        self._share = 1.0
        if bounded:
            self._prepare()

    def encode(self, architecture: Mapping[str, Any]) -> Ints:
        return self.space.encode(architecture).astype(np.int64)

    def decode(self, codes: Codes) -> Choices:
        return self.space.decode(codes)

    def costs(self, names: Sequence[str], codes: Codes) -> Floats:
        found = np.empty((len(codes), len(names)))
        summed = self._parts.costs(codes) if self._parts and len(codes) > 1 else None  # a single architecture: call the function itself
        for column, name in enumerate(names):
            if summed is not None and name in self._summed:
                found[:, column] = summed[:, self._summed.index(name)]
            else:
                found[:, column] = self.space.cost_rows(name, codes)
        return found

    def feasible(self, codes: Codes) -> npt.NDArray[np.bool_]:
        if not self._bounded or not len(codes):
            return np.ones(len(codes), bool)
        losses = self._signs * self.costs(self._bounded, codes)
        slack = TOLERANCE * np.maximum(np.abs(losses), np.abs(self._limits))
        within: npt.NDArray[np.bool_] = (losses <= self._limits - slack).all(1)
        for row in np.flatnonzero(~within & (losses <= self._limits + slack).all(1)):  # close to a limit, the function itself decides
            exact = [self.space.cost_rows(name, codes[row][None])[0] for name in self._bounded]
            within[row] = (self._signs * exact <= self._limits).all()
        return within

    def sample(self, rng: np.random.Generator, n: int) -> Ints:
        if not self._bounded:
            return draw(self.sizes, n, rng)
        if self._list is not None:
            return self._list[rng.integers(len(self._list), size=n)]
        if self._some is not None:
            return self._walk(self._some, rng, n, STRIDE)
        found: list[Ints] = []
        while sum(map(len, found)) < n:
            codes = self._draw(rng, min(CHUNK, max(16, int(1.5 * n / self._share))))
            found.append(codes[self.feasible(codes)])
        return np.concatenate(found)[:n]

    def enumerate(self) -> Iterator[Ints]:
        if self._list is not None:
            yield from self._list
            return
        if self._some is not None:
            yield from self._wander()
            return
        if self._sums is not None:
            for codes in self._sums.enumerate():
                yield from codes[self.feasible(codes)]
            return
        chunks = [unravel(range(self.space.size), self.space.sizes)] if self.space.size <= LISTED else spread_order(self.space.sizes, CHUNK)
        for codes in chunks:
            yield from codes[self.feasible(codes)]

    @property
    def count(self) -> int | None:
        if self._list is not None:
            return len(self._list)
        return None if self._bounded else self.space.size

    def last_unseen(self, seen: Collection[Key], rng: np.random.Generator) -> Ints | None:
        if self._list is not None or self.space.size <= LISTED:
            return super().last_unseen(seen, rng)
        for _ in range(GIVE_UP):
            row: Ints
            for row in self.sample(rng, CHUNK if self._some is None else KEPT // 4):
                if row.tobytes() not in seen:
                    return row
        return None

    def _find_parts(self) -> Parts | None:
        """Tables of all costs that add up; None if there are none. The other costs keep their functions."""

        def rows(names: Sequence[str], codes: Ints) -> Floats:
            return np.stack([self.space.cost_rows(name, codes) for name in names], 1)

        alone = [name for name in self.known if find_parts(lambda codes, name=name: rows([name], codes), self.space.sizes)]  # type: ignore[misc]
        self._summed = alone
        parts = find_parts(lambda codes: rows(alone, codes), self.space.sizes) if alone else None
        if parts is None and alone:  # the tables of all together are too large
            self._summed = alone[:1]
            parts = find_parts(lambda codes: rows(alone[:1], codes), self.space.sizes)
        return parts

    def _prepare(self) -> None:
        """Choose how to draw feasible architectures. All ways are uniform but the last, the random walk.

        List them all if the space is small; draw and reject if enough are feasible; draw by the sums of costs that add up;
        walk at random.
        """
        if self.space.size <= LISTED:
            every = unravel(range(self.space.size), self.space.sizes)
            self._list = every[self.feasible(every)]
            if not len(self._list):
                raise self._none("no architecture is")
            return
        rng = np.random.default_rng(0)
        self._share = float(self.feasible(draw(self.sizes, CHUNK, rng)).mean())
        if self._share >= RARE:
            return
        summed = [i for i, name in enumerate(self._bounded) if self._parts and name in self._summed]
        if self._parts and summed:
            columns = [self._summed.index(self._bounded[i]) for i in summed]
            sums = _Sums(self._parts, columns, self._signs[summed], self._limits[summed])
            if sums.size == 0:
                raise self._none("no architecture is")
            if sums.size <= LISTED:
                every = np.concatenate(list(sums.enumerate()))
                self._list = every[self.feasible(every)]
                if not len(self._list):
                    raise self._none("no architecture is")
                return
            self._share = float(self.feasible(sums.draw(rng, CHUNK)).mean())
            if self._share >= RARE:
                self._sums = sums
                return
        self._some = self._walk(self._find_some(rng), rng, KEPT, 2 * len(self.sizes))

    def _draw(self, rng: np.random.Generator, n: int) -> Ints:
        return self._sums.draw(rng, n) if self._sums else draw(self.sizes, n, rng)

    def _find_some(self, rng: np.random.Generator) -> Ints:
        """Find a few feasible architectures where they are rare: by drawing, else by descent on how far budgets are exceeded."""
        found = []
        for _ in range(DRAWN):
            codes = draw(self.sizes, CHUNK, rng)
            found.append(codes[self.feasible(codes)])
            if sum(map(len, found)) >= 64:
                break
        some = np.concatenate(found)
        if len(some):
            return some
        scale = np.maximum(np.abs(self._limits), 1e-300)
        here = draw(self.sizes, 64, rng)
        for _ in range(SEARCH):
            near = np.repeat(here, 8, 0)
            genes = rng.integers(0, len(self.sizes), (len(near), 2))
            for gene in genes.T:
                near[np.arange(len(near)), gene] = rng.integers(0, self.sizes[gene])
            both = np.unique(np.concatenate([here, near]), axis=0)
            excess = np.maximum((self._signs * self.costs(self._bounded, both) - self._limits) / scale, 0).sum(1)
            here = both[np.argsort(excess, kind="stable")[:64]]
            within = self.feasible(here)
            if within.all():
                break
        if not self.feasible(here).any():
            raise self._none("none was found that is")
        return here[self.feasible(here)]

    def _wander(self) -> Iterator[Ints]:
        """Feasible architectures found by random walks, each once, until `GIVE_UP` times nothing new is found."""
        rng, seen, idle = np.random.default_rng(0), set[bytes](), 0
        while idle < GIVE_UP:
            new = [row for row in self.sample(rng, 256) if row.tobytes() not in seen]
            idle = 0 if new else idle + 1
            for row in new:
                if row.tobytes() not in seen:
                    seen.add(row.tobytes())
                    yield row

    def _walk(self, some: Ints, rng: np.random.Generator, n: int, steps: int) -> Ints:
        """Random walks within the limits from known feasible architectures; uniform in the long run. The last resort."""
        here = some[rng.integers(len(some), size=n)]
        for _ in range(steps):
            there = here.copy()
            genes = rng.integers(0, len(self.sizes), len(here))
            there[np.arange(len(here)), genes] = rng.integers(0, self.sizes[genes])
            within = self.feasible(there)
            here = np.where(within[:, None], there, here)
        return here

    def _none(self, what: str) -> InputError:
        limits = ", ".join(f"{name} {limit * sign:g}" for name, limit, sign in zip(self._bounded, self._limits, self._signs, strict=True))
        return InputError(f"{what} within the budgets ({limits})", "loosen one of them", "objectives")


class _Sums:
    """The architectures whose summed costs meet the limits, and a few others.

    Costs are rounded down to a grid: `FeasibleSet` then misses nothing, and includes a little too much. To draw uniformly from
    those that meet the limits, draw from this set and reject the others.
    """

    def __init__(self, parts: Parts, columns: Sequence[int], signs: Floats, limits: Floats) -> None:
        self._parts = parts
        tables = [signs * table[:, columns] for table in parts.tables]
        least = [table.min(0) for table in tables]
        slack = limits - signs * parts.base[columns] - sum(least)
        slack = slack + TOLERANCE * np.maximum(np.abs(limits), np.abs(slack))
        each = int(STEPS ** (1 / len(columns)))
        step = np.where(slack > 0, slack / each, 1.0)
        codes = [np.minimum(((table - low) / step).astype(np.int64), 2 * each) for table, low in zip(tables, least, strict=True)]
        top = np.where(slack >= 0, np.floor(slack / step), -1).astype(np.int64)
        self._set = FeasibleSet(codes, top)
        self.size = self._set.size

    def draw(self, rng: np.random.Generator, n: int) -> Ints:
        return self._parts.codes(self._set.sample_many(rng, n))

    def enumerate(self) -> Iterator[Ints]:
        for keys in self._set.enumerate():
            yield self._parts.codes(keys[None])
