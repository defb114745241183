"""A Bayesian linear mixed model: variance components with weak priors, their uncertainty integrated by slice sampling.

``y = intercept + features @ coefficients + unit effect + noise``. Coefficients of one component share a normal prior with mean 0.
The standard deviations of the components, of units (trials of one unit share an effect) and of the noise are unknown. Each has a
lognormal prior: its logarithm, in units of y's standard deviation, has mean log 0.3 and deviation 1. For held-out figures a unit
is left out at once, in closed form (Rasmussen and Williams, 2006, eq. 5.10 to 5.12, by blocks).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.linalg import LinAlgError, cho_solve, cholesky, helmert, solve_triangular
from scipy.optimize import minimize
from scipy.special import ndtr

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_MEDIAN, _SPREAD = np.log(0.3), 1.0
"""Prior of the logarithm of each standard deviation: mean and standard deviation."""

_INTERCEPT = 100.0
"""Prior variance of the intercept: next to nothing is known of it."""

_JITTER = 1e-8
"""Least variance of a trial, for the arithmetic."""

_WIDER = 1.4
"""Ellipses are drawn from a normal distribution so much wider than the posterior's second order at its mode."""

_WARM_UP, _DRAWS, _THIN = 60, 240, 2


@dataclass(frozen=True)
class Posterior:
    """What the data say of each target, a weighted sum of coefficients.

    Attributes:
        estimate: posterior means, shape (targets,).
        low: 2.5 % quantiles.
        high: 97.5 % quantiles.
        noise: posterior median of the standard deviation of one trial, unit effect included.
    """

    estimate: Floats
    low: Floats
    high: Floats
    noise: float


@dataclass(frozen=True)
class HeldOut:
    """How well each unit is predicted by all others.

    Attributes:
        r2: 1 - squared errors / squared errors of the mean of the others; at most 0 if the features predict nothing.
        log_density: of all units, each given the others, in nats.
    """

    r2: float
    log_density: float


class MixedModel:
    """The model of these trials.

    Args:
        y: what was measured, shape (trials,). Not all equal.
        features: shape (trials, columns).
        component: of each column, which variance component it belongs to: 0, 1, ..., shape (columns,).
        units: of each trial, the number of its unit, shape (trials,).
    """

    def __init__(self, y: Floats, features: Floats, component: Ints, units: Ints) -> None:
        self._centre, self._scale = float(y.mean()), float(y.std())
        self._y, self._units = (y - self._centre) / self._scale, units
        self._components = int(component.max(initial=-1)) + 1
        spread = [np.sqrt(features[:, component == j].var(0).sum()) for j in range(self._components)]
        self._unscale = 1 / np.array(spread)[component]  # so that a component of deviation 1 makes y vary by 1
        self._features, self._component = features * self._unscale, component
        self._repeated = len(np.unique(units)) < len(units)
        self._sums = _Sums.of(self._y, self._features, units)

    @cached_property
    def _kernels(self) -> Floats:
        """Covariance of the summed rows for unit variance: of each component, then noise, then units if any has several trials."""
        parts = [self._sums.features[:, self._component == j] for j in range(self._components)]
        diagonals = [np.diag(np.ones_like(self._sums.times))] + [np.diag(self._sums.times)] * self._repeated
        return np.array([*(part @ part.T for part in parts), *diagonals])

    @cached_property
    def mode(self) -> Floats:
        """Logarithms of the most probable standard deviations."""
        starts = (np.full(len(self._kernels), _MEDIAN), np.full(len(self._kernels), _MEDIAN - 2.0))
        found = [minimize(self._loss, start, jac=True, method="L-BFGS-B", bounds=[(-12.0, 4.0)] * len(start)) for start in starts]
        best: Floats = min(found, key=lambda result: float(result.fun)).x
        return best

    def posterior(self, targets: Floats, intercept: Floats | None = None, seed: int = 0) -> Posterior:
        """The posterior of weighted sums of coefficients.

        Args:
            targets: weights of the coefficients, shape (targets, columns).
            intercept: weights of the intercept, shape (targets,): with 1, a target is what is expected of a trial. None: all 0.
            seed: of the draws.
        """
        with_intercept = np.zeros(len(targets)) if intercept is None else intercept
        kept = self._sample(np.random.default_rng(seed))
        means, deviations = map(np.array, zip(*(self._given(theta, targets, with_intercept) for theta in kept), strict=True))
        quantiles = (_mixture_quantile(means, deviations, share) for share in (0.025, 0.975))
        estimate, low, high = (self._scale * each + self._centre * with_intercept for each in (means.mean(0), *quantiles))
        residual = np.sqrt(np.exp(2 * kept[:, self._components :]).sum(1))
        return Posterior(estimate, low, high, float(np.median(residual)) * self._scale)

    def half_widths(self, targets: Floats, information: Floats, times: float) -> Floats:
        """Half of 95 % intervals at the most probable deviations, for trials other than these.

        Args:
            targets: weights of coefficients, shape (targets, columns).
            information: products of the columns, the intercept's first, summed over the trials, shape (1 + columns, 1 + columns).
            times: how often there are as many trials; each of them of a unit of its own.
        """
        variances = np.exp(2 * self.mode)
        weights = np.column_stack([np.zeros(len(targets)), targets * self._unscale])
        prior = np.concatenate([[_INTERCEPT], variances[self._component]])
        unscale = np.concatenate([[1.0], self._unscale])
        precision = np.diag(1 / prior) + times * information * np.outer(unscale, unscale) / variances[self._components :].sum()
        deviations: Floats = np.sqrt((weights @ np.linalg.inv(precision) * weights).sum(1))
        return 1.96 * deviations * self._scale

    @cached_property
    def held_out(self) -> HeldOut:
        """Each unit predicted from all others, at the most probable deviations.

        The covariance is never written out: its inverse is the noise's, less what the few columns explain (Woodbury's identity).
        """
        variances = np.exp(2 * self.mode)
        noise, unit = variances[self._components] + _JITTER, variances[-1] if self._repeated else 0.0
        columns = np.column_stack([np.full(len(self._y), _INTERCEPT**0.5), self._features * np.sqrt(variances)[self._component]])
        order = np.argsort(self._units, kind="stable")
        _, starts, sizes = np.unique(self._units[order], return_index=True, return_counts=True)
        by_size = [(size, order[starts[sizes == size][:, None] + np.arange(size)]) for size in np.unique(sizes)]  # rows of whole units
        whitened, inner, aimed = np.empty_like(columns), np.eye(columns.shape[1]), np.zeros(columns.shape[1])
        inverses = [np.eye(size) / noise - unit / (noise * (noise + size * unit)) for size, _ in by_size]
        for inverse, (_, rows) in zip(inverses, by_size, strict=True):
            whitened[rows] = inverse @ columns[rows]
            inner += np.einsum("usp,usq->pq", columns[rows], whitened[rows], optimize=True)
            aimed += np.einsum("us,usp->p", self._y[rows], whitened[rows])
        coefficients, middle = np.linalg.solve(inner, aimed), np.linalg.inv(inner)
        errors, baseline, density, total = 0.0, 0.0, 0.0, self._y.sum()
        for inverse, (size, rows) in zip(inverses, by_size, strict=True):
            y = self._y[rows]
            blocks = inverse - np.einsum("usp,pq,utq->ust", whitened[rows], middle, whitened[rows], optimize=True)
            solved = y @ inverse - whitened[rows] @ coefficients
            error = np.linalg.solve(blocks, solved[..., None])[..., 0]
            errors += float((error**2).sum())
            others = (total - y.sum(1)) / (len(self._y) - size)
            baseline += float(((y - others[:, None]) ** 2).sum())
            density += float(np.linalg.slogdet(blocks)[1].sum() / 2 - (error * solved).sum() / 2 - y.size / 2 * np.log(2 * np.pi))
        return HeldOut(1 - errors / baseline, density - len(self._y) * float(np.log(self._scale)))

    def _loss(self, theta: Floats) -> tuple[float, Floats]:
        """Minus the log posterior of the deviations' logarithms, and its gradient."""
        variances, own = np.exp(2 * theta), self._own(theta)
        factor = self._factor(variances)
        if factor is None:
            return 1e12, np.zeros_like(theta)
        inverse = cho_solve((factor, True), np.eye(len(factor)))
        solved = inverse @ self._sums.y
        gradient = variances * np.einsum("kij,ij->k", self._kernels, np.outer(solved, solved) - inverse)
        spare = (self._sums.spare_squares / own - self._sums.spare) / own
        gradient[self._components] += variances[self._components] * spare.sum()
        if self._repeated:
            gradient[-1] += variances[-1] * (spare * self._sums.spare_times).sum()
        prior = (theta - _MEDIAN) / _SPREAD**2
        return -self._log_posterior(theta, factor), -(gradient - prior)

    def _own(self, theta: Floats) -> Floats:
        """Variance of the rows that were summed up, of each kind."""
        noise = np.exp(2 * theta[self._components]) + _JITTER
        unit = np.exp(2 * theta[-1]) if self._repeated else 0.0
        own: Floats = noise + unit * self._sums.spare_times
        return own

    def _factor(self, variances: Floats) -> Floats | None:
        covariance = np.tensordot(variances, self._kernels, 1) + _INTERCEPT * np.outer(self._sums.ones, self._sums.ones)
        covariance += _JITTER * np.eye(len(covariance))
        try:
            factor: Floats = cholesky(covariance, lower=True, check_finite=False)
        except LinAlgError:
            return None
        return factor

    def _log_posterior(self, theta: Floats, factor: Floats | None = None) -> float:
        factor = self._factor(np.exp(2 * theta)) if factor is None else factor
        if factor is None:
            return -1e12
        own = self._own(theta)
        fit = solve_triangular(factor, self._sums.y, lower=True, check_finite=False)
        value = -np.log(np.diag(factor)).sum() - fit @ fit / 2
        value -= (self._sums.spare * np.log(own) + self._sums.spare_squares / own).sum() / 2
        return float(value - (((theta - _MEDIAN) / _SPREAD) ** 2).sum() / 2)

    def _given(self, theta: Floats, targets: Floats, intercept: Floats) -> tuple[Floats, Floats]:
        """Means and standard deviations of the targets, given the deviations."""
        variances = np.exp(2 * theta)
        prior = variances[self._component]
        weights = targets * self._unscale
        across = (weights * prior) @ self._sums.features.T + _INTERCEPT * np.outer(intercept, self._sums.ones)
        factor = self._factor(variances)
        assert factor is not None
        solved = solve_triangular(factor, np.column_stack([across.T, self._sums.y]), lower=True, check_finite=False)
        spread = (weights**2) @ prior + _INTERCEPT * intercept**2 - (solved[:, :-1] ** 2).sum(0)
        return solved[:, :-1].T @ solved[:, -1], np.sqrt(np.maximum(spread, 0.0))

    def _sample(self, rng: np.random.Generator) -> Floats:
        """Draws of the deviations' logarithms by slices of ellipses about the mode (Nishihara et al., 2014), shape (draws, deviations)."""
        root = np.linalg.cholesky(np.linalg.inv(self._information(self.mode))) * _WIDER

        def height(state: Floats) -> float:  # of the posterior over the normal distribution that ellipses are drawn from
            return self._log_posterior(self.mode + root @ state) + float(state @ state) / 2

        state = np.zeros(len(root))
        now, draws = height(state), []
        for step in range(_WARM_UP + _THIN * _DRAWS):
            other, level = rng.standard_normal(len(root)), now - rng.exponential()
            angle = rng.uniform(0, 2 * np.pi)
            low, high = angle - 2 * np.pi, angle
            while True:
                proposed = state * np.cos(angle) + other * np.sin(angle)
                now = height(proposed)
                if now > level:
                    break
                low, high = (angle, high) if angle < 0 else (low, angle)
                angle = rng.uniform(low, high)
            state = proposed
            if step >= _WARM_UP and (step - _WARM_UP) % _THIN == 0:
                draws.append(self.mode + root @ state)
        return np.array(draws)

    def _information(self, theta: Floats) -> Floats:
        """Expected information of the deviations' logarithms, prior included."""
        variances = np.exp(2 * theta)
        factor = self._factor(variances)
        assert factor is not None
        inverse = cho_solve((factor, True), np.eye(len(factor)))
        products = [variance * inverse @ kernel for variance, kernel in zip(variances, self._kernels, strict=True)]
        fisher: Floats = 2 * np.array([[(a * b.T).sum() for b in products] for a in products])
        own = self._own(theta)
        rows = [np.exp(2 * theta[self._components]) / own]
        rows += [np.exp(2 * theta[-1]) * self._sums.spare_times / own] * self._repeated
        for i, a in enumerate(rows):
            for j, b in enumerate(rows):
                fisher[self._components + i, self._components + j] += 2 * (self._sums.spare * a * b).sum()
        fisher += np.eye(len(theta)) / _SPREAD**2
        return fisher


@dataclass(frozen=True)
class _Sums:
    """The data in as few rows as hold all that they say.

    Trials of one unit are rotated into their mean and what differs from it: rows are then independent given the coefficients,
    with variance ``noise + times * unit``. Of rows with the same variance, more than there are columns are replaced by the
    triangle of their QR decomposition; the rest of them is noise alone, of which number and sum of squares are enough.
    """

    y: Floats
    features: Floats
    ones: Floats
    times: Floats
    spare: Floats
    spare_squares: Floats
    spare_times: Floats

    @classmethod
    def of(cls, y: Floats, features: Floats, units: Ints) -> _Sums:
        rows = np.column_stack([np.ones(len(y)), features, y])
        times = np.empty(len(y))
        order = np.argsort(units, kind="stable")
        for mine in np.split(order, np.flatnonzero(np.diff(units[order])) + 1):
            if len(mine) > 1:
                rows[mine] = helmert(len(mine), full=True) @ rows[mine]
            times[mine] = [len(mine)] + [0] * (len(mine) - 1)
        kinds = np.unique(times)
        kept, spare, squares = [], np.zeros(len(kinds)), np.zeros(len(kinds))
        for index, kind in enumerate(kinds):
            part = rows[times == kind]
            if len(part) > part.shape[1]:
                spare[index] = len(part) - (part.shape[1] - 1)
                triangle: Floats = np.linalg.qr(part)[1]
                squares[index] = triangle[-1, -1] ** 2
                part = triangle[:-1]
            kept.append(np.column_stack([np.full(len(part), kind), part]))
        whole = np.concatenate(kept)
        return cls(whole[:, -1], whole[:, 2:-1], whole[:, 1], whole[:, 0], spare, squares, kinds)


def _mixture_quantile(means: Floats, deviations: Floats, share: float) -> Floats:
    """A quantile of an equal mixture of normal distributions, for each column of arrays of shape (parts, targets)."""
    deviations = np.maximum(deviations, 1e-12)
    low, high = (means - 12 * deviations).min(0), (means + 12 * deviations).max(0)
    for _ in range(24):  # to a millionth of a deviation
        middle = (low + high) / 2
        below = ndtr((middle - means) / deviations).mean(0) < share
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    quantile: Floats = (low + high) / 2
    return quantile
