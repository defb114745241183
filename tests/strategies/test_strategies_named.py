"""What every strategy must do in a loop of one's own: `create_strategy`, `ask` and `tell` over a `CategoricalSpace`."""

from __future__ import annotations

import itertools
import math
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from conftest import digits_space

from se_nas.errors import InputError
from se_nas.goals.objective import Objective
from se_nas.space.categorical import CategoricalSpace
from se_nas.strategies import STRATEGIES, Strategy, create_strategy

every = pytest.mark.parametrize("name", STRATEGIES)

DIMS = {
    **{f"block{i}_{field}": values for i in range(4) for field, values in {"expand": [1, 4, 6], "se": [0, 1]}.items()},
    "act": ["relu", "swish", "gelu"],
}
ACCURACY, LATENCY = Objective("accuracy", "max"), Objective("latency", "min")
PARAMS = Objective("params", "min", known=True)


def params(a) -> float:
    return 10.0 + sum(2**i * a[f"block{i}_expand"] * (1 + 0.1 * a[f"block{i}_se"]) for i in range(4))


def space() -> CategoricalSpace:
    return CategoricalSpace(DIMS, {"params": params})


def measured(a) -> dict[str, float]:
    gain = sum(math.sqrt(a[f"block{i}_expand"]) + 0.3 * a[f"block{i}_se"] for i in range(4)) + 0.2 * (a["act"] == "swish")
    return {"accuracy": 60 + gain, "latency": 1e-3 * params(a) * (1 + a["block0_se"]), "size": 3 * params(a), "throughput": 1e6 / params(a)}


def drive(strategy: Strategy, trials: int, batch: int = 4, fail: int = 0) -> list:
    asked: list = []
    while len(asked) < trials and (batch_asked := strategy.ask(min(batch, trials - len(asked)))):
        for a in batch_asked:
            asked.append(a)
            strategy.tell(a, None if fail and len(asked) % fail == 0 else measured(a))
    return asked


@every
def test_seeds_batches_and_telling_again(name: str) -> None:
    told: list = []
    first = create_strategy(name, space(), [ACCURACY, PARAMS], seed=5)
    for n in (4, 1, 4, 4, 7):
        for number, a in enumerate(first.ask(n)):
            told.append((a, None if number == 2 else measured(a)))
            first.tell(*told[-1])
    assert len({tuple(a.values()) for a, _ in told}) == len(told) == 20
    again = create_strategy(name, space(), [ACCURACY, PARAMS], seed=5)
    for a, metrics in told:
        again.tell(dict(a), metrics)
    assert first.ask(4) == again.ask(4)
    assert first.ask(3) == [again.ask(1)[0] for _ in range(3)]
    other = create_strategy(name, space(), [ACCURACY, PARAMS], seed=6)
    assert name == "grid" or other.ask(4) != create_strategy(name, space(), [ACCURACY, PARAMS], seed=5).ask(4)


@every
def test_exhausted_spaces_end(name: str) -> None:
    small = CategoricalSpace({"a": [1, 2, 3], "b": ["x", "y"], "c": [None, (1, 2)]})
    strategy = create_strategy(name, small, [ACCURACY])
    asked = []
    while batch := strategy.ask(5):
        asked += batch
        for number, a in enumerate(batch):
            strategy.tell(a, {"accuracy": 1.0} if number % 2 else None)  # ties, and failures
    assert sorted(map(repr, asked)) == sorted(repr(dict(zip(small.dims, v, strict=True))) for v in itertools.product(*small.dims.values()))
    assert strategy.ask(1) == [] and strategy.ask(0) == []


@every
def test_a_space_of_one_architecture(name: str) -> None:
    strategy = create_strategy(name, CategoricalSpace({"a": [7]}, {"params": lambda a: 3}), [ACCURACY, PARAMS])
    assert strategy.ask(3) == [{"a": 7}]
    strategy.tell({"a": 7}, {"accuracy": 0.0})
    assert strategy.ask(3) == []


@every
@pytest.mark.parametrize(
    "objectives",
    [
        [ACCURACY],
        [PARAMS],
        [LATENCY, Objective("throughput", "max")],
        [PARAMS, ACCURACY, LATENCY],
        [ACCURACY, LATENCY, Objective("size", "min"), Objective("throughput", "max", budget=1e4)],
        [Objective("accuracy", "max", budget=1e9), PARAMS],
    ],
    ids=lambda objectives: "-".join(o.name for o in objectives),
)
def test_one_objective_to_four(name: str, objectives: list[Objective]) -> None:
    asked = drive(create_strategy(name, space(), objectives, 1), 24)
    assert len({tuple(a.values()) for a in asked}) == 24


@every
def test_all_fail_or_all_tie(name: str) -> None:
    for metrics in (None, {"accuracy": 0.5}, {"accuracy": 0}):
        strategy = create_strategy(name, space(), [ACCURACY, PARAMS], 2)
        for _ in range(7):
            for a in strategy.ask(3):
                strategy.tell(a, metrics)
        assert len(strategy.ask(3)) == 3


@every
@pytest.mark.parametrize("bad", [math.nan, math.inf, "0.5", None, True])
def test_what_is_no_number_is_refused(name: str, bad: object) -> None:
    strategy = create_strategy(name, space(), [ACCURACY, PARAMS])
    (a,) = strategy.ask(1)
    with pytest.raises(InputError, match=r"accuracy is .*, not a finite number; tell None for a trial that failed"):
        strategy.tell(a, {"accuracy": bad})  # type: ignore[dict-item]
    with pytest.raises(InputError, match="accuracy is missing"):
        strategy.tell(a, {"params": 3})
    strategy.tell(a, {"accuracy": np.float32(0.5)})  # type: ignore[dict-item]
    assert a not in strategy.ask(5)


@every
def test_never_over_a_budget(name: str) -> None:
    limit = 35.0
    within = [v for v in itertools.product(*DIMS.values()) if params(dict(zip(DIMS, v, strict=True))) <= limit]
    strategy = create_strategy(name, space(), [ACCURACY, Objective("params", "min", limit, True)], 3)
    asked = drive(strategy, 60, fail=9)
    assert 60 < len(within) < 1000 and all(params(a) <= limit for a in asked) and len(asked) == 60
    strategy.tell(dict.fromkeys(DIMS, 1) | {f"block{i}_expand": 6 for i in range(4)} | {"act": "relu"}, measured(asked[0]))  # over it
    assert all(params(a) <= limit for a in strategy.ask(4))


def test_lower_limits_and_several_budgets() -> None:
    both = CategoricalSpace(DIMS, {"params": params, "speed": lambda a: 1e4 / params(a) ** 1.1})
    objectives = [ACCURACY, Objective("params", "min", 60, True), Objective("speed", "max", 150, True)]
    for a in drive(create_strategy("known-cost", both, objectives), 24):
        assert params(a) <= 60 and 1e4 / params(a) ** 1.1 >= 150


VAST = {f"d{i}": [0, 1, 2, 3, 4] for i in range(30)}
ODD = np.random.default_rng(0).random(30) + 0.5
COSTS = {
    "adds up": lambda a: sum(w * a[f"d{i}"] for i, w in enumerate(ODD)),
    "does not": lambda a: sum(w * a[f"d{i}"] for i, w in enumerate(ODD)) ** 0.5 * (1 + a["d0"] * a["d1"] * a["d2"]) ** 0.1,
}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("known-cost", "adds up"),
        pytest.param("random", "does not", marks=pytest.mark.slow),
        pytest.param("grid", "does not", marks=pytest.mark.slow),
    ],
)
def test_a_budget_that_next_to_nothing_meets(name: str, kind: str) -> None:
    cost = COSTS[kind]
    limit = cost({f"d{i}": int(i % 3 == 0) for i in range(30)})
    vast = CategoricalSpace(VAST, {"cost": cost})
    strategy = create_strategy(name, vast, [ACCURACY, Objective("cost", "min", limit, True)], 1)
    asked: list = []
    for _ in range(5):
        for a in strategy.ask(4):
            asked.append(a)
            strategy.tell(a, {"accuracy": sum(a.values())})
    assert len({tuple(a.values()) for a in asked}) == 20 and all(cost(a) <= limit for a in asked)


@every
@pytest.mark.parametrize("proposals", [100, pytest.param(10_000, marks=pytest.mark.slow)])
def test_no_proposal_is_over_a_budget_that_one_in_a_hundred_meets(name: str, proposals: int) -> None:
    cost, rng = COSTS["adds up"], np.random.default_rng(1)
    limit = float(np.quantile(rng.integers(0, 5, (10_000, 30)) @ ODD, 0.01))
    strategy = create_strategy(name, CategoricalSpace(VAST, {"cost": cost}), [ACCURACY, Objective("cost", "min", limit, True)], 1)
    asked: set = set()
    while len(asked) < proposals:
        batch = strategy.ask(50)
        asked.update(batch)
        assert len(batch) == 50 and all(cost(a) <= limit for a in batch)
        for a in batch[:10] if len(asked) <= 1000 else ():
            strategy.tell(a, {"accuracy": sum(a.values()) - a["d0"] * a["d1"]})
    assert len(asked) == proposals


def test_a_budget_that_nothing_meets_is_said() -> None:
    for dims, cost in [(DIMS, params), (VAST, COSTS["adds up"])]:
        with pytest.raises(InputError, match="within the budgets"):
            create_strategy("random", CategoricalSpace(dims, {"cost": cost}), [ACCURACY, Objective("cost", "min", -1.0, True)])


def test_drawing_is_uniform_under_a_budget() -> None:
    """Chi-squared over a space that is drawn from by its costs' sums (too large to list), thinned to cells of equal size."""
    from se_nas.strategies.domain import make_domain

    dims = {f"d{i}": [0, 1] for i in range(21)}
    weights = np.random.default_rng(3).random(21) + 0.5
    cost = CategoricalSpace(dims, {"cost": lambda a: sum(w * a[f"d{i}"] for i, w in enumerate(weights))})
    halves = [(np.arange(2**bits)[:, None] >> np.arange(bits)) & 1 for bits in (12, 9)]
    sums = (halves[0] @ weights[:12])[:, None] + (halves[1] @ weights[12:])[None]
    limit = float(np.quantile(sums, 0.005))
    domain = make_domain(cost, [Objective("cost", "min", limit, True)])
    assert domain.count is None or domain.count == (sums <= limit).sum()
    drawn = domain.sample(np.random.default_rng(0), 20_000)
    place = (drawn[:, :12] @ (1 << np.arange(12))) * 2**9 + drawn[:, 12:] @ (1 << np.arange(9))
    within = np.flatnonzero((sums <= limit).ravel())
    cells = np.array_split(within, 50)
    counts = np.array([np.isin(place, cell).sum() for cell in cells])
    expected = np.array([len(cell) for cell in cells]) / len(within) * len(drawn)
    assert counts.sum() == len(drawn)
    assert ((counts - expected) ** 2 / expected).sum() < 85.4  # 99.9 % quantile with 49 degrees of freedom


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("known-cost", None, [Objective("x", "max")]), "NoneType is not a space"),
        (("random", CategoricalSpace({"a": [1]}), []), "not objectives"),
        (("random", CategoricalSpace({"a": [1]}), ["accuracy"]), "not objectives"),
        (("random", CategoricalSpace({"a": [1]}), [ACCURACY, ACCURACY]), "named twice"),
        (("random", CategoricalSpace({"a": [1]}), [PARAMS]), "params is said to be known, but the space has no known costs"),
    ],
)
def test_what_does_not_fit_is_said(arguments, message: str) -> None:
    with pytest.raises(InputError, match=message):
        create_strategy(*arguments)
    with pytest.raises(InputError, match="has no option 'depth'; it has none"):
        create_strategy("grid", space(), [ACCURACY], depth=3)
    with pytest.raises(InputError, match="ask for 0 or more"):
        create_strategy("random", space(), [ACCURACY]).ask(-1)


def test_any_object_with_named_dimensions_will_do() -> None:
    class Mine:
        dims = DIMS

    assert set(create_strategy("known-cost", Mine(), [ACCURACY]).ask(1)[0]) == set(DIMS)


def test_the_search_finds_the_best_of_a_small_space_in_few_trials() -> None:
    """Of 3,888 architectures, the best is found within 30; random search would need half of them."""
    best = max(measured(dict(zip(DIMS, v, strict=True)))["accuracy"] for v in itertools.product(*DIMS.values()))
    found = [max(measured(a)["accuracy"] for a in drive(create_strategy("known-cost", space(), [ACCURACY], seed), 30)) for seed in range(3)]
    assert min(found) > best - 0.11


@every
def test_it_is_pickled_with_what_it_knows_and_what_is_pending(name: str) -> None:
    for where in (space(), digits_space(gate=["sigmoid", "tanh"])):
        first = create_strategy(name, where, [ACCURACY, PARAMS], seed=1)
        asked = first.ask(12)
        for number, architecture in enumerate(asked[:9]):
            first.tell(architecture, {"accuracy": number % 4})
        second = pickle.loads(pickle.dumps(first))
        assert second.ask(6) == first.ask(6)


@every
def test_a_number_is_the_one_measured_objective(name: str) -> None:
    numbers: list[Any] = [0.5, np.float32(0.5), np.array(0.5), torch.tensor(0.5), torch.tensor([0.5])]
    told = create_strategy(name, space(), [ACCURACY, PARAMS], seed=1)
    for architecture, number in zip(told.ask(10), (*numbers, *({"accuracy": number} for number in numbers)), strict=True):
        told.tell(architecture, number)
    assert (told.finished[1][:, 0] == -0.5).all() and len(told.finished[1]) == 10
    for number in (math.nan, torch.tensor([0.5, 0.6]), "0.5", torch.tensor(math.inf)):
        with pytest.raises(InputError, match=r"accuracy is .*, not a finite number"):
            told.tell(told.ask(1)[0], number)
    two = create_strategy(name, space(), [ACCURACY, LATENCY], seed=1)
    with pytest.raises(InputError, match=r"0.5 does not say which objective it is; tell a mapping of accuracy, latency"):
        two.tell(two.ask(1)[0], 0.5)


def test_choices_of_another_library_are_told() -> None:
    se = digits_space()
    strategy = create_strategy("random", se, [ACCURACY], seed=1)
    (architecture,) = strategy.ask(1)
    strategy.tell({name: str(value) for name, value in se.to_dimensions(architecture).items()}, 0.9)
    assert strategy.finished[0].tolist() == [se.encode(architecture).tolist()]
    with pytest.raises(InputError, match="16 is not a candidate"):
        strategy.tell({**se.to_dimensions(architecture), "layer1.0.reduction": 16}, 0.9)
