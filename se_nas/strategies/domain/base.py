"""The interface of a domain: architectures as rows of integer codes, with known costs, limits, and features for models.

A strategy sees only its domain, neither the `SearchSpace` nor the `CategoricalSpace` behind it.
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
"""Tries to draw an unseen architecture before all that are left are listed."""


class Domain(ABC):
    """Architectures as codes: one int64 for each gene, shape (genes,).

    Attributes:
        sizes: number of options of each gene.
        names: names of the genes.
        known: names of the known costs.
        tables: features of each gene's options for a model, shape (options, features) for each gene.
        parts: sets of genes that act together, as far as that is known: those of one group, or of one term of a known cost.
    """

    sizes: Ints
    names: tuple[str, ...]
    known: tuple[str, ...]
    tables: tuple[Floats, ...]
    parts: tuple[tuple[int, ...], ...]

    @abstractmethod
    def encode(self, architecture: Any) -> Ints | None:
        """The codes of an architecture. For one that is not in the space: None, or an `InputError`, depending on the domain."""

    @abstractmethod
    def decode(self, codes: Codes) -> Any:
        """The architecture with these codes."""

    @abstractmethod
    def costs(self, names: Sequence[str], codes: Codes) -> Floats:
        """The named known costs of many architectures, shape (n, names)."""

    @abstractmethod
    def feasible(self, codes: Codes) -> npt.NDArray[np.bool_]:
        """Whether each architecture meets every limit on known costs, shape (n,)."""

    @abstractmethod
    def sample(self, rng: np.random.Generator, n: int) -> Ints:
        """Draw feasible codes independently and uniformly; shape (n, genes)."""

    @abstractmethod
    def enumerate(self) -> Iterator[Ints]:
        """Every feasible code vector, once."""

    @property
    @abstractmethod
    def count(self) -> int | None:
        """Number of feasible code vectors; a lower bound if not `exact`; None if unknown."""

    @property
    def exact(self) -> bool:
        """Whether `count` is exact."""
        return self.count is not None

    @property
    def dimensions(self) -> Mapping[str, Sequence[int]]:
        """Name of a gene -> its codes: the parameters for a library that searches named parameters."""
        return {name: range(int(size)) for name, size in zip(self.names, self.sizes, strict=True)}

    def unseen(self, seen: Collection[Key], rng: np.random.Generator) -> Ints | None:
        """Draw uniformly a feasible code vector that is not in ``seen``; None if none is left."""
        if self.count is None or len(seen) < self.count:
            row: Ints
            for tries in (4, TRIES):  # few at first, because a draw is slow if the budget is tight
                for row in self.sample(rng, tries):
                    if row.tobytes() not in seen:
                        return row
        return self.last_unseen(seen, rng)

    @cached_property
    def every(self) -> Ints:
        """All feasible code vectors, shape (count, genes); for small domains only."""
        return np.array(list(self.enumerate()), np.int64).reshape(-1, len(self.sizes))

    def last_unseen(self, seen: Collection[Key], rng: np.random.Generator) -> Ints | None:
        """`unseen` when few are left: lists them all."""
        left = [row for row in self.every if row.tobytes() not in seen]
        return left[rng.integers(len(left))] if left else None

    def repair(self, codes: Ints, rng: np.random.Generator, seen: Collection[Key] = ()) -> Ints:
        """Feasible codes near these; a domain in which that is nearly always the same may prefer what is not in ``seen``.

        Draws a random feasible vector and copies its genes, in random order, until the result is feasible.
        """
        if self.feasible(codes[None])[0]:
            return codes
        target = self.sample(rng, 1)[0]
        path = np.repeat(codes[None], len(codes), 0)
        for step, gene in enumerate(rng.permutation(len(codes))):
            path[step:, gene] = target[gene]
        repaired: Ints = path[np.argmax(self.feasible(path))]  # the path ends at the target, which is feasible
        return repaired

    def neighbours(self, codes: Ints) -> Ints:
        """Every feasible code vector that differs from ``codes`` in exactly one gene, shape (n, genes)."""
        genes = np.repeat(np.arange(len(self.sizes)), self.sizes - 1)
        shift = np.concatenate([np.arange(1, size) for size in self.sizes])
        near = np.repeat(codes[None], len(genes), 0)
        near[np.arange(len(genes)), genes] = (codes[genes] + shift) % self.sizes[genes]
        return near[self.feasible(near)]


def value_features(values: Sequence[Any]) -> Floats:
    """Features in [-1, 1] that tell values apart, shape (values, features).

    Numbers are ordered: there is one feature for each gap between neighbours, and it says on which side of the gap a value
    lies. Other values are one-hot. Example: [4, 8, 16] gives [[-1, -1], [1, -1], [1, 1]].
    """
    if len(values) < 3:
        return np.linspace(-1, 1, len(values))[:, None] if len(values) == 2 else np.zeros((1, 0))
    if all(isinstance(value, (int, float, np.number)) for value in values):
        order = np.argsort(np.argsort(np.array(values, float)))
        return np.where(order[:, None] > np.arange(len(values) - 1), 1.0, -1.0)
    return 2 * np.eye(len(values)) - 1


def spread_order(sizes: Sequence[int], chunk: int) -> Iterator[Ints]:
    """Every code vector once, in an order in which neighbours are far apart; chunks of shape (chunk or fewer, genes)."""
    total = int(np.prod([int(size) for size in sizes], dtype=object))
    stride = next(step for step in itertools.count(max(1, int(total * 0.6180339887))) if math.gcd(step, total) == 1)
    for start in range(0, total, chunk):
        index = [(i * stride) % total for i in range(start, min(start + chunk, total))]
        yield unravel(index, sizes)


def unravel(index: Sequence[int], sizes: Sequence[int]) -> Ints:
    """Code vectors from their indices (which may exceed 64 bits); the last gene changes fastest; shape (n, genes)."""
    left = np.array(index, object if max(index, default=0) >= 2**62 else np.int64)
    columns = []
    for size in reversed(list(map(int, sizes))):
        columns.append((left % size).astype(np.int64))
        left = left // size
    return np.stack(columns[::-1], 1)


def draw(sizes: Ints, n: int, rng: np.random.Generator) -> Ints:
    """Draw code vectors uniformly, shape (n, genes)."""
    return draw_codes(sizes.tolist(), n, rng).astype(np.int64)
