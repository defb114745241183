"""The factor of a covariance, which grows with the trials."""

from __future__ import annotations

import numpy as np
from scipy.linalg import cholesky, solve_triangular

from se_nas.strategies.domain.base import Floats
from se_nas.strategies.known_cost.kernel import ArchitectureKernel

BLOCK = 32
"""Trials that are added to a factor together."""

JITTER = 1e-8
"""Added to the diagonal of the covariance, so that it can be inverted."""


class Factor:
    """The Cholesky factor of the covariance of rows, with their noise. To add rows takes the square of their number, not the cube.

    Args:
        kernel: the covariance.
        rows: shape (n, features).
    """

    def __init__(self, kernel: ArchitectureKernel, rows: Floats) -> None:
        self.kernel, self.rows = kernel, rows
        self.lower: Floats = cholesky(self._noisy(rows), lower=True, overwrite_a=True, check_finite=False)

    def _noisy(self, rows: Floats) -> Floats:
        covariance = self.kernel.covariance(rows, rows, lower=True)
        covariance[np.diag_indices_from(covariance)] += self.kernel.weights[-1] * rows[:, -1] + JITTER
        return covariance

    def extended(self, rows: Floats) -> Factor:
        """With more rows, shape (m, features)."""
        if not len(rows):
            return self
        more = object.__new__(Factor)
        more.kernel, more.rows = self.kernel, np.concatenate([self.rows, rows])
        cross = self.solved(self.kernel.covariance(rows, self.rows).T).T
        corner = cholesky(np.tril(self._noisy(rows)) - np.tril(cross @ cross.T), lower=True, check_finite=False)
        old, size = len(self.rows), len(more.rows)
        more.lower = np.zeros((size, size))
        more.lower[:old, :old], more.lower[old:, :old], more.lower[old:, old:] = self.lower, cross, corner
        return more

    def solved(self, right: Floats, back: bool = False) -> Floats:
        """``lower`` (``back``: its transpose) inverted times the right side, shape (n, ...)."""
        found: Floats = solve_triangular(self.lower, right, lower=True, trans=int(back), check_finite=False)
        return found
