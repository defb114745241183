"""The drop-ins in experiments of Tune's own kind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from conftest import digits_space
from ray import tune
from ray.tune.schedulers import ASHAScheduler, PopulationBasedTraining
from ray.tune.search.optuna import OptunaSearch
from reading_docs import blocks

import se_nas
from se_nas.engines.environment_variables import environment
from se_nas.engines.ray_tune.cluster import QUIET, own_cluster
from se_nas.integrations.ray import SeSearcher, architecture, build, cost, define_by_run, param_space


@pytest.fixture(scope="module", autouse=True)
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with environment(QUIET), own_cluster(cpus=2, gpus=0, threads=1):
        yield


SPACE = digits_space(share="network", squeeze=["avg", "max"])


def train(config: dict[str, Any]) -> None:
    """Three epochs of a network that is built, and scored by its size."""
    model = build(SPACE, config["se"])
    size = sum(p.numel() for p in model.parameters())
    for epoch in range(3):
        tune.report({"accuracy": size / 1e5 + epoch / 10, "params": size, "lr": config.get("lr", 0.0)})


def fit(tmp_path: Path, space: Any, config: tune.TuneConfig, trainable: Any = train) -> tune.ResultGrid:
    run = tune.RunConfig(storage_path=str(tmp_path / "tune"), verbose=0)
    results = tune.Tuner(trainable, param_space=space, tune_config=config, run_config=run).fit()
    assert not results.errors
    return results


def test_the_code_of_its_page_runs_as_it_is_printed(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # Tune writes results below it
    names = {"__name__": "docs"}
    for block in blocks("docs/ray.md"):
        if block.language == "python":
            exec(compile(block.text, f"{block.page}:{block.line}", "exec"), names)
    assert "'se': {'layer1.reduction'" in capsys.readouterr().out


def test_choices_are_architectures() -> None:
    chosen = {name: domain.sample() for name, domain in param_space(SPACE).items()}
    arch = architecture(SPACE, chosen)
    assert SPACE.contains(arch) and json.dumps(chosen)
    assert cost(SPACE, chosen).params == sum(p.numel() for p in build(SPACE, chosen).parameters())
    wide = digits_space(share="network", extra={"width": [1.0, 1.5], "kernel": [3, 5]})
    chosen = {name: domain.sample() for name, domain in param_space(wide).items()}
    assert dict(architecture(wide, chosen).extra) == {"width": chosen["width"], "kernel": chosen["kernel"]}
    assert cost(wide, chosen).params == sum(p.numel() for p in build(wide, chosen).parameters())


def test_seeded_searcher_proposes_what_the_strategy_does(tmp_path) -> None:
    """With one at a time: what `se-nas search` would try, without its references; other dimensions are drawn."""
    space = digits_space(gate=["sigmoid", "tanh"], budgets={"params": "<= +0.89%"})
    searcher = SeSearcher(space, ["accuracy", "params"], "nsga2", seed=3)
    assert searcher.set_search_properties(None, None, {"lr": tune.loguniform(1e-3, 1e-1), "deep": {"x": tune.choice([1])}, "fixed": 7})
    strategy = se_nas.create_strategy("nsga2", space, searcher._objectives, seed=3)
    for number in range(30):
        if number == 13:  # a searcher restored goes on where it was
            searcher.save(str(tmp_path / "state"))
            fresh = SeSearcher(space, ["accuracy", "params"], "nsga2", seed=3)
            fresh.set_search_properties(None, None, searcher._others)
            fresh.restore(str(tmp_path / "state"))
            searcher = fresh
        config = searcher.suggest(f"t{number}")
        (arch,) = strategy.ask(1)
        assert isinstance(config, dict) and architecture(space, config["se"]) == arch and space.is_feasible(arch)
        assert 1e-3 <= config["lr"] <= 1e-1 and config["deep"] == {"x": 1} and config["fixed"] == 7
        score = int(arch.id, 16) % 100 / 100
        searcher.on_trial_complete(f"t{number}", {"accuracy": score, "training_iteration": 1})
        strategy.tell(arch, {"accuracy": score, "params": space.cost(arch).params})


def test_results_of_trials_stopped_early_are_none() -> None:
    searcher = SeSearcher(SPACE, ["accuracy"], "random", iterations=9)
    told = []
    searcher._strategy.tell = lambda arch, metrics: told.append(metrics)  # type: ignore[method-assign]
    for trial, result in {
        "a": {"accuracy": 0.5, "training_iteration": 3},
        "b": {"accuracy": 0.6, "training_iteration": 9},
        "c": None,
    }.items():
        searcher.suggest(trial)
        searcher.on_trial_complete(trial, result, error=result is None)
    assert told == [None, {"accuracy": 0.6}, None]
    searcher.suggest("d")
    with pytest.raises(se_nas.InputError, match="no 'accuracy' in a report"):
        searcher.on_trial_complete("d", {"loss": 1.0, "training_iteration": 9})


def test_searcher_refuses_a_single_metric(tmp_path) -> None:
    config = tune.TuneConfig(num_samples=2, search_alg=SeSearcher(SPACE), metric="accuracy", mode="max")
    with pytest.raises(se_nas.InputError, match=r"TuneConfig: metric 'accuracy' would make this a search of one objective"):
        fit(tmp_path, {"lr": tune.uniform(0, 1)}, config)


def test_our_searcher_in_a_tuner(tmp_path) -> None:
    searcher = SeSearcher(SPACE, ["accuracy", "params"])
    results = fit(tmp_path, {"lr": tune.uniform(0, 1)}, tune.TuneConfig(num_samples=3, search_alg=searcher, reuse_actors=True))
    tried = {architecture(SPACE, result.config["se"]) for result in results}
    assert len(tried) == 3 == len(results) and all(0 <= result.metrics["lr"] <= 1 for result in results)
    assert searcher._live == {}


def test_where_there_is_no_block_nothing_else_is_chosen() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    chosen = []
    for _ in range(20):
        trial = study.ask()
        define_by_run(SPACE, trial)
        chosen.append({name.removeprefix("se/"): value for name, value in trial.params.items()})
    assert {len(each) for each in chosen} == {1, 2}
    assert all((len(each) == 1) == (architecture(SPACE, each)["network"] is None) for each in chosen)


def conditional(trial: Any) -> None:
    define_by_run(SPACE, trial)
    trial.suggest_float("lr", 1e-3, 1e-1, log=True)


@pytest.mark.slow
def test_with_optuna_several_objectives_and_conditions(tmp_path) -> None:
    searcher = OptunaSearch(space=conditional, metric=["accuracy", "params"], mode=["max", "min"], seed=1)
    results = fit(tmp_path, None, tune.TuneConfig(num_samples=4, search_alg=searcher, max_concurrent_trials=2, reuse_actors=True))
    assert all(SPACE.contains(architecture(SPACE, result.config["se"])) for result in results) and len(results) == 4
    assert searcher._ot_study.directions == [2, 1] and len(searcher._ot_study.best_trials) >= 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["asha", "pbt", "optuna"])
def test_with_schedulers_and_plain_optuna(tmp_path, kind: str) -> None:
    space = {"lr": tune.loguniform(1e-3, 1e-1), "se": param_space(SPACE)}
    if kind == "asha":
        config = tune.TuneConfig(num_samples=6, metric="accuracy", mode="max", scheduler=ASHAScheduler(max_t=3), reuse_actors=True)
    elif kind == "optuna":
        searcher = OptunaSearch(metric=["accuracy", "params"], mode=["max", "min"])
        config = tune.TuneConfig(num_samples=6, search_alg=searcher, max_concurrent_trials=2, reuse_actors=True)
    else:
        mutations = {"lr": tune.loguniform(1e-3, 1e-1)}
        scheduler = PopulationBasedTraining(perturbation_interval=1, hyperparam_mutations=mutations)
        config = tune.TuneConfig(num_samples=4, metric="accuracy", mode="max", scheduler=scheduler)
    results = fit(tmp_path, space, config)
    assert len(results) == config.num_samples
    assert all(SPACE.contains(architecture(SPACE, result.config["se"])) for result in results)
