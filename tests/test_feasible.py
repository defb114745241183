from __future__ import annotations

import itertools

import numpy as np
import pytest

from se_nas import feasible
from se_nas.feasible import FeasibleSet


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
        counts[tuple(found.sample(rng))] += 1
    chi2 = sum((count - 50) ** 2 / 50 for count in counts.values())
    freedom = len(listed) - 1
    assert chi2 < freedom + 4 * (2 * freedom) ** 0.5  # four standard deviations of the chi-squared distribution


def test_a_coarse_table_never_exceeds_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feasible, "MAX_CELLS", 8)
    costs, limits, listed = random_problem(2, 1)
    found = FeasibleSet(costs, limits)
    assert not found.exact
    assert 0 < found.size <= len(listed)
    rng = np.random.default_rng(0)
    assert {tuple(found.sample(rng)) for _ in range(200)} <= set(listed)


def test_counts_beyond_64_bits() -> None:
    costs = [np.zeros((91, 1), np.int64)] * 20
    assert FeasibleSet(costs, np.zeros(1, np.int64)).size == 91**20
