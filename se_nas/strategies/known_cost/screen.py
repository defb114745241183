"""Fast predictions of a fitted surrogate for very many architectures: means, and upper bounds of the deviations.

Speed comes from single precision, and from computing deviations with only the `PIVOTS` most informative trials. Fewer trials
mean more uncertainty, so these deviations are upper bounds, and the expected improvement computed with them is an upper bound
too. An architecture whose bound is too small to be among the best needs no exact prediction.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from se_nas.strategies.domain.base import Floats, Ints
from se_nas.strategies.known_cost.kernel import NEAR_CHOICES, NEAR_COSTS
from se_nas.strategies.known_cost.surrogate import Surrogate

Singles = npt.NDArray[np.float32]

PIVOTS = 64
"""Number of trials from which deviations are computed."""

SLACK = 1e-3
"""Added to each deviation (in units of the quantity's scale), against rounding in single precision."""


class Screen:
    """A fast copy of a surrogate.

    Args:
        model: a surrogate that is conditioned already. Later changes to it have no effect here.
    """

    def __init__(self, model: Surrogate) -> None:
        layout, weights, rows, alpha = model.layout, model.weights, model.rows, model.alpha
        order = _pivots(model, min(PIVOTS, len(rows)))
        noisy = model.covariance(rows[order], rows[order]) + np.diag(weights["noise"] * rows[order, -1])
        self._pivots = len(order)
        order = np.concatenate([order, np.setdiff1d(np.arange(len(rows)), order)])
        rows, alpha = rows[order], alpha[order]
        self._layout, self._shift, self._scale = layout, model.shift, model.scale
        self._weights = {kind: float(weight) for kind, weight in weights.items()}
        self._linear_mean = _singles(self._linear(rows) @ alpha)
        self._linear_pivots = _singles(self._linear(rows[: self._pivots]))
        self._exponents = [(columns, _singles(exponent)) for columns, exponent in self._near(rows)]
        self._alpha = _singles(alpha)
        self._root = _singles(np.linalg.inv(np.linalg.cholesky(noisy)).T)

    def __call__(self, rows: Floats | Singles) -> tuple[Floats, Floats]:
        """Means and upper bounds of the deviations, in the quantity's unit, shape (n,) each."""
        rows, layout = _singles(rows), self._layout
        choices, costs = rows[:, layout.choices], rows[:, layout.costs]
        squares = np.einsum("ij,ij->i", costs, costs)
        ends = np.concatenate([choices, np.ones((len(rows), 1), np.float32), costs, squares[:, None]], 1)
        mean, covariance = ends[:, :-1] @ self._linear_mean, ends[:, :-1] @ self._linear_pivots
        prior = np.float32(sum(self._weights.get(kind, 0.0) for kind in ("constant", "near", "near costs")))
        prior = prior + np.einsum("ij,ij->i", choices, choices) * np.float32(self._share("linear", choices))
        prior += squares * np.float32(self._share("costs", costs))
        for columns, exponent in self._exponents:
            near = ends[:, columns] @ exponent
            np.exp(near, out=near)
            mean += near @ self._alpha
            covariance += near[:, : self._pivots]
        explained = covariance @ self._root
        variance = np.maximum(prior - np.einsum("ij,ij->i", explained, explained), 0)
        deviation = np.sqrt(variance).astype(np.float64) + SLACK
        return mean.astype(np.float64) * self._scale + self._shift, deviation * self._scale

    def _share(self, kind: str, columns: Floats | Singles) -> float:
        """Weight of the product of one column, in a linear component."""
        return self._weights.get(kind, 0.0) / max(1, int(columns.shape[1]))

    def _linear(self, rows: Floats) -> Floats:
        """The part of the covariance with ``rows`` that is linear in a new row's (choices, 1, costs): coefficients, shape (features, n)."""
        choices, costs = rows[:, self._layout.choices], rows[:, self._layout.costs]
        constant = np.full((1, len(rows)), self._weights.get("constant", 0.0))
        return np.concatenate([choices.T * self._share("linear", choices), constant, costs.T * self._share("costs", costs)])

    def _near(self, rows: Floats) -> Iterator[tuple[slice, Floats]]:
        """The parts of the covariance with ``rows`` that fall with distance.

        Yields (columns, coefficients) for each part: its logarithm is linear in those columns of a new row's (choices, 1, costs,
        sum of squared costs).
        """
        choices, costs = rows[:, self._layout.choices].T, rows[:, self._layout.costs].T
        first, ones = self._layout.costs.start, np.ones((1, len(rows)))
        if "near" in self._weights:
            constant = np.log(self._weights["near"]) - len(choices) / NEAR_CHOICES
            yield slice(0, first + 1), np.concatenate([choices / NEAR_CHOICES, constant * ones])
        if "near costs" in self._weights:
            constant = np.log(self._weights["near costs"]) - (costs**2).sum(0, keepdims=True) / NEAR_COSTS
            yield slice(first, None), np.concatenate([constant, costs * 2 / NEAR_COSTS, -ones / NEAR_COSTS])


def _pivots(model: Surrogate, n: int) -> Ints:
    """The n most informative trials, each given those before it: the order of a pivoted Cholesky decomposition."""
    rows = model.rows
    left, factors, taken = model.variances(rows), np.zeros((len(rows), n)), np.zeros(n, np.int64)
    for k in range(n):
        taken[k] = place = int(np.argmax(left))
        column = (model.covariance(rows, rows[place][None])[:, 0] - factors[:, :k] @ factors[place, :k]) / np.sqrt(max(left[place], 1e-12))
        factors[:, k] = column
        left = left - column**2
        left[taken[: k + 1]] = -np.inf
    return taken


def _singles(values: Floats | Singles) -> Singles:
    return np.ascontiguousarray(values, np.float32)
