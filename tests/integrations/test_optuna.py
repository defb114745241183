from __future__ import annotations

import optuna
import pytest
from conftest import digits_space

from se_nas.integrations.optuna import constraints, suggest, to_study
from se_nas.run.run import Run

optuna.logging.set_verbosity(optuna.logging.ERROR)


def test_one_line_in_an_objective_of_ones_own() -> None:
    space, seen = digits_space(), []

    def objective(trial: optuna.Trial) -> tuple[float, int]:
        architecture = suggest(trial, space)
        seen.append(architecture)
        assert space.contains(architecture)
        for group, spec in architecture:  # conditional: no further choice where there is no SE
            assert (f"{group}.squeeze" in trial.params) == (spec is not None)
        assert trial.user_attrs["se_nas.params"] == space.cost(architecture).params
        return sum(spec is not None for _, spec in architecture), space.cost(architecture).params

    study = optuna.create_study(directions=["maximize", "minimize"], sampler=optuna.samplers.TPESampler(seed=0))
    study.optimize(objective, n_trials=30)
    assert len(set(seen)) > 10 and len(study.best_trials) >= 1


def test_what_is_over_budget_is_pruned_before_it_is_trained() -> None:
    space, trained = digits_space(budgets={"params": "<= +1%"}), []

    def objective(trial: optuna.Trial) -> float:
        architecture = suggest(trial, space)
        trained.append(architecture)
        return space.cost(architecture).macs

    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(objective, n_trials=40)
    pruned = [trial for trial in study.trials if trial.state == optuna.trial.TrialState.PRUNED]
    assert pruned and len(trained) == 40 - len(pruned) and all(map(space.is_feasible, trained))


def test_budgets_as_constraints() -> None:
    space = digits_space(budgets={"params": "<= +0.6%"})
    sampler = optuna.samplers.NSGAIISampler(population_size=10, seed=0, constraints_func=constraints)
    study = optuna.create_study(sampler=sampler)
    study.optimize(lambda trial: -space.cost(suggest(trial, space, prune=False)).params, n_trials=60)
    limit = space.budgets[0].limit
    within = [trial.user_attrs["se_nas.params"] <= limit for trial in study.trials]
    assert [max(constraints(trial)) <= 0 for trial in study.trials] == within
    assert sum(within[30:]) > sum(within[:30])  # the sampler has learned


def test_a_run_as_a_study_on_disk(finished_run: Run, tmp_path) -> None:
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    to_study(finished_run, storage)
    study = optuna.load_study(study_name=finished_run.path.name, storage=storage)
    assert [trial.values for trial in study.trials] == [[t.values["accuracy"], t.values["params"]] for t in finished_run.trials]
    assert [trial.user_attrs["id"] for trial in study.trials] == [t.architecture.id for t in finished_run.trials]
    with pytest.raises(optuna.exceptions.DuplicatedStudyError):
        to_study(finished_run, storage)


def test_extra_dimensions_join_the_choice(tmp_path) -> None:
    space, seen = digits_space(extra={"width": [1.0, 1.5], "kernel": [3, 5]}), set()

    def objective(trial: optuna.Trial) -> float:
        architecture = suggest(trial, space)
        assert dict(architecture.extra) == {name: trial.params[name] for name in ("width", "kernel")}
        seen.add(architecture.extra)
        return space.cost(architecture).macs

    optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).optimize(objective, n_trials=20)
    assert len(seen) == 4
