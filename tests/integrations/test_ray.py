"""The drop-ins in experiments of Tune's own kind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT, costed_space, digits_space

pytest.importorskip("optuna")
pytest.importorskip("ray")
import optuna
import pandas
from ray import cloudpickle, tune
from ray.tune.schedulers import ASHAScheduler, PopulationBasedTraining
from ray.tune.search import ConcurrencyLimiter, Repeater
from ray.tune.search.optuna import OptunaSearch
from ray.tune.utils.util import flatten_dict
from reading_docs import blocks

import se_nas
from se_nas.engines.environment_variables import environment
from se_nas.engines.ray_tune.cluster import QUIET, own_cluster
from se_nas.integrations.ray import SeSearcher, architecture, build, cost, define_by_run, param_space
from se_nas.integrations.shortlist import shortlist
from se_nas.se.block import GATES, SQUEEZES, SEBlock


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


@pytest.mark.slow
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
    table = pandas.DataFrame([flatten_dict(result.metrics) for result in results])  # as get_dataframe(), which reads Tune's own logs
    assert "config/se/network.reduction" in table
    assert {SPACE.from_dimensions(row) for _, row in table.iterrows()} == tried
    assert not searcher._live


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


# What Tune does to a searcher: restores it, wraps it, gives it all kinds of dimensions.

OTHERS = {
    "lr": tune.loguniform(1e-3, 1e-1),
    "layers": [tune.randint(1, 9), {"drop": tune.uniform(0, 1)}],
    "decay": tune.sample_from(lambda spec: spec.config.lr / 10),
    "fixed": 7,
}


def asked(searcher: SeSearcher, number: int) -> list[dict[str, Any]]:
    return [searcher.suggest(f"t{i}") for i in range(number)]  # type: ignore[misc]


def test_a_searcher_that_tune_stored_first_still_draws_every_dimension_when_restored(tmp_path: Path) -> None:
    """F1: Tune stores the searcher before it gives it the dimensions, and gives a restored one none."""
    first = SeSearcher(SPACE)
    stored = cloudpickle.dumps(first)
    first.set_search_properties(None, None, OTHERS)
    first.suggest("a")
    first.save(str(tmp_path / "state"))
    second = cloudpickle.loads(stored)
    second.restore(str(tmp_path / "state"))
    configs = asked(second, 3)
    assert configs == asked(first, 3)
    assert all(1e-3 <= config["lr"] <= 1e-1 and config["decay"] == config["lr"] / 10 for config in configs)
    third = cloudpickle.loads(stored)
    third.set_search_properties(None, None, {"lr": 0.5})  # Tuner.restore(..., param_space=...)
    third.restore(str(tmp_path / "state"))
    assert third.suggest("b")["lr"] == 0.5  # type: ignore[index]


DRIVER = """
import os, sys, time
sys.path[:0] = sys.argv[2:4]
from ray import tune
from conftest import digits_space
from se_nas.engines.environment_variables import environment
from se_nas.engines.ray_tune.cluster import QUIET, own_cluster
from se_nas.integrations.ray import SeSearcher, cost

space = digits_space(squeeze=["avg", "max"])
folder = sys.argv[1]

def train(config):
    with open(os.path.join(folder, "begun"), "a") as file:
        file.write(repr(type(config["lr"])) + "\\n")
    time.sleep(0.1)
    tune.report({"accuracy": config["lr"] + cost(space, config["se"]).params / 1e6})

if __name__ == "__main__":
    os.environ["TUNE_GLOBAL_CHECKPOINT_S"] = "0"
    with environment(QUIET), own_cluster(cpus=2, gpus=0, threads=1):
        path = os.path.join(folder, "tune", "killed")
        if os.path.exists(path):
            tuner = tune.Tuner.restore(path, trainable=train)
        else:
            tuner = tune.Tuner(
                train,
                param_space={"lr": tune.uniform(0.1, 0.2), "deep": [tune.choice([1, 2])]},
                tune_config=tune.TuneConfig(num_samples=10, search_alg=SeSearcher(space), max_concurrent_trials=1, reuse_actors=True),
                run_config=tune.RunConfig(storage_path=os.path.join(folder, "tune"), name="killed", verbose=0),
            )
        results = tuner.fit()
        assert not results.errors, results.errors
        for result in results:
            assert 0.1 <= result.config["lr"] <= 0.2 and result.config["deep"][0] in (1, 2), result.config
            assert result.metrics["accuracy"] > 0.1
        print("tried", len({str(result.config["se"]) for result in results}))
"""


@pytest.mark.slow
def test_a_killed_experiment_goes_on_in_a_new_process(tmp_path: Path) -> None:
    (tmp_path / "driver.py").write_text(DRIVER)
    command = [sys.executable, str(tmp_path / "driver.py"), str(tmp_path), str(ROOT), str(ROOT / "tests")]
    surroundings = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    first = subprocess.Popen(command, env=surroundings, start_new_session=True)
    begun = tmp_path / "begun"
    while not (begun.exists() and len(begun.read_text().splitlines()) >= 5):
        assert first.poll() is None
        time.sleep(0.1)
    first.kill()
    first.wait()
    second = subprocess.run(command, env=surroundings, capture_output=True, text=True, timeout=300)
    assert second.returncode == 0, second.stderr[-3000:]
    assert "tried 10" in second.stdout
    assert set(begun.read_text().splitlines()) == {"<class 'float'>"}
    with contextlib.suppress(ProcessLookupError):
        os.killpg(first.pid, signal.SIGKILL)  # what Ray left of the first


def test_domains_at_any_depth_are_drawn_and_a_grid_is_refused() -> None:
    searcher = SeSearcher(SPACE)
    searcher.set_search_properties(None, None, {**OTHERS, "by_size": tune.sample_from(lambda spec: len(spec.config.se))})
    for config in asked(searcher, 3):
        number, deeper = config["layers"]
        assert number in range(1, 9) and 0 <= deeper["drop"] <= 1 and config["fixed"] == 7
        assert config["by_size"] == len(config["se"])
    with pytest.raises(
        se_nas.InputError, match=r"param_space, opt.bs: no search_alg of Tune runs a grid_search; take tune.choice\(\[8, 16\]\)"
    ):
        SeSearcher(SPACE).set_search_properties(None, None, {"opt": {"bs": tune.grid_search([8, 16])}})


def complete(searcher: Any, trial: str, config: dict[str, Any], **metrics: float) -> None:
    searcher.on_trial_complete(trial, {**metrics, "training_iteration": 1, "config": config})


def test_it_repeats_over_seeds_and_learns_from_the_mean(tmp_path: Path) -> None:
    searcher = SeSearcher(SPACE, ["accuracy", "max:f1"], seed=5, repeats=3)
    searcher.set_search_properties(None, None, OTHERS)
    configs = asked(searcher, 4)
    searcher.save(str(tmp_path / "state"))
    restored = SeSearcher(SPACE, ["accuracy", "max:f1"], seed=5, repeats=3)
    restored.restore(str(tmp_path / "state"))
    configs += [restored.suggest("t4"), restored.suggest("t5")]  # type: ignore[list-item]
    assert [config["seed"] for config in configs] == [5, 6, 7, 5, 6, 7]
    for three in (configs[:3], configs[3:]):
        assert len({repr({**config, "seed": 0}) for config in three}) == 1
    assert configs[0]["se"] != configs[3]["se"] and configs[0]["lr"] != configs[3]["lr"]
    for number, config in enumerate(configs):
        complete(restored, f"t{number}", config, accuracy=0.1 * number, f1=0.5)
    _, losses, trials = restored._strategy.finished
    assert trials.tolist() == [3, 3] and losses[:, 0] == pytest.approx([-0.1, -0.4])


def test_tunes_own_wrappers() -> None:
    """F8: a Repeater hands on the mean of one metric, under the name that the searcher gives."""
    limited = ConcurrencyLimiter(Repeater(SeSearcher(SPACE, ["accuracy", "params"]), repeat=2), max_concurrent=2)
    limited.set_search_properties(None, None, OTHERS)
    for number, config in enumerate([limited.suggest("a"), limited.suggest("b")]):
        assert config["__trial_index__"] == number
        complete(limited, "ab"[number], config, accuracy=0.2 + 0.2 * number)
    assert limited.searcher.searcher._strategy.finished[1][:, 0] == pytest.approx([-0.3])
    several = Repeater(SeSearcher(SPACE, ["accuracy", "max:f1"]), repeat=2)
    several.set_search_properties(None, None, {})
    several.suggest("a")
    several.suggest("b")
    complete(several, "a", {}, accuracy=0.2, f1=0.2)
    with pytest.raises(se_nas.InputError, match=r"Repeater: Tune's Repeater hands on one metric, and this search measures accuracy and f1"):
        complete(several, "b", {}, accuracy=0.2, f1=0.2)


def test_a_trial_that_took_over_another_ones_architecture_is_not_learned_from() -> None:
    """F9: what population based training does to a config when it copies a better trial."""
    searcher = SeSearcher(SPACE, ["accuracy"])
    mine, other = asked(searcher, 2)
    complete(searcher, "t0", {**mine, "se": other["se"]}, accuracy=0.9)
    complete(searcher, "t1", other, accuracy=0.8)
    assert searcher._strategy.finished[1].tolist() == [[-0.8]]


@pytest.mark.slow
def test_what_was_registered_in_the_driver_is_known_on_the_workers(tmp_path: Path) -> None:
    """F6."""
    se_nas.register_squeeze("half", lambda x: x.mean((2, 3)) / 2)
    se_nas.register_gate("cosine", lambda x: x.cos())
    try:
        space = digits_space(share="network", squeeze=["half"], gate=["cosine"], allow_none=False)

        def build_it(config: dict[str, Any]) -> None:
            model = build(space, config["se"])
            gate = next(module.gate for module in model.modules() if isinstance(module, SEBlock))
            tune.report({"params": sum(p.numel() for p in model.parameters()), "gate": float(gate(torch.zeros(1)))})

        results = fit(tmp_path, {"se": param_space(space)}, tune.TuneConfig(num_samples=2), build_it)
        assert {result.metrics["params"] for result in results} <= {space.cost(each).params for each in space.enumerate()}
        assert all(result.metrics["gate"] == 1.0 for result in results)
    finally:
        del SQUEEZES["half"], GATES["cosine"]


@pytest.mark.slow
def test_a_shortlist_keeps_the_budgets_for_any_searcher(tmp_path: Path) -> None:
    space = digits_space(gate=["sigmoid", "tanh"], budgets={"params": "<= +0.8%"})
    short = shortlist(space, 12, seed=3)
    assert len(short) == 12 and short == shortlist(space, 12, seed=3) and json.loads(json.dumps(short)) == short
    for name, choices in short.items():
        arch = architecture(space, choices)
        assert arch.id == name and space.is_feasible(arch)
    few = digits_space(share="network", budgets={"params": "<= +0.8%"})
    assert set(shortlist(few, 100)) == {arch.id for arch in few.enumerate()}

    def within(config: dict[str, Any]) -> None:
        tune.report({"params": cost(space, short[config["se"]]).params})

    results = fit(tmp_path, {"se": tune.choice(list(short))}, tune.TuneConfig(num_samples=3), within)
    assert all(result.metrics["params"] <= space.budgets[0].limit for result in results)


def test_a_cost_of_ones_own_is_an_objective_and_a_budget() -> None:
    space = costed_space().with_budgets({"energy": "<= +4%"})
    searcher, told = SeSearcher(space, ["accuracy", "energy"], "nsga2"), list[object]()
    searcher._strategy.tell = lambda arch, metrics: told.append((arch, metrics))  # type: ignore[method-assign]
    for number in range(20):
        chosen = architecture(space, searcher.suggest(f"t{number}")["se"])
        searcher.on_trial_complete(f"t{number}", {"accuracy": 0.5, "training_iteration": 1})
        assert space.is_feasible(chosen) and told[-1] == (chosen, {"accuracy": 0.5, "energy": space.cost(chosen).energy})
        assert cost(space, space.to_dimensions(chosen)).energy <= 1.04 * space.plain_cost.energy
