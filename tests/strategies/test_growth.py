"""What an ask costs must not grow with what was told, or no faster than it: counted in calls and in memory, not by the clock."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

from se_nas.goals.objective import parse_objectives
from se_nas.space.space import SearchSpace
from se_nas.strategies import STRATEGIES, Strategy, create_strategy
from se_nas.strategies.known_cost import factor
from se_nas.strategies.ranking import first_front, fronts, order

SPACE = SearchSpace("resnet20", (3, 32, 32), reduction=[2, 4, 8, 16], squeeze=["avg", "max"])
OBJECTIVES = parse_objectives(["accuracy", "params", "macs"])


def told(name: str, number: int, **options: object) -> Strategy:
    """A strategy that was told of so many, ten of which dominate all others."""
    strategy, rng = create_strategy(name, SPACE, OBJECTIVES, **options), np.random.default_rng(0)
    for place, architecture in enumerate(SPACE.decode(row) for row in SPACE.sample_many(rng, number)):
        strategy.tell(architecture, {"accuracy": 0.9 if place < 10 else 0.5 * rng.random()})
    return strategy


def cost(action: Callable[[], object]) -> tuple[int, int]:
    """Calls of functions (Python's own in C included), and the most bytes that were held."""
    calls = 0

    def called(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    tracemalloc.start()
    sys.setprofile(called)
    try:
        action()
        return calls, tracemalloc.get_traced_memory()[1]
    finally:
        sys.setprofile(None)
        tracemalloc.stop()


@pytest.mark.parametrize("name", sorted(STRATEGIES.keys() - {"known-cost", "grid", "tpe"}))
def test_an_ask_makes_as_many_calls_after_many_trials_as_after_few(name: str) -> None:
    few, many = told(name, 200), told(name, 1600)
    for strategy in (few, many):
        strategy.ask(1)  # what is made once
    (calls, size), (calls_of_many, size_of_many) = cost(lambda: few.ask(1)), cost(lambda: many.ask(1))
    assert calls_of_many < 2 * calls + 100 and size_of_many < 12 * size + 50_000  # 8 times as many trials


def test_known_cost_factors_the_new_trials_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    strategy, sizes, real = told("known-cost", 150, pool=400), list[int](), factor.cholesky

    def counted(matrix: np.ndarray, **options: object) -> np.ndarray:
        sizes.append(len(matrix))
        return real(matrix, **options)

    monkeypatch.setattr(factor, "cholesky", counted)
    learned = []
    for _ in range(12):
        sizes.clear()
        (architecture,) = strategy.ask(1)
        learned.append(max(sizes) > factor.BLOCK)
        strategy.tell(architecture, {"accuracy": 0.5})
    assert learned[0] and learned.count(True) <= 2  # only where the weights are learned again: each time a twelfth is new


def test_a_factor_that_grew_is_the_one_of_all_rows() -> None:
    strategy = told("known-cost", 150, pool=400)
    strategy.ask(3)
    model = strategy._models[0]
    whole = factor.Factor(model._kernel(), model.rows)
    assert len(model.rows) == 152 and len(model._factor.rows) < 150
    np.testing.assert_allclose(np.tril(model._all.lower), np.tril(whole.lower), atol=1e-9)


def by_definition(losses: np.ndarray) -> list[int]:
    rank: dict[int, int] = {}
    while len(rank) < len(losses):
        left = [i for i in range(len(losses)) if i not in rank]
        best = [i for i in left if not any((losses[j] <= losses[i]).all() and (losses[j] < losses[i]).any() for j in left)]
        rank.update(dict.fromkeys(best, max(rank.values(), default=-1) + 1))
    return [rank[i] for i in range(len(losses))]


@pytest.mark.parametrize("objectives", [1, 2, 3])
@pytest.mark.parametrize("values", [3, 1000])
def test_fronts_are_those_of_the_definition(objectives: int, values: int) -> None:
    for number in (0, 1, 30):
        losses = np.random.default_rng(number).integers(0, values, (number, objectives)).astype(float)
        expected = by_definition(losses)
        assert fronts(losses).tolist() == expected and first_front(losses).tolist() == [rank == 0 for rank in expected]
        assert order(losses, 5)[:5].tolist() == order(losses)[:5].tolist()
