"""What every strategy searches: rows of integer codes, with known costs, hard limits and features for models.

A strategy sees neither a `SearchSpace` nor a `CategoricalSpace`, only one of these.
"""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from se_nas.space.codes import Codes, draw_codes

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Key = bytes

TRIES = 200
"""Draws of an architecture that is not known yet, before those left are listed."""


class Domain(ABC):
    """Architectures as codes, shape (genes,), int64.

    Attributes:
        sizes: how many options each gene has.
        names: of the genes.
        known: names of the known costs.
        tables: of each gene's options: numbers that a model can learn from, shape (options, features).
        parts: genes whose choices act together, as far as that is known: those of one site, or of one term of a known cost.
    """

    sizes: Ints
    names: tuple[str, ...]
    known: tuple[str, ...]
    tables: tuple[Floats, ...]
    parts: tuple[tuple[int, ...], ...]

    @abstractmethod
    def encode(self, architecture: Any) -> Ints | None:
        """Codes of an architecture; None for one that the space lacks, where that is no mistake."""

    @abstractmethod
    def decode(self, codes: Codes) -> Any:
        """The architecture of codes."""

    @abstractmethod
    def costs(self, names: Sequence[str], codes: Codes) -> Floats:
        """Known costs of many architectures, shape (n, names)."""

    @abstractmethod
    def feasible(self, codes: Codes) -> npt.NDArray[np.bool_]:
        """Whether every limit on known costs is met, shape (n,)."""

    @abstractmethod
    def sample(self, rng: np.random.Generator, n: int) -> Ints:
        """Feasible codes drawn independently, each equally likely; shape (n, genes)."""

    @abstractmethod
    def enumerate(self) -> Iterator[Ints]:
        """Every feasible code vector, once."""

    @property
    @abstractmethod
    def count(self) -> int | None:
        """How many are feasible, or at least so many if not `exact`; None if that is not known."""

    @property
    def exact(self) -> bool:
        """Whether `count` is."""
        return self.count is not None

    @property
    def dimensions(self) -> Mapping[str, Sequence[int]]:
        """Genes as named lists of codes: what a library that knows only parameters searches."""
        return {name: range(int(size)) for name, size in zip(self.names, self.sizes, strict=True)}

    def unseen(self, seen: Collection[Key], rng: np.random.Generator) -> Ints | None:
        """A feasible code vector that is not in ``seen``, each equally likely; None if there is none left."""
        if self.count is None or len(seen) < self.count:
            row: Ints
            for tries in (4, TRIES):  # few at first: where a budget is tight, each costs many draws
                for row in self.sample(rng, tries):
                    if row.tobytes() not in seen:
                        return row
        return self.last_unseen(seen, rng)

    @cached_property
    def every(self) -> Ints:
        """All that are feasible, shape (count, genes); for domains that are small enough."""
        return np.array(list(self.enumerate()), np.int64).reshape(-1, len(self.sizes))

    def last_unseen(self, seen: Collection[Key], rng: np.random.Generator) -> Ints | None:
        """`unseen`, where nearly all that is feasible has been seen: few are left to list."""
        left = [row for row in self.every if row.tobytes() not in seen]
        return left[rng.integers(len(left))] if left else None

    def repair(self, codes: Ints, rng: np.random.Generator) -> Ints:
        """Feasible codes near these: genes in random order take those of a random feasible vector, as few as it needs."""
        if self.feasible(codes[None])[0]:
            return codes
        target = self.sample(rng, 1)[0]
        path = np.repeat(codes[None], len(codes), 0)
        for step, gene in enumerate(rng.permutation(len(codes))):
            path[step:, gene] = target[gene]
        repaired: Ints = path[np.argmax(self.feasible(path))]  # the last of the path is the target
        return repaired


def value_features(values: Sequence[Any]) -> Floats:
    """Numbers that tell values apart, in [-1, 1], shape (values, features).

    Numbers have an order: one feature for each two neighbours, on which side of the gap a value lies. Other values have
    none: one feature for each value.
    """
    if len(values) < 3:
        return np.linspace(-1, 1, len(values))[:, None] if len(values) == 2 else np.zeros((1, 0))
    if all(isinstance(value, (int, float, np.number)) for value in values):
        order = np.argsort(np.argsort(np.array(values, float)))
        return np.where(order[:, None] > np.arange(len(values) - 1), 1.0, -1.0)
    return 2 * np.eye(len(values)) - 1


def spread_order(sizes: Sequence[int], chunk: int) -> Iterator[Ints]:
    """Every code vector once, neighbours in the order far apart: chunks of shape (chunk or fewer, genes)."""
    total = int(np.prod([int(size) for size in sizes], dtype=object))
    stride = next(step for step in itertools.count(max(1, int(total * 0.6180339887))) if math.gcd(step, total) == 1)
    for start in range(0, total, chunk):
        index = [(i * stride) % total for i in range(start, min(start + chunk, total))]
        yield unravel(index, sizes)


def unravel(index: Sequence[int], sizes: Sequence[int]) -> Ints:
    """Code vectors from their numbers (of any length), the last gene changing fastest; shape (n, genes)."""
    left = np.array(index, object if max(index, default=0) >= 2**62 else np.int64)
    columns = []
    for size in reversed(list(map(int, sizes))):
        columns.append((left % size).astype(np.int64))
        left = left // size
    return np.stack(columns[::-1], 1)


def draw(sizes: Ints, n: int, rng: np.random.Generator) -> Ints:
    """Code vectors, each equally likely, shape (n, genes)."""
    return draw_codes(sizes.tolist(), n, rng).astype(np.int64)
