"""Searches by NNI in this process: its own strategies and ours, under budgets, interrupted, failing."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest
import torch
from conftest import ROOT, costed_space, digits_space
from nni_searching import OWN, Notes, Planted, fails, order, search

import se_nas
from se_nas.engines.nni_engine.reward import WEIGHT, Reward
from se_nas.engines.nni_names import full_name
from se_nas.goals.objective import parse_objectives
from se_nas.goals.trade import Trade
from se_nas.space.architecture import REFERENCES
from se_nas.space.space import SearchSpace
from se_nas.strategies import STRATEGIES

BUDGET = {"random": 125, "grid": 127, "evolution": 80, "tpe": 80, "rl": 80}
"""Trials within which each finds the best of 125 architectures; NNI's random draws without repeating itself."""

SLOW = pytest.mark.slow


def names(*slow: str) -> pytest.MarkDecorator:
    """All of NNI's own; some of them only where slow tests run."""
    return pytest.mark.parametrize("name", [pytest.param(name, marks=SLOW) if name in slow else name for name in OWN])


@names("grid", "evolution", "tpe", "rl")
def test_trains_for_real_and_its_weights_are_the_networks(name, tmp_path) -> None:
    space = digits_space()
    train = {"batch_size": 256}
    run = se_nas.search(
        space, out=tmp_path / "run", engine="nni", strategy=name, trials=4, epochs=1, train=train, keep_weights="all", data="digits"
    )
    assert [trial.role for trial in run.trials] == [*REFERENCES, "proposal", "proposal"]
    for trial in run.trials[2:]:
        assert space.contains(trial.architecture) and 0 < trial.metrics["accuracy"] <= 1
        space.build(trial.architecture).load_state_dict(run.load_weights(trial.number), strict=True)
    assert run.config["search"]["strategy"] == f"nni:{name}"
    assert run.front.front


@names("rl")
def test_finds_the_planted_best_within_its_budget(name, tmp_path) -> None:
    space = digits_space()
    best = space.sample(7)
    run = search(tmp_path / "run", space, Planted(best), strategy=name, trials=BUDGET[name])
    assert best in [trial.architecture for trial in run.trials]
    assert len({trial.architecture for trial in run.trials}) == len(run.trials)


@pytest.mark.parametrize("name", STRATEGIES)
def test_ours_propose_what_they_propose_on_the_local_engine(name, tmp_path) -> None:
    settings = {"strategy": f"se-nas:{name}", "objectives": ["accuracy", "params"], "trials": 14, "seed": 5, "repeats": 2}
    runs = [search(tmp_path / engine, engine=engine, **settings) for engine in ("local", "nni")]
    assert order(runs[0]) == order(runs[1])
    assert runs[1].config["search"]["strategy"] == name


@names("grid", "rl")
def test_nothing_over_budget_is_tried_and_it_costs_no_trial(name, tmp_path) -> None:
    space = digits_space(budgets={"params": "<= +1%"})
    run = search(tmp_path / "run", space, strategy=name, trials=9)
    proposals = [trial.architecture for trial in run.trials if trial.role == "proposal"]
    assert len(proposals) == 7 and all(map(space.is_feasible, proposals))


def test_a_strategy_that_has_nothing_left_ends_the_search(tmp_path) -> None:
    space = digits_space(reduction=[4], squeeze=["avg"], placement=["standard"])
    notes = Notes()
    run = search(tmp_path / "run", space, strategy="random", trials=50, observer=notes)
    assert run.config["ended"] == "exhausted" and {t.architecture for t in run.trials} >= set(space.enumerate())
    assert any("proposes nothing more" in note for note in notes.told)


@names("grid", "rl")
def test_stopped_and_resumed_is_as_if_never_stopped(name, tmp_path) -> None:
    space = digits_space()
    best = space.sample(7)
    whole = search(tmp_path / "whole", space, Planted(best), strategy=name, trials=24)
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "run", space, Planted(best, stop=13), strategy=name, trials=24)
    evaluator = Planted(best)
    run = se_nas.resume(tmp_path / "run", space=space, evaluator=evaluator)
    assert order(run) == order(whole)
    assert len(evaluator.calls) == 24 - 13  # nothing finished was tried again


def test_a_failed_trial_is_recorded_and_not_tried_again(tmp_path) -> None:
    space = digits_space()
    first = search(tmp_path / "first", space, strategy="evolution", trials=20)
    bad = first.trials[4].architecture
    evaluator = Planted(space.sample(7), fails(bad))
    run = search(tmp_path / "run", space, evaluator, strategy="evolution", trials=20)
    assert [t.error for t in run.trials if t.status == "failed"] == ["the loss is not finite"]
    assert evaluator.calls.count(bad) == 1 and len(run.trials) == 20


def test_a_reference_that_cannot_be_run_ends_the_search(tmp_path) -> None:
    space = digits_space()
    evaluator = Planted(space.sample(7), {space.reference("paper").id: OSError("no data")})
    with pytest.raises(OSError, match="no data"):
        search(tmp_path / "run", space, evaluator, strategy="random")


def test_the_one_number_is_ours_and_said(tmp_path) -> None:
    notes = Notes()
    run = search(tmp_path / "run", strategy="random", objectives=["accuracy", "params"], trials=4, observer=notes)
    plain = run.trials[0]
    reward = Reward(parse_objectives(["accuracy", "params"]), plain.values)
    assert f"maximises {reward}" in notes.told[0] and "se-nas:" in notes.told[0]
    assert reward(plain.values) == plain.metrics["accuracy"]
    twice = {"accuracy": 0.5, "params": 2 * plain.costs["params"]}
    assert reward(twice) == pytest.approx(0.5 - WEIGHT)
    assert Reward(parse_objectives(["loss"]), {})({"loss": 2.0}) == -2.0


def test_of_a_traded_search_the_one_number_is_its_own() -> None:
    objectives, values = parse_objectives(["accuracy", "params"]), {"accuracy": 0.8, "params": 200.0}
    weighted = Reward(objectives, {}, Trade("weighted", {"params": 100.0}, -0.5))
    assert weighted(values) == pytest.approx(0.8 / 2**0.5) and str(weighted) == "accuracy x (params / 100) ^ -0.5"
    constrained = Reward(objectives, {}, Trade("constrained"))
    assert constrained(values) == 0.8 and str(constrained) == "accuracy"


def test_extra_dimensions_are_choices_too(tmp_path) -> None:
    space = SearchSpace.from_yaml(ROOT / "search_spaces/digits_resnet8_extra.yaml")
    tried = [t.architecture for t in search(tmp_path / "run", space, strategy="random").trials[2:]]
    assert len({architecture.extra for architecture in tried}) > 1 and all(map(space.contains, tried))


def test_names_mean_ours_or_theirs() -> None:
    assert full_name("random", "nni") == "nni:random" and full_name("random", "local") == "random"
    assert full_name("se-nas:random", "nni") == "random" and full_name("nsga2", "nni") == "nsga2"
    assert full_name("rl", "nni") == "nni:rl"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"engine": "local", "strategy": "nni:random"}, "nni:random is NNI's own strategy, and the engine is local; take --engine nni"),
        ({"engine": "nni", "strategy": "nni:magic"}, "unknown strategy 'nni:magic'; take one of nni:random"),
        (
            {"engine": "nni", "strategy": "magic"},
            "unknown strategy 'magic'; take one of random, grid, evolution, tpe, rl, darts",
        ),
        (
            {"engine": "nni", "strategy": "darts"},
            "a one-shot search trains networks, and this evaluator does not",
        ),
        ({"engine": "nni", "nni_service": "local"}, "Planted cannot be made again in a trial's process"),
        ({"engine": "nni", "nni_service": "cloud"}, "unknown nni_service 'cloud'"),
        ({"engine": "nni", "nni_service": "remote"}, "the remote service needs machines"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_written(arguments, message, tmp_path) -> None:
    with pytest.raises(se_nas.InputError) as caught:
        search(tmp_path / "run", **arguments)
    assert message in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_nni_stays_quiet_and_is_left_as_it_was(tmp_path, capfd) -> None:
    search(tmp_path / "run", strategy="evolution")
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("nni").level == logging.INFO
    from nni.nas.strategy import hpo

    assert hpo.time.__name__ == "time"
    assert torch.initial_seed() == 0


@SLOW
def test_the_command_shows_none_of_nnis_warnings(tmp_path) -> None:
    space = str(ROOT / "search_spaces/digits_resnet8.yaml")
    flags = ["--engine", "nni", "--strategy", "rl", "--trials", "3", "--epochs", "1", "--repeats", "1", "--out", str(tmp_path / "run")]
    done = subprocess.run([sys.executable, "-m", "se_nas", "search", space, *flags], capture_output=True, text=True, cwd=ROOT)
    shown = done.stdout + done.stderr
    assert done.returncode == 0 and "nni:rl is NNI's own" in shown
    assert not [word for word in ("Warning", "warn", "Gym", "nni.nas", "[20") if word in shown]


@names("grid", "rl")
def test_a_cost_of_ones_own_is_an_objective_and_a_budget(name, tmp_path) -> None:
    space = costed_space().with_budgets({"energy": "<= +4%"})
    run = search(tmp_path / "run", space, strategy=name, trials=8, objectives=["accuracy", "energy"])
    proposals = [trial for trial in run.trials if trial.role == "proposal"]
    assert len(proposals) == 6
    for trial in proposals:
        assert trial.costs["energy"] == space.cost(trial.architecture).energy <= 1.04 * space.plain_cost.energy
