from __future__ import annotations

import itertools

import numpy as np
import pytest
from conftest import digits_space

from se_nas.space import feasible
from se_nas.space.feasible import FeasibleSet


def random_problem(seed: int, metrics: int) -> tuple[list[np.ndarray], np.ndarray, list[tuple[int, ...]]]:
    """Costs, limits, and the code vectors within them, listed one by one."""
    rng = np.random.default_rng(seed)
    costs = [rng.integers(0, 20, (options, metrics)) for options in (3, 4, 2, 5)]
    limits = np.full(metrics, 40)
    listed = [
        codes
        for codes in itertools.product(*(range(len(c)) for c in costs))
        if (sum(c[code] for c, code in zip(costs, codes, strict=True)) <= limits).all()
    ]
    return costs, limits, listed


@pytest.mark.parametrize("metrics", [1, 2])
@pytest.mark.parametrize("seed", range(5))
def test_counts_and_lists_what_brute_force_does(seed: int, metrics: int) -> None:
    costs, limits, listed = random_problem(seed, metrics)
    found = FeasibleSet(costs, limits)
    assert found.exact
    assert found.size == len(listed) > 0
    assert [tuple(codes) for codes in found.enumerate()] == listed


@pytest.mark.parametrize("metrics", [1, 2])
def test_sampling_is_uniform(metrics: int) -> None:
    costs, limits, listed = random_problem(1, metrics)
    found = FeasibleSet(costs, limits)
    rng = np.random.default_rng(0)
    draws = 50 * len(listed)
    counts = dict.fromkeys(listed, 0)
    for _ in range(draws):
        counts[tuple(found.sample_many(rng, 1)[0])] += 1
    chi2 = sum((count - 50) ** 2 / 50 for count in counts.values())
    freedom = len(listed) - 1
    assert chi2 < freedom + 4 * (2 * freedom) ** 0.5  # four standard deviations of the chi-squared distribution


@pytest.mark.parametrize("metrics", [1, 2])
def test_drawing_many_is_uniform(metrics: int) -> None:
    costs, limits, listed = random_problem(1, metrics)
    codes = FeasibleSet(costs, limits).sample_many(np.random.default_rng(0), 200 * len(listed))
    counts = dict.fromkeys(listed, 0)
    for row in codes.tolist():
        counts[tuple(row)] += 1
    chi2 = sum((count - 200) ** 2 / 200 for count in counts.values())
    freedom = len(listed) - 1
    assert chi2 < freedom + 4 * (2 * freedom) ** 0.5


@pytest.mark.parametrize("metrics", [1, 2, 3])
@pytest.mark.parametrize("seed", range(8))
def test_the_best_is_that_of_brute_force(seed: int, metrics: int) -> None:
    costs, limits, listed = random_problem(seed, metrics)
    values = [np.random.default_rng(seed).integers(-50, 50, len(c)) for c in costs] if seed % 2 else [c[:, 0] for c in costs]

    def value(codes: tuple[int, ...]) -> int:
        return sum(int(v[code]) for v, code in zip(values, codes, strict=True))

    found = FeasibleSet(costs, limits)
    assert found.empty == (not listed)
    if found.empty:
        return
    best = found.best(values)
    assert tuple(best) in listed and value(tuple(best)) == max(map(value, listed))


@pytest.mark.parametrize("metrics", [0, 1, 2])
@pytest.mark.parametrize("seed", range(5))
def test_ranking_is_that_of_brute_force(seed: int, metrics: int) -> None:
    costs, limits, within = random_problem(seed, metrics)
    rng = np.random.default_rng(seed)
    values = [rng.normal(size=len(group)) for group in costs]
    expected = sorted(within, key=lambda codes: -sum(v[c] for v, c in zip(values, codes, strict=True)))
    assert [tuple(codes.tolist()) for codes in FeasibleSet(costs, limits).ranked(values)] == expected


@pytest.mark.parametrize("metrics", [1, 2])
@pytest.mark.parametrize("seed", range(6))
def test_a_coarse_table_misses_only_what_is_near_a_limit(seed: int, metrics: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feasible, "MAX_CELLS", 100 // (3 - metrics) ** 2)
    costs, limits, listed = random_problem(seed, metrics)
    costs, limits = [c * 7 + seed for c in costs], limits * 7 + 4 * seed
    found = FeasibleSet(costs, limits)
    kept = {tuple(codes) for codes in found.enumerate()}
    far = [codes for codes in listed if (sum(c[code] for c, code in zip(costs, codes, strict=True)) <= limits - found.margin).all()]
    assert set(far) <= kept <= set(listed) and len(kept) == found.size
    assert found.exact == (found.margin == 0).all()


def test_a_metric_that_binds_nowhere_or_repeats_another_costs_no_cells() -> None:
    rng = np.random.default_rng(0)
    costs = [np.stack([c := rng.integers(0, 1000, 5), 3 * c + 11, rng.integers(0, 9, 5) * 10**6], 1) for _ in range(6)]
    found = FeasibleSet(costs, np.array([2000, 3 * 2000 + 66, 10**9]))
    assert found.exact and found.size == FeasibleSet([c[:, :1] for c in costs], np.array([2000])).size


def test_one_is_found_where_a_coarse_grid_counts_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feasible, "MAX_CELLS", 4)
    costs = [np.array([[0, 90], [44, 44], [90, 0]])] * 2
    found = FeasibleSet(costs, np.array([102, 102]))
    assert not found.exact and found.size == 1 and not found.empty
    assert found.sample_many(np.random.default_rng(0), 1)[0].tolist() == [1, 1] == next(found.enumerate()).tolist()
    nothing = FeasibleSet(costs, np.array([10, 10]))
    assert nothing.empty and nothing.size == 0 and not list(nothing.enumerate())
    with pytest.raises(ValueError, match="nothing is within"):
        nothing.sample_many(np.random.default_rng(0), 1)[0]


def test_a_coarse_table_never_exceeds_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feasible, "MAX_CELLS", 8)
    costs, limits, listed = random_problem(2, 1)
    found = FeasibleSet(costs, limits)
    assert not found.exact
    assert 0 < found.size <= len(listed)
    rng = np.random.default_rng(0)
    assert {tuple(found.sample_many(rng, 1)[0]) for _ in range(200)} <= set(listed)


def test_counts_beyond_64_bits() -> None:
    costs = [np.zeros((91, 1), np.int64)] * 20
    assert FeasibleSet(costs, np.zeros(1, np.int64)).size == 91**20


def test_counts_beyond_what_a_float_holds() -> None:
    costs = [np.arange(100)[:, None] % 3] * 600
    found = FeasibleSet(costs, np.array([5]))
    exact = [1, 0, 0, 0, 0, 0]
    for _ in range(600):
        exact = [sum(exact[s - c] * n for c, n in ((0, 34), (1, 33), (2, 33)) if s >= c) for s in range(6)]
    assert found.size == sum(exact)
    assert (found.sample_many(np.random.default_rng(0), 50) % 3).sum(1).max() <= 5


def test_cheapest_and_dearest_of_a_space_within_its_budgets() -> None:
    space = digits_space(squeeze=["avg", "none"], bias=True, budgets={"params": "<= +3%", "macs": "<= +4%"})
    costs = [space.cost(architecture) for architecture in space.enumerate()]
    for metric in ("params", "macs"):
        values = [getattr(cost, metric) for cost in costs]
        assert getattr(space.cost(space.dearest(metric, within_budgets=True)), metric) == max(values)
        assert getattr(space.cost(space.cheapest(metric, within_budgets=True)), metric) == min(values)
    assert space.cost(space.dearest()).params > space.budgets[0].limit
    drawn = space.sample_many(0, 500)
    assert (space.cost_many(drawn).macs <= space.budgets[1].limit).all() and space.feasible_exact
