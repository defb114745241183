"""A Gaussian process over architectures (scikit-learn's), for 10 to 1,000 trials of categorical choices.

Its covariance is a weighted sum of fixed components. The weights, and the noise, are learned.

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
from sklearn.gaussian_process.kernels import Hyperparameter, Kernel

from se_nas.strategies.domain.base import Floats
from se_nas.strategies.known_cost.factor import BLOCK, JITTER, Factor
from se_nas.strategies.known_cost.features import Layout

MAX_FIT = 200
"""Largest number of trials from which the weights are learned. Predictions use all trials."""

NOISE = 0.02
"""Prior of the noise, as a share of the variance."""

PRIOR_WIDTH = 1.0
"""Standard deviation of the prior of a weight's logarithm."""

NEAR_CHOICES, NEAR_COSTS = 20.0, 4.5
"""Length scales: the distances between choices and between costs are divided by these."""

CHUNK = 256
"""Rows of a covariance that are computed together."""


class ArchitectureKernel(Kernel):  # type: ignore[misc]
    """The weighted sum of components. An input row's last column is its noise variance, relative to a single trial.

    Args:
        weights: weight of each component, then of the noise.
        layout: the columns of a row.
        kinds: names of the components, in `COMPONENTS`.
    """

    def __init__(self, weights: Floats, layout: Layout, kinds: tuple[str, ...]) -> None:
        self.weights, self.layout, self.kinds = weights, layout, kinds
        self._cache: tuple[Any, list[Floats]] | None = None

    @property
    def hyperparameter_weights(self) -> Hyperparameter:
        return Hyperparameter("weights", "numeric", (1e-4, 1e3), len(self.weights))

    def clone_with_theta(self, theta: Floats) -> ArchitectureKernel:
        clone = ArchitectureKernel(np.exp(theta), self.layout, self.kinds)
        clone._cache = self._cache
        return clone

    def __call__(self, X: Floats, Y: Floats | None = None, eval_gradient: bool = False) -> Any:
        if Y is None:
            if self._cache is None or self._cache[0] is not X:
                self._cache = (X, [*self.components(X, X), np.diag(X[:, -1])])
            parts = self._cache[1]
        else:
            parts = self.components(X, Y)
        total = sum(weight * part for weight, part in zip(self.weights, parts, strict=False))
        if eval_gradient:
            return total, np.stack([weight * part for weight, part in zip(self.weights, parts, strict=True)], 2)
        return total

    def components(self, X: Floats, Y: Floats) -> list[Floats]:
        return [COMPONENTS[kind](X, Y, self.layout) for kind in self.kinds]

    def covariance(self, X: Floats, Y: Floats, lower: bool = False) -> Floats:
        """Covariances without noise, shape (rows of X, rows of Y). Computed by rows, for the cache's sake.

        Args:
            X: rows.
            Y: rows.
            lower: leave what is above the diagonal undefined.
        """
        found = np.empty((len(X), len(Y)))
        for start in range(0, len(X), CHUNK):
            some = slice(start, start + CHUNK)
            end = min(len(Y), start + CHUNK) if lower else len(Y)
            found[some, :end] = sum(w * part for w, part in zip(self.weights, self.components(X[some], Y[:end]), strict=False))
        return found

    def diag(self, X: Floats) -> Floats:
        return np.asarray(sum(w * DIAGONALS[kind](X, self.layout) for w, kind in zip(self.weights, self.kinds, strict=False)))

    def is_stationary(self) -> bool:
        return False


def _overlap(X: Floats, Y: Floats, columns: Any) -> Floats:
    product: Floats = X[:, columns] @ Y[:, columns].T / max(1, X[:, columns].shape[1])
    return product


def _near_costs(X: Floats, Y: Floats, layout: Layout) -> Floats:
    a, b = X[:, layout.costs], Y[:, layout.costs]
    squared = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    near: Floats = np.exp(squared / -NEAR_COSTS)
    return near


def _near_choices(X: Floats, Y: Floats, layout: Layout) -> Floats:
    features = layout.choices.stop - layout.choices.start
    near: Floats = np.exp((_overlap(X, Y, layout.choices) - 1) * features / NEAR_CHOICES)
    return near


COMPONENTS: dict[str, Callable[[Floats, Floats, Layout], Floats]] = {
    "constant": lambda X, Y, layout: np.ones((len(X), len(Y))),
    "linear": lambda X, Y, layout: _overlap(X, Y, layout.choices),
    "near": _near_choices,
    "costs": lambda X, Y, layout: _overlap(X, Y, layout.costs),
    "near costs": _near_costs,
}
DIAGONALS: dict[str, Callable[[Floats, Layout], Floats]] = {
    "constant": lambda X, layout: np.ones(len(X)),
    "linear": lambda X, layout: (X[:, layout.choices] ** 2).mean(1),
    "near": lambda X, layout: np.ones(len(X)),
    "costs": lambda X, layout: (X[:, layout.costs] ** 2).mean(1),
    "near costs": lambda X, layout: np.ones(len(X)),
}


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
