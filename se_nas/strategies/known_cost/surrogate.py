"""A Gaussian process over architectures for 10 to some thousand trials of categorical choices.

Its covariance is a weighted sum of fixed components (`kernel`). The weights, and the noise, are learned (by scikit-learn).

- Main effects: linear in the features of the choices, and in the logarithms of the known costs.
- Similarity: exp(-distance / length scale). One component takes the number of features that differ (Hamming distance),
  another the squared Euclidean distance of the known costs.

The weights have a log-normal prior around 1 (noise: around 0.02). With only ten trials, maximum likelihood without a prior
overfits.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor

from se_nas.strategies.domain.base import Floats
from se_nas.strategies.known_cost.factor import BLOCK, JITTER, Factor
from se_nas.strategies.known_cost.features import Layout
from se_nas.strategies.known_cost.kernel import ArchitectureKernel

MAX_FIT = 200
"""Largest number of trials from which the weights are learned. Predictions use all trials."""

NOISE = 0.02
"""Prior of the noise, as a share of the variance."""

PRIOR_WIDTH = 1.0
"""Standard deviation of the prior of a weight's logarithm."""


class Surrogate:
    """Predicts the mean and the standard deviation of one quantity.

    Args:
        layout: the columns of a row.
        kinds: names of the covariance's components, in `COMPONENTS`. Those on costs are left out if the rows have no costs.

    Attributes:
        alpha: coefficients of the mean, shape (n,): a row's standardised mean is its covariances with `rows` times these.
        shift, scale: values are standardised as ``(value - shift) / scale``.
        least: smallest ``scale``.
    """

    least = 0.0

    def __init__(self, layout: Layout, kinds: Sequence[str]) -> None:
        absent = set()
        if layout.costs.start == layout.costs.stop:
            absent |= {"costs", "near costs"}
        self.layout, self._kinds = layout, tuple(kind for kind in kinds if kind not in absent)
        self._weights = np.array([1.0] * len(self._kinds) + [NOISE])
        self._prior = np.log(self._weights)
        self._factor: Factor | None = None
        self._first = 0

    @property
    def noise(self) -> float:
        """Standard deviation of a single trial's noise, in the quantity's unit."""
        return float(np.sqrt(self._weights[-1]) * self.scale)

    def learn(self, rows: Floats, values: Floats, noise: float | None = None) -> None:
        """Learn the weights, for `condition` to use.

        Args:
            rows: shape (n, features), see `se_nas.strategies.known_cost.features.Features.rows`.
            values: shape (n,).
            noise: measured standard deviation of a single trial, if known; it becomes the prior of the noise.
        """
        if len(rows) > MAX_FIT:  # keep the first, which are spread out, and the latest, which are near the front
            some = np.r_[: MAX_FIT // 4, len(rows) - MAX_FIT + MAX_FIT // 4 : len(rows)]
            rows, values = rows[some], values[some]
        standardised = self._standardised(values)
        if noise is not None:
            self._prior[-1] = np.log(np.clip((noise / self.scale) ** 2, NOISE / 100, 1.0))
        kernel = ArchitectureKernel(
            np.exp(self._prior), self.layout, self._kinds
        )  # do not start from earlier weights: the result must not depend on history
        process = GaussianProcessRegressor(kernel, alpha=JITTER, optimizer=self._optimize)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a weight at its bound does no harm
            process.fit(rows, standardised)
        self._weights, self._factor = process.kernel_.weights, None

    def condition(self, rows: Floats, values: Floats, first: int | None = None) -> None:
        """Condition the process on these values, shape (n,), of these rows, shape (n, features).

        What was factored before is used again. How rows were factored decides the last digits, so it must not depend on when this
        was called: the first are factored together, the others in blocks.

        Args:
            rows: of trials.
            values: of trials.
            first: how many are the first; all by default.
        """
        first = len(rows) if first is None else first
        factor = self._factor
        if factor is None or self._first != first or len(factor.rows) > len(rows) or (factor.rows != rows[: len(factor.rows)]).any():
            factor, self._first = Factor(self._kernel(), rows[:first]), first
        while (done := len(factor.rows)) + BLOCK <= len(rows):
            factor = factor.extended(rows[done : done + BLOCK])
        self._factor, self._all = factor, factor.extended(rows[done:])
        self._settle(values)

    def believe(self, rows: Floats, values: Floats) -> None:
        """Take further rows for trials until the next `condition`.

        Args:
            rows: the further ones alone, shape (m, features).
            values: of all trials and of the further rows, shape (n + m,).
        """
        self._all = self._all.extended(rows)
        self._settle(values)

    def _settle(self, values: Floats) -> None:
        self.alpha = self._all.solved(self._all.solved(self._standardised(values)), back=True)

    @property
    def weights(self) -> dict[str, float]:
        """Name of a component, or ``noise`` -> its weight."""
        return dict(zip((*self._kinds, "noise"), self._weights.tolist(), strict=True))

    @property
    def rows(self) -> Floats:
        """The rows that it is conditioned on."""
        return self._all.rows

    def covariance(self, X: Floats, Y: Floats) -> Floats:
        """Covariances of rows, standardised and without noise."""
        return self._kernel().covariance(X, Y)

    def variances(self, rows: Floats) -> Floats:
        """Their diagonal, shape (n,)."""
        return self._kernel().diag(rows)

    def predict(self, rows: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation (without a trial's noise), shape (n,) each."""
        covariance = self.covariance(rows, self.rows)
        explained = self._all.solved(covariance.T)
        deviation = np.sqrt(np.maximum(self.variances(rows) - np.einsum("ij,ij->j", explained, explained), 1e-12))
        return (covariance @ self.alpha) * self.scale + self.shift, deviation * self.scale

    def means(self, rows: Floats) -> Floats:
        """The means alone, shape (n,): much less work."""
        return (self.covariance(rows, self.rows) @ self.alpha) * self.scale + self.shift

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_factor": None, "_all": None}  # large, and made again

    def _standardised(self, values: Floats) -> Floats:
        self.shift, self.scale = float(values.mean()), max(float(values.std()), self.least) or 1.0
        return (values - self.shift) / self.scale

    def _kernel(self) -> ArchitectureKernel:
        return ArchitectureKernel(self._weights, self.layout, self._kinds)

    def _optimize(self, objective: Callable[..., Any], start: Floats, bounds: Floats) -> tuple[Floats, float]:
        def penalised(theta: Floats) -> tuple[float, Floats]:
            value, gradient = objective(theta)
            away = (theta - self._prior) / PRIOR_WIDTH
            return value + (away**2).sum() / 2, gradient + away / PRIOR_WIDTH

        found = minimize(penalised, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 30})
        return found.x, float(found.fun)
