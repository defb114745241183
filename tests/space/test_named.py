"""Costs by name: floats in whole steps, beside params and macs in everything that a space does with costs."""

from __future__ import annotations

import itertools
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import costed_space, digits_space, energy

import se_nas
from se_nas.errors import InputError
from se_nas.goals.objective import Objective, parse_objectives
from se_nas.space.architecture import Architecture
from se_nas.space.named import FullCost
from se_nas.space.space import SearchSpace
from se_nas.strategies import create_strategy


@pytest.fixture(scope="module")
def costed() -> SearchSpace:
    return costed_space()


def test_a_function_that_adds_up_becomes_a_table(costed: SearchSpace) -> None:
    codes = costed.codes_many(40, 0)
    many = costed.cost_many(codes)
    for row, value in zip(codes, many.energy, strict=True):
        architecture, step = costed.decode(row), costed.costs["energy"].resolution
        cost = costed.cost(architecture)
        assert cost.energy == value == costed.cost_of(row.tolist()).energy  # type: ignore[attr-defined]
        assert energy(architecture) - 1e-12 <= value <= energy(architecture) + 4 * step  # three groups and the backbone, rounded up
        exact = digits_space(reduction=[4, 8, 16]).cost(architecture)
        assert tuple(cost) == tuple(exact) and cost._asdict() == {**exact._asdict(), "energy": value}
    assert costed.plain_cost.energy == 1.23 and (costed.cost(costed.sample(0)) - costed.plain_cost).params > 0  # type: ignore[attr-defined]


def test_budgets_are_what_brute_force_says_and_never_exceeded(costed: SearchSpace) -> None:
    tight = costed.with_budgets({"energy": "<= +4%"})
    assert tight.budgets[0].limit == pytest.approx(1.04 * 1.23)
    listed = [a for a in costed.enumerate() if energy(a) <= 1.04 * 1.23]
    assert tight.feasible_exact and tight.feasible_size == len(listed) > 10
    assert set(tight.enumerate()) == set(listed) == {a for a in costed.enumerate() if tight.is_feasible(a)}
    assert all(energy(tight.decode(codes)) <= 1.04 * 1.23 for codes in tight.sample_many(0, 300))
    dearest = tight.dearest("energy", within_budgets=True)
    assert costed.cost(dearest).energy == max(costed.cost(a).energy for a in listed)  # type: ignore[attr-defined]
    assert costed.cheapest("energy") == costed.reference("plain") and energy(costed.dearest("energy")) == max(
        map(energy, costed.enumerate())
    )


def test_a_coarse_grid_stays_within_the_limit(monkeypatch: pytest.MonkeyPatch, costed: SearchSpace) -> None:
    monkeypatch.setattr("se_nas.space.feasible.MAX_CELLS", 40)
    tight = costed.with_budgets({"energy": "<= +4%"})
    assert not tight.feasible_exact
    both = tight.with_budgets({"params": "<= +2%"})
    assert all(costed.cost(a).params <= 1.02 * costed.plain_cost.params and tight.is_feasible(a) for a in both.enumerate())
    assert tight.feasible_size > 0 and all(energy(a) <= 1.04 * 1.23 for a in tight.enumerate())


def test_a_space_with_tables_comes_back_from_yaml_and_other_processes(costed: SearchSpace) -> None:
    space = costed.with_cost("joules", {"plain": 3, "adds": {g.name: dict.fromkeys(g.options[1:], 2) for g in costed.groups}, "unit": "J"})
    space = space.with_budgets({"joules": "<= 5", "energy": "<= +10%"})
    assert space.costs["joules"].resolution == 1.0 and space.metrics == ("params", "macs", "energy", "joules")
    again = SearchSpace.from_dict(yaml.safe_load(yaml.safe_dump(space.to_dict())), "file")
    assert again.costs == space.costs and set(again.budgets) == set(space.budgets) and again.feasible_size == space.feasible_size
    dear = space.dearest("energy", within_budgets=True)
    cost = space.cost(dear)
    assert isinstance(cost, FullCost) and pickle.loads(pickle.dumps(cost)) == cost != space.cost(space.reference("plain"))
    assert pickle.loads(pickle.dumps(space)).cost(dear) == cost
    assert "costs" not in digits_space().to_dict()


def test_each_backbone_has_its_own_table() -> None:
    space = digits_space(extra={"width": [1.0, 2.0]}, reduction=[4]).with_cost(
        "time", lambda a: 2 * dict(a.extra)["width"] + sum(bool(spec) for _, spec in a) * dict(a.extra)["width"]
    )
    assert {space.cost(a).time for a in space.enumerate()} == {2, 3, 4, 5, 6, 8, 10}  # type: ignore[attr-defined]
    tight = space.with_budgets({"time": "<= +50%"})
    assert {dict(a.extra)["width"] for a in tight.enumerate()} == {1.0} and tight.feasible_size == 1 + 3 * 2
    codes = space.codes_many(50, 0)
    assert space.cost_many(codes).time.tolist() == [space.cost(space.decode(row)).time for row in codes]  # type: ignore[attr-defined]
    assert SearchSpace.from_dict(space.to_dict(), "file").costs == space.costs


def test_a_reference_that_the_table_does_not_know_lacks_the_cost() -> None:
    space = digits_space(reduction=[4], squeeze=["max"])
    space = space.with_cost("energy", {"plain": 1.5, "adds": {g.name: {str(o): 0.25 for o in g.options if o} for g in space.groups}})
    assert "energy" not in space.cost(space.reference("paper"))._asdict()
    assert space.cost(space.reference("plain")).energy == 1.5  # type: ignore[attr-defined]
    assert not space.with_budgets({"energy": "<= +99%"}).is_feasible(space.reference("paper"))


GOOD = {"plain": 1, "adds": {"layer1.0": {"r4 max sigmoid standard": 1}}}


@pytest.mark.parametrize(
    ("name", "table", "message"),
    [
        ("energy", 3, "costs.energy: 3 is no table"),
        ("energy", {**GOOD, "sum": 1}, "unknown key 'sum'"),
        ("energy", {"plain": 1}, "no plain or no adds"),
        ("energy", GOOD, "nothing is said of layer2.0"),
        ("energy", {**GOOD, "adds": {"layer1.0": {"r4 max sigmoid standard": "much"}}}, "'much' is not a cost"),
        ("energy", {**GOOD, "adds": {"layer1.0": {"r4": 1}}}, "'r4' is no setting there; it has none, r4 max"),
        ("energy", {**GOOD, "adds": {"layer1.0": {}}}, "r4 max sigmoid standard is missing"),
        ("energy", lambda a: sum(bool(spec) for _, spec in a) ** 2, "does not add up"),
        ("energy", lambda a: float("nan"), "nan is not a cost"),
        ("params", GOOD, "'params' is no name"),
        ("count", GOOD, "'count' is no name"),
    ],
)
def test_bad_tables_are_said(name: str, table: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        digits_space(reduction=[4], squeeze=["max"]).with_cost(name, table)


@pytest.mark.parametrize(
    ("limit", "message"),
    [("<= 5M", "'<= 5M' is not a budget; write .* a time"), ("<= 1ms", "no architecture meets latency <= 1ms: that is 0.001 and")],
)
def test_bad_time_limits_are_said(limit: str, message: str) -> None:
    space = digits_space().with_cost("latency", {**timed(digits_space()), "unit": "s"})
    assert space.with_budgets({"latency": "<= 12.4 ms"}).budgets[0].limit == pytest.approx(0.0124)
    with pytest.raises(InputError, match=message):
        space.with_budgets({"latency": limit})


def timed(space: SearchSpace) -> dict[str, Any]:
    adds = {group.name: {str(option): 1e-4 * option.reduction for option in group.options if option} for group in space.groups}
    return {"plain": 0.0123, "adds": adds, "tie": 2e-4, "unit": "s", "about": "written by hand"}


def test_latency_is_asked_for_only_where_it_is_known(space: SearchSpace) -> None:
    with pytest.raises(InputError, match="give a profile of your device"):
        parse_objectives(["accuracy", "latency"])
    units = space.with_cost("latency", timed(space)).units
    assert parse_objectives(["latency"], units) == (Objective("latency", "min", known=True, unit="s"),)
    with pytest.raises(InputError, match="latency is a cost of the space"):
        parse_objectives(["min:latency"], units)


@pytest.mark.parametrize("name", ["known-cost", "nsga2", "local-search"])
def test_strategies_take_it_as_params(costed: SearchSpace, name: str) -> None:
    objectives = [Objective("accuracy", "max"), Objective("energy", "min", budget=1.26, known=True)]
    strategy = create_strategy(name, costed, objectives, 0)
    for _ in range(6):
        (asked,) = strategy.ask(1)
        assert energy(asked) <= 1.26
        strategy.tell(asked, {"accuracy": energy(asked)})
    assert all(losses[1] == costed.cost_of(codes).energy for codes, losses in zip(*strategy.finished[:2], strict=True))  # type: ignore[attr-defined]


def test_optuna_is_told_and_kept_within(costed: SearchSpace) -> None:
    import optuna

    from se_nas.integrations.optuna import suggest

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    tight, study = costed.with_budgets({"energy": "<= +3%"}), optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    for _ in range(5):
        architecture = suggest(trial := study.ask(), tight)
        assert energy(architecture) <= 1.03 * 1.23 and trial.user_attrs["se_nas.energy"] == tight.cost(architecture).energy  # type: ignore[attr-defined]


def test_a_categorical_space_takes_tables_and_functions() -> None:
    dims = {"width": [16, 32], "se": [False, True], "kernel": [3, 5]}
    space = se_nas.CategoricalSpace(dims, {"params": lambda a: a["width"] * (2 + a["se"])})
    space = space.with_cost("energy", {"plain": 1.5, "adds": {"se": {True: 0.25}, "width": {32: 1}}})
    codes = np.array(list(itertools.product(range(2), repeat=3)))
    assert space.cost_rows("energy", codes).tolist() == [1.5 + 0.25 * se + width for width, se, _ in codes]
    assert space.cost({"width": 32, "se": True, "kernel": 3}) == {"params": 96.0, "energy": 2.75}
    for table, message in [({"adds": {"depth": {1: 1}}}, "'depth' is no part"), ({"adds": {"se": {2: 1}}}, "2 is not one of")]:
        with pytest.raises(InputError, match=message):
            space.with_cost("energy", table)


def test_a_search_holds_it_in_its_ledger_and_shows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from se_nas.cli import main
    from se_nas.evaluate import Evaluation

    space = digits_space(reduction=[4, 16])
    space = space.with_cost("latency", timed(space)).with_budgets({"latency": "<= +20%"})

    def evaluate(architecture: Architecture, *_: object) -> Evaluation:
        return Evaluation({"accuracy": 0.5 + 0.01 * sum(spec is not None for _, spec in architecture)})

    arguments: dict[str, Any] = {"evaluator": evaluate, "trials": 5, "objectives": ["accuracy", "latency"]}
    run = se_nas.search(space, out=tmp_path / "run", **arguments, trade="weighted", targets={"latency": "13ms"})
    again = se_nas.Run.open(tmp_path / "run")
    for trial in again.trials:
        assert trial.costs["latency"] == space.cost(trial.architecture).latency  # type: ignore[attr-defined]
        assert trial.role != "proposal" or trial.costs["latency"] <= 1.2 * 0.0123
    assert [o.name for o in again.objectives if o.known] == ["latency"] and again.front.front == run.front.front
    assert again.front.trade.targets == {"latency": pytest.approx(0.013)} and again.space.costs == space.costs
    assert len(se_nas.resume(tmp_path / "run", evaluator=evaluate, trials=7).trials) == 7
    assert main(["show", str(tmp_path / "run")]) == 0 and main(["report", str(tmp_path / "run")]) == 0
    out = capsys.readouterr().out
    assert "12.30 ms" in out and "Latency: written by hand; differences up to 200.0 us are ties." in out
    page = (tmp_path / "run" / "report.html").read_text()
    assert "ms of latency (plain: 12.30\N{NO-BREAK SPACE}ms)" in page and "written by hand" in page
