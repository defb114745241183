"""Features of architectures for a model, and a way to draw architectures that covers cheap and dear ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from se_nas.strategies.domain.base import Domain, Floats, Ints

BASE = 4096
"""Number of feasible architectures from which scales and effects are estimated."""

TILT = 1.2
"""Largest tilt of the draws towards cheap or dear options: log odds for an option that costs one standard deviation more."""


@dataclass(frozen=True)
class Layout:
    """The columns of a row.

    Attributes:
        choices: features of the choices, from -1 to 1.
        costs: known costs, standardised (logarithms of those that are always positive).
        parts: for each of `Domain.parts`, the columns of its choices.
    """

    choices: slice
    costs: slice
    parts: tuple[npt.NDArray[np.int64], ...]


class Features:
    """Makes rows for a model. The last column is the noise variance of the row, relative to a single trial.

    Args:
        domain: the domain of the architectures.
        rng: random generator, to draw the architectures from which scales are estimated.
        extra: function that gives one more known quantity of architectures, shape (n,).

    Attributes:
        layout: the columns of a row.
        base: feasible architectures, drawn uniformly, shape (n, genes).
    """

    def __init__(self, domain: Domain, rng: np.random.Generator, extra: Callable[[Ints], Floats] | None = None) -> None:
        self._domain, self._extra = domain, extra
        self.base = domain.sample(rng, BASE)
        raw = self.raw(self.base)
        self._log = (raw > 0).all(0)
        values = self._scaled(raw)
        self._used = np.flatnonzero(values.std(0) > 1e-12 * np.maximum(np.abs(values).max(0, initial=0.0), 1e-300))
        self._shift, self._scale = values[:, self._used].mean(0), values[:, self._used].std(0)
        ends = np.cumsum([table.shape[1] for table in domain.tables])
        starts = ends - [table.shape[1] for table in domain.tables]
        parts = tuple(np.concatenate([np.arange(starts[gene], ends[gene]) for gene in part]) for part in domain.parts)
        self.layout = Layout(slice(0, int(ends[-1])), slice(int(ends[-1]), int(ends[-1]) + len(self._used)), parts)
        self._genes = np.repeat(np.arange(len(domain.tables)), [table.shape[1] for table in domain.tables])
        self._values = np.concatenate([table.T.ravel() for table in domain.tables])
        sizes = [int(size) for table, size in zip(domain.tables, domain.sizes, strict=True) for _ in range(table.shape[1])]
        self._places = np.cumsum([0, *sizes])[:-1].astype(np.int64)
        effects = [self._effect(gene) for gene in range(len(domain.sizes))]
        size = np.sqrt(np.mean(np.concatenate(effects) ** 2)) + 1e-12
        self._effects = [effect / size for effect in effects]

    def rows(self, codes: Ints, noise: Floats | None = None, raw: Floats | None = None) -> Floats:
        """The rows of these codes, shape (n, features).

        Args:
            codes: shape (n, genes).
            noise: the last column, shape (n,); 1 by default.
            raw: ``self.raw(codes)``, if it is computed already.
        """
        choices = self._values[self._places + codes[:, self._genes]]
        last = np.ones(len(codes)) if noise is None else noise
        return np.concatenate([choices, self.costs(codes, raw), last[:, None]], 1)

    def costs(self, codes: Ints, raw: Floats | None = None) -> Floats:
        """Standardised known costs, shape (n, costs); costs that never vary are left out."""
        costs: Floats = (self._scaled(self.raw(codes) if raw is None else raw)[:, self._used] - self._shift) / self._scale
        return costs

    def tilted(self, rng: np.random.Generator, n: int) -> Ints:
        """Draw at most n feasible architectures, some of them cheap in most choices and some dear; shape (m, genes)."""
        tilt = rng.uniform(-TILT, TILT, n)
        codes = np.empty((n, len(self._effects)), np.int64)
        for gene, effect in enumerate(self._effects):
            odds = np.exp(tilt[:, None] * effect).cumsum(1)
            codes[:, gene] = np.minimum((rng.random((n, 1)) * odds[:, -1:] > odds).sum(1), len(effect) - 1)
        return codes[self._domain.feasible(codes)]

    def raw(self, codes: Ints) -> Floats:
        """Known costs in their own units, in the order of `Domain.known`, then the extra quantity; shape (n, quantities)."""
        known = self._domain.costs(self._domain.known, codes)
        return known if self._extra is None else np.concatenate([known, self._extra(codes)[:, None]], 1)

    def _scaled(self, raw: Floats) -> Floats:
        return np.where(self._log, np.log(np.where(self._log, np.maximum(raw, 1e-300), 1.0)), raw)

    def _effect(self, gene: int) -> Floats:
        """How much dearer each option is than the average, shape (options,); without known costs, by the order of numbers."""
        size = int(self._domain.sizes[gene])
        if not len(self._used):
            order: Floats = self._domain.tables[gene].sum(1)
            return np.asarray(order - order.mean())
        score = self.costs(self.base).sum(1)
        number = np.bincount(self.base[:, gene], minlength=size)
        mean: Floats = np.bincount(self.base[:, gene], score, size) / np.maximum(number, 1)
        return np.asarray(np.where(number > 0, mean - score.mean(), 0.0))
