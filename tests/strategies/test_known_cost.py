"""Known-cost Bayesian search: what the other strategies do not have."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import digits_space

import se_nas
from se_nas.evaluate import Evaluation
from se_nas.goals.objective import Objective, parse_objectives
from se_nas.run.trial import Trial
from se_nas.space.categorical import CategoricalSpace
from se_nas.space.space import SearchSpace
from se_nas.strategies import create_strategy, replay
from se_nas.strategies.known_cost.improvement import moves, worth_again
from se_nas.strategies.known_cost.screen import PIVOTS, Screen


def made_up(space: SearchSpace, architecture, seed: int = 0) -> dict[str, float]:
    """Later sites are worth more; noise of a tenth of a point."""
    gain = sum((1 + i) * spec.reduction**-0.2 for i, (_, spec) in enumerate(architecture) if spec is not None)
    noise = np.random.default_rng([int(architecture.id, 16), seed]).standard_normal()
    return {"accuracy": 0.8 + gain / 1000 + noise / 1000}


def test_a_search_resumed_late_proposes_the_same() -> None:
    """From 24 trials on, weights are learned from fewer than all that are finished: which must not depend on when it was asked."""
    space = SearchSpace("resnet20", (3, 32, 32), reduction=[2, 4, 8, 16], squeeze=["avg", "max"])
    objectives = parse_objectives(["accuracy", "params"])

    def make():
        return create_strategy("known-cost", space, objectives, 5, pool=400)

    strategy, ledger, compared = make(), list[Trial](), 0
    for number in range(45):
        if number in (25, 31, 44):
            again = make()
            assert replay(again, ledger)
            assert again.ask(3) == strategy.ask(3), f"after {number} trials"
            strategy.withdraw()
            compared += 1
        (architecture,) = strategy.ask(1)
        metrics, cost = made_up(space, architecture), space.cost(architecture)
        ledger.append(
            Trial(number, "proposal", architecture, 0, {}, "complete", metrics, {"params": cost.params, "macs": cost.macs}, number)
        )
        strategy.tell(architecture, ledger[-1].values)
    assert compared == 3


DIMS = {f"d{i}": values for i, values in enumerate([[1, 2, 4], [0, 1], ["a", "b", "c", "d"], [3, 5, 7], [0, 1], [1, 2, 3, 4]] * 2)}


def cost(a) -> float:
    return 1.0 + a["d0"] * a["d3"] + a["d6"] * a["d9"] + a["d5"]


def measured(a) -> dict[str, float]:
    gain = a["d0"] ** 0.5 + (a["d2"] == "c") * 0.3 + 0.2 * a["d4"] * a["d5"] + a["d9"] * 0.1
    return {"accuracy": 70 + gain, "speed": 100 / cost(a) ** 0.7 * (1 + 0.1 * a["d1"]), "loss": 1 / gain}


@pytest.mark.parametrize(
    ("costs", "objectives"),
    [
        ({"cost": cost}, [Objective("accuracy", "max"), Objective("cost", "min", known=True)]),
        ({"cost": cost}, [Objective("accuracy", "max"), Objective("speed", "max")]),
        ({}, [Objective("accuracy", "max"), Objective("speed", "max")]),
        ({"cost": cost}, [Objective("accuracy", "max")]),
        ({"cost": cost}, [Objective("accuracy", "max"), Objective("cost", "min", known=True), Objective("loss", "min")]),
    ],
)
def test_the_best_of_many_are_those_of_scoring_each(costs, objectives) -> None:
    """The quick look's bound leaves out none of them, with more trials than it bounds deviations by."""
    strategy = create_strategy("known-cost", CategoricalSpace(DIMS, costs), objectives, pool=400)
    rng = np.random.default_rng(0)
    for row in strategy.domain.sample(rng, PIVOTS + 26):
        strategy.tell(strategy.domain.decode(row), measured(strategy.domain.decode(row)))
    strategy.ask(1)
    codes = np.unique(strategy.domain.sample(rng, 4000), axis=0)
    scores, (found, theirs) = strategy.score(codes), strategy.best(codes, 100)
    assert scores.max() > 0
    np.testing.assert_allclose(strategy.score(found), np.sort(scores)[::-1][:100], rtol=1e-9)
    np.testing.assert_allclose(theirs, np.sort(scores)[::-1][:100], rtol=1e-9)


def test_a_quick_look_bounds_what_a_close_one_says() -> None:
    strategy = create_strategy("known-cost", CategoricalSpace(DIMS, {"cost": cost}), [Objective("accuracy", "max")], pool=400)
    rng = np.random.default_rng(1)
    for row in strategy.domain.sample(rng, 2 * PIVOTS):
        strategy.tell(strategy.domain.decode(row), measured(strategy.domain.decode(row)))
    strategy.ask(1)
    model, rows = strategy._models[0], strategy._features.rows(strategy.domain.sample(rng, 3000))
    (mean, deviation), (quick, bound) = model.predict(rows), Screen(model)(rows)
    np.testing.assert_allclose(quick, mean, atol=1e-4 * model.scale)
    assert (bound >= deviation).all() and np.median(bound / deviation) < 3


def noisy_search(deviation: float, repeats: int) -> list[tuple]:
    """What was asked, in order, in a space whose options have nothing in common; the first two are told of twice, as references are."""
    dims = {"a": list("abcdefgh"), "b": list("abcd")}
    space = CategoricalSpace(dims, {"cost": lambda a: 1 + dims["b"].index(a["b"]) + 0.1 * dims["a"].index(a["a"])})
    worth, rng = np.random.default_rng(1).standard_normal((8, 4)), np.random.default_rng(0)
    objectives = [Objective("accuracy", "max"), Objective("cost", "min", known=True)]
    strategy, asked = create_strategy("known-cost", space, objectives, 1, repeats=repeats), []
    while len(asked) < 31 and (batch := strategy.ask(1)):
        asked += [(a["a"], a["b"]) for a in batch]
        true = worth[dims["a"].index(asked[-1][0]), dims["b"].index(asked[-1][1])]
        for _ in range(2 if len(asked) <= 2 else 1):
            strategy.tell(batch[0], {"accuracy": true + deviation * rng.standard_normal()})
    return asked


def test_only_where_noise_hides_what_is_better_is_the_front_tried_again() -> None:
    for asked in (noisy_search(0.0, repeats=3), noisy_search(0.5, repeats=1)):
        assert len(set(asked)) == len(asked)
    asked = noisy_search(0.5, repeats=3)
    assert 3 <= len(asked) - len(set(asked)) <= 20
    assert max(map(asked.count, asked)) <= 3


def test_a_search_tries_its_front_with_further_seeds(tmp_path) -> None:
    """And goes on after an interruption as if there had been none."""

    class Noisy:
        def __init__(self, stop: int = 100) -> None:
            self.left = stop

        def __call__(self, architecture, seed: int, fidelity, device: str, report) -> Evaluation:
            if not self.left:
                raise KeyboardInterrupt
            self.left -= 1
            return Evaluation({"accuracy": np.random.default_rng([int(architecture.id, 16), seed]).random()})

    arguments = {"trials": 26, "repeats": 2, "front_seeds": 3, "seed": 4}
    whole = se_nas.search(digits_space(squeeze=["avg"]), evaluator=Noisy(), out=tmp_path / "whole", **arguments)
    seeds: dict = {}
    for trial in whole.trials:
        seeds.setdefault(trial.architecture, []).append(trial.seed)
    assert max(map(len, seeds.values())) == 3 and sum(map(len, seeds.values())) > len(seeds) + 2
    assert all(tried == list(range(4, 4 + len(tried))) for tried in seeds.values())
    with pytest.raises(KeyboardInterrupt):
        se_nas.search(digits_space(squeeze=["avg"]), evaluator=Noisy(20), out=tmp_path / "run", **arguments)
    resumed = se_nas.resume(tmp_path / "run", evaluator=Noisy())
    assert [(t.architecture, t.seed) for t in resumed.trials] == [(t.architecture, t.seed) for t in whole.trials]


def test_further_seeds_need_the_noise_and_the_strategy(tmp_path) -> None:
    for arguments, message in (({}, "needs to know the noise"), ({"repeats": 2, "strategy": "nsga2"}, "unknown strategy with front_seeds")):
        with pytest.raises(se_nas.InputError, match=message):
            se_nas.search(digits_space(), trials=5, front_seeds=2, out=tmp_path / "run", **arguments)


def test_another_trial_is_worth_most_where_least_is_sure() -> None:
    means = np.array([[3.0, 1.0], [2.0, 2.0], [1.0, 3.0], [0.9, 1.9]])
    deviations = [np.array([0.1, 0.8, 0.1, 2.0]), None]
    assert moves(deviations, [0.0, 0.0])[0] == pytest.approx(deviations[0])  # without noise, the truth is seen at once
    assert (moves(deviations, [1.0, 0.0])[0] < deviations[0]).all()
    place, worth = worth_again(means, moves(deviations, [0.5, 0.0]), np.arange(4))
    assert place == 1 and worth > 0
    assert worth_again(means, moves([np.array([2.0]), None], [0.5, 0.0]), np.array([3])) == (-1, 0.0)  # it is not on the front
    assert worth_again(means, moves([np.array([0.1]), None], [0.5, 0.0]), np.array([0]))[1] < worth


def test_a_prior_is_believed_where_nothing_is_known() -> None:
    """Of a prior that says the truth but for a constant, a search of few trials finds what it promises."""
    space = CategoricalSpace(DIMS, {"cost": cost})
    drawn = create_strategy("random", space, [Objective("accuracy", "max")]).domain.sample(np.random.default_rng(0), 4000)
    true = max(measured(space.decode(row))["accuracy"] for row in drawn)

    def prior(codes):
        return np.array([measured(space.decode(row))["accuracy"] - 7 for row in codes])

    strategy = create_strategy("known-cost", space, [Objective("accuracy", "max")], prior=prior, pool=2000)
    for _ in range(12):
        (a,) = strategy.ask(1)
        strategy.tell(a, measured(a))
    assert measured(a)["accuracy"] >= true - 0.05
