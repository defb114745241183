"""The covariance of architectures: a weighted sum of parts, see `se_nas.strategies.known_cost.surrogate`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.gaussian_process.kernels import Hyperparameter, Kernel

from se_nas.strategies.domain.base import Floats
from se_nas.strategies.known_cost.features import Layout

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
