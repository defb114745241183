"""What every strategy must do."""

from __future__ import annotations

import math

import pytest
from conftest import digits_space

from se_nas.errors import InputError
from se_nas.goals.objective import parse_objectives
from se_nas.run.trial import Trial
from se_nas.space.architecture import Architecture
from se_nas.space.space import SearchSpace
from se_nas.strategies import STRATEGIES, Strategy, create_strategy, replay

OBJECTIVES = parse_objectives(["accuracy", "params"])
every = pytest.mark.parametrize("name", STRATEGIES)


def made_up(space: SearchSpace, architecture: Architecture) -> dict[str, float]:
    cost = space.cost(architecture)
    return {"accuracy": (int(architecture.id, 16) % 1000) / 1000, "params": cost.params, "macs": cost.macs}


def drive(strategy: Strategy, space: SearchSpace, steps: int, fail: int = 0) -> list[Architecture]:
    """Ask and tell; every ``fail``-th trial fails."""
    asked: list[Architecture] = []
    while len(asked) < steps and (batch := strategy.ask(1)):
        asked += batch
        strategy.tell(batch[0], None if fail and len(asked) % fail == 0 else made_up(space, batch[0]))
    return asked


@every
def test_same_seed_same_proposals(name: str) -> None:
    space = digits_space()
    first, second = (drive(create_strategy(name, space, OBJECTIVES, 7), space, 26) for _ in range(2))
    assert first == second
    if name != "grid":
        assert first != drive(create_strategy(name, space, OBJECTIVES, 8), space, 26)


@every
def test_never_over_budget_never_twice_and_ends(name: str) -> None:
    space = digits_space(budgets={"params": "<= +1%"})
    asked = drive(create_strategy(name, space, OBJECTIVES), space, 10_000, fail=5)
    assert len(asked) == len(set(asked)) == space.feasible_size
    assert all(space.is_feasible(a) and space.contains(a) for a in asked)


@every
def test_a_tight_budget_of_a_vast_space_ends_too(name: str) -> None:
    space = SearchSpace("resnet56", reduction=[2, 4, 8, 16], squeeze=["avg", "max"], budgets={"params": "<= +0.006%"})
    assert space.size > 1e20
    asked = drive(create_strategy(name, space, OBJECTIVES), space, 10_000)
    assert len(asked) == len(set(asked)) == space.feasible_size < 1000


@every
def test_batches_do_not_repeat(name: str) -> None:
    space = digits_space()
    strategy = create_strategy(name, space, OBJECTIVES)
    pending = strategy.ask(30)
    more = strategy.ask(30)
    assert len({*pending, *more}) == 60
    for architecture in pending:
        strategy.tell(architecture, made_up(space, architecture))
    assert not set(strategy.ask(10)) & {*pending, *more}


@every
def test_what_it_was_told_is_not_proposed(name: str) -> None:
    space = digits_space()
    strategy = create_strategy(name, space, OBJECTIVES)
    told = list(space.enumerate())[::2]
    for architecture in told:
        strategy.tell(architecture, made_up(space, architecture))
    rest = drive(strategy, space, 10_000)
    assert sorted(a.id for a in rest) == sorted({a.id for a in space.enumerate()} - {a.id for a in told})


@every
def test_a_space_of_one_architecture(name: str) -> None:
    space = digits_space(share="network", reduction=[4], squeeze=["avg"], allow_none=False)
    assert len(drive(create_strategy(name, space, OBJECTIVES), space, 10)) == 1


@every
@pytest.mark.parametrize("objectives", [["accuracy"], ["accuracy", "params", "macs"], ["max:own", "params", "min:other", "bytes"]])
def test_one_objective_or_more(name: str, objectives: list[str]) -> None:
    space = digits_space()
    strategy = create_strategy(name, space, parse_objectives(objectives))
    for _ in range(20):
        (architecture,) = strategy.ask(1)
        strategy.tell(architecture, {**made_up(space, architecture), "own": 1.0, "other": len(str(architecture))})


@every
@pytest.mark.parametrize("bad", [math.nan, -math.inf, "0.5", None])
def test_what_is_no_number_is_refused(name: str, bad: object) -> None:
    space = digits_space()
    strategy, untold = (create_strategy(name, space, OBJECTIVES, 1) for _ in range(2))
    (architecture,), _ = strategy.ask(1), untold.ask(1)
    with pytest.raises(InputError, match=r"accuracy is .*, not a finite number; tell None for a trial that failed"):
        strategy.tell(architecture, {"accuracy": bad})  # type: ignore[dict-item]
    assert strategy.ask(2) == untold.ask(2)  # nothing was learned from it


@every
def test_ties_and_failures(name: str) -> None:
    space = digits_space()
    for metrics in (None, {"accuracy": 0.5}):
        strategy = create_strategy(name, space, OBJECTIVES, 2)
        for _ in range(6):
            for architecture in strategy.ask(3):
                strategy.tell(architecture, metrics)
        assert len(set(strategy.ask(3))) == 3


def test_the_first_proposals_of_random_search_are_uniform() -> None:
    space = digits_space(budgets={"params": "<= +0.8%"})
    draws = 20 * space.feasible_size
    counts: dict[Architecture, int] = {}
    for seed in range(draws):
        (architecture,) = create_strategy("random", space, OBJECTIVES, seed).ask(1)
        counts[architecture] = counts.get(architecture, 0) + 1
    assert 10 < len(counts) == space.feasible_size
    freedom = len(counts) - 1
    assert sum((count - 20) ** 2 / 20 for count in counts.values()) < freedom + 4 * (2 * freedom) ** 0.5  # four deviations of chi-squared


def trial(space: SearchSpace, number: int, architecture: Architecture, after: int, role: str = "proposal", failed: bool = False) -> Trial:
    values = made_up(space, architecture)
    costs = {"params": int(values["params"]), "macs": int(values["macs"])}
    metrics = {} if failed else {"accuracy": values["accuracy"]}
    return Trial(number, role, architecture, 0, {"epochs": 1}, "failed" if failed else "complete", metrics, costs, after)


@every
@pytest.mark.parametrize("workers", [1, 3])
def test_replaying_a_ledger_gives_the_same_next_proposal(name: str, workers: int) -> None:
    space = digits_space()
    strategy = create_strategy(name, space, OBJECTIVES, 3)
    ledger = [trial(space, i, space.reference(role), i, role) for i, role in enumerate(("plain", "paper"))]
    for line in ledger:
        strategy.tell(line.architecture, line.values)
    running: list[Trial] = []
    for number in range(2, 50):
        (architecture,) = strategy.ask(1)
        running.append(trial(space, number, architecture, len(ledger), failed=number % 7 == 0))
        if len(running) == workers:
            done = running.pop(number % workers)  # out of order
            strategy.tell(done.architecture, done.values if done.complete else None)
            ledger.append(done)
    if workers == 1:
        again = create_strategy(name, space, OBJECTIVES, 3)
        assert replay(again, ledger)
        assert again.ask(3) == strategy.ask(3)
    else:  # those still running are not in the ledger: they are proposed again
        again = create_strategy(name, space, OBJECTIVES, 3)
        replay(again, ledger)
        assert not {t.architecture for t in ledger} & set(again.ask(3))


@every
def test_replay_says_when_a_ledger_is_another_strategys(name: str) -> None:
    space = digits_space()
    ledger = [trial(space, i, a, i) for i, a in enumerate(reversed(list(space.enumerate())[:5]))]
    strategy = create_strategy(name, space, OBJECTIVES, 3)
    assert not replay(strategy, ledger)
    assert not {t.architecture for t in ledger} & set(strategy.ask(20))


def test_nsga2_does_better_than_random_on_a_planted_front() -> None:
    """Accuracy rises with the parameters spent in layer3 and falls with those elsewhere: the front is known."""
    space = digits_space(reduction=[2, 4, 8], squeeze=["avg", "max", "std"], gate=["sigmoid", "tanh"])

    def accuracy(architecture: Architecture) -> float:
        spec = architecture["layer3.0"]
        wasted = sum(architecture[name] is not None for name in ("layer1.0", "layer2.0"))
        return (0 if spec is None else 1 / spec.reduction + 0.1 * (spec.squeeze == "std") + 0.1 * (spec.gate == "tanh")) - 0.2 * wasted

    def best(name: str, seed: int) -> float:
        strategy = create_strategy(name, space, OBJECTIVES, seed)
        found = []
        for _ in range(150):
            (architecture,) = strategy.ask(1)
            found.append(accuracy(architecture))
            strategy.tell(architecture, {"accuracy": found[-1], "params": space.cost(architecture).params})
        return max(found)

    assert sum(best("nsga2", seed) for seed in range(5)) > sum(best("random", seed) for seed in range(5))


def test_unknown_strategy_and_too_large_a_grid_are_said() -> None:
    with pytest.raises(InputError, match="unknown strategy 'annealing'; take one of random, grid, nsga2"):
        create_strategy("annealing", digits_space(), OBJECTIVES)
    with pytest.raises(InputError, match="grid is for at most 10,000 architectures"):
        create_strategy("grid", SearchSpace("resnet20", reduction=[4, 8]), OBJECTIVES)
