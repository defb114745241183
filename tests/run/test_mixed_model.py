"""The mixed model against its definition, written out with whole matrices."""

from __future__ import annotations

import numpy as np
import pytest

from se_nas.run.mixed_model import _INTERCEPT, _JITTER, _MEDIAN, _SPREAD, MixedModel


def data(rows: int, columns: int, seed: int = 0, repeats: bool = True):
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((rows, columns))
    component = np.arange(columns) % 2
    units = rng.integers(0, rows // 2, rows) if repeats else np.arange(rows)
    y = features @ rng.standard_normal(columns) * 0.3 + rng.standard_normal(rows) + rng.standard_normal(rows)[units]
    return y, features, component, units


def covariance(model: MixedModel, features, component, units, theta):
    variances = np.exp(2 * theta)
    scaled = np.array(features)
    for j in (0, 1):
        scaled[:, component == j] /= np.sqrt(scaled[:, component == j].var(0).sum())
    whole = _INTERCEPT + scaled @ np.diag(variances[component]) @ scaled.T + (variances[2] + _JITTER) * np.eye(len(units))
    return scaled, whole + (variances[3] * (units[:, None] == units) if len(theta) > 3 else 0)


@pytest.mark.parametrize("shape", [(12, 30), (60, 6), (60, 6, 0, False)])  # more columns than trials, and fewer
def test_the_likelihood_and_its_gradient(shape) -> None:
    y, features, component, units = data(*shape)
    model = MixedModel(y, features, component, units)
    standard = (y - y.mean()) / y.std()

    def whole(theta) -> float:
        _, matrix = covariance(model, features, component, units, theta)
        prior = (((theta - _MEDIAN) / _SPREAD) ** 2).sum() / 2
        return float(-np.linalg.slogdet(matrix)[1] / 2 - standard @ np.linalg.solve(matrix, standard) / 2 - prior)

    a, b = model.mode, model.mode + 0.4
    assert model._log_posterior(b) - model._log_posterior(a) == pytest.approx(whole(b) - whole(a), abs=1e-4)
    loss, gradient = model._loss(b)
    for i, step in enumerate(1e-5 * np.eye(len(b))):
        assert gradient[i] == pytest.approx((model._loss(b + step)[0] - model._loss(b - step)[0]) / 2e-5, abs=1e-4)
    assert np.abs(model._loss(model.mode)[1]).max() < 1e-2 and loss > model._loss(model.mode)[0]


@pytest.mark.parametrize("shape", [(12, 30), (60, 6)])
def test_targets_given_the_deviations(shape) -> None:
    y, features, component, units = data(*shape)
    model = MixedModel(y, features, component, units)
    scaled, matrix = covariance(model, features, component, units, model.mode)
    targets = np.random.default_rng(1).standard_normal((3, shape[1]))
    ratio = scaled[0] / features[0]
    intercept = np.array([0.0, 1.0, 1.0])
    across = (targets * ratio) @ np.diag(np.exp(2 * model.mode)[component]) @ scaled.T + _INTERCEPT * intercept[:, None]
    means, deviations = model._given(model.mode, targets, intercept)
    assert means == pytest.approx(across @ np.linalg.solve(matrix, (y - y.mean()) / y.std()), abs=1e-5)
    spread = np.diag((targets * ratio) @ np.diag(np.exp(2 * model.mode)[component]) @ (targets * ratio).T) + _INTERCEPT * intercept**2
    assert deviations**2 == pytest.approx(spread - np.diag(across @ np.linalg.solve(matrix, across.T)), abs=1e-5)


def test_units_left_out_are_predicted_from_the_others_alone() -> None:
    y, features, component, units = data(24, 5)
    model = MixedModel(y, features, component, units)
    _, matrix = covariance(model, features, component, units, model.mode)
    standard, errors, baseline, density = (y - y.mean()) / y.std(), 0.0, 0.0, 0.0
    for unit in set(units.tolist()):
        mine = units == unit
        across = matrix[np.ix_(mine, ~mine)] @ np.linalg.inv(matrix[np.ix_(~mine, ~mine)])
        error = standard[mine] - across @ standard[~mine]
        spread = matrix[np.ix_(mine, mine)] - across @ matrix[np.ix_(~mine, mine)]
        errors += error @ error
        baseline += ((standard[mine] - standard[~mine].mean()) ** 2).sum()
        density -= (error @ np.linalg.solve(spread, error) + np.linalg.slogdet(2 * np.pi * spread)[1]) / 2
    assert model.held_out.r2 == pytest.approx(1 - errors / baseline, abs=1e-4)
    assert model.held_out.log_density == pytest.approx(density - len(y) * np.log(y.std()), abs=1e-3)


def test_more_trials_of_the_same_kind_narrow_the_intervals() -> None:
    """Where there are plenty, four times as many halve them; and once as many are those of the posterior."""
    y, features, component, units = data(400, 4, repeats=False)
    model = MixedModel(y, features, component, units)
    rows = np.column_stack([np.ones(len(y)), features])
    once, more = (model.half_widths(np.eye(4), rows.T @ rows, times) for times in (1, 4))
    found = model.posterior(np.eye(4))
    assert once == pytest.approx((found.high - found.low) / 2, rel=0.1)
    assert more == pytest.approx(once / 2, rel=0.05)
