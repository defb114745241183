from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, digits_space

pytest.importorskip("optuna")
import optuna
from optuna.trial import TrialState

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


SAMPLERS = {
    "random": lambda: optuna.samplers.RandomSampler(seed=0),
    "tpe": lambda: optuna.samplers.TPESampler(seed=0),
    "multivariate tpe": lambda: optuna.samplers.TPESampler(seed=0, multivariate=True, group=True),
    "nsga2": lambda: optuna.samplers.NSGAIISampler(seed=0, population_size=10),
    "qmc": lambda: optuna.samplers.QMCSampler(seed=0),
    "one choice fixed": lambda: optuna.samplers.PartialFixedSampler({"lr": 0.1}, optuna.samplers.RandomSampler(seed=0)),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_trial_is_within_tight_budgets_with_any_sampler(name: str) -> None:
    """F4: half a percent of the space is within."""
    space = digits_space(reduction=[2, 4, 8, 16], gate=["sigmoid", "tanh"], placement=["standard", "pre"], budgets={"params": "<= +0.2%"})
    assert space.feasible_size / space.size < 0.005

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        lr = trial.suggest_categorical("lr", [0.1, 0.2])
        architecture = suggest(trial, space)
        assert space.is_feasible(architecture) and architecture.id == space.from_dimensions(trial.params).id
        for group, spec in architecture:
            assert (f"{group}.squeeze" in trial.params) == (spec is not None)
        return space.cost(architecture).params + lr, space.cost(architecture).macs

    study = optuna.create_study(directions=["maximize", "minimize"], sampler=SAMPLERS[name]())
    study.optimize(objective, n_trials=40)
    assert all(trial.state == TrialState.COMPLETE for trial in study.trials) and len(study.trials) == 40
    assert len({trial.user_attrs["se_nas.id"] for trial in study.trials}) > 3


def test_what_was_enqueued_stays_and_is_pruned_over_budget() -> None:
    space = digits_space(share="network", budgets={"params": "<= +0.5%"})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.enqueue_trial({"network.reduction": 4, "network.squeeze": "avg"})
    study.enqueue_trial({"network.reduction": None})
    study.optimize(lambda trial: space.cost(suggest(trial, space)).macs, n_trials=2)
    assert [trial.state for trial in study.trials] == [TrialState.PRUNED, TrialState.COMPLETE]
    assert suggest(study.best_trial, space) == suggest(optuna.trial.FixedTrial({"network.reduction": None}), space)  # type: ignore[arg-type]


def test_a_sampler_that_goes_through_everything_goes_through_everything() -> None:
    space = digits_space(share="network", budgets={"params": "<= +0.5%"})
    study = optuna.create_study(sampler=optuna.samplers.BruteForceSampler(seed=0))
    study.optimize(lambda trial: space.cost(suggest(trial, space)).params)
    assert len(study.trials) == space.size
    assert sum(trial.state == TrialState.COMPLETE for trial in study.trials) == space.feasible_size < space.size


def test_two_spaces_in_one_trial() -> None:
    teacher, student = digits_space(share="network"), digits_space(share="network", budgets={"params": "<= +1%"})

    def objective(trial: optuna.Trial) -> float:
        first, second = suggest(trial, teacher, prefix="teacher/"), suggest(trial, student, prefix="student/")
        assert teacher.from_dimensions(trial.params, "teacher/") == first and student.from_dimensions(trial.params, "student/") == second
        assert trial.user_attrs["se_nas.student/params"] == student.cost(second).params <= student.budgets[0].limit
        return teacher.cost(first).params - student.cost(second).params

    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    study.optimize(objective, n_trials=30)
    assert len({trial.user_attrs["se_nas.teacher/id"] for trial in study.trials}) > 3


WORKER = """
import sys
import optuna
from conftest import digits_space
from se_nas.integrations.optuna import suggest

optuna.logging.set_verbosity(optuna.logging.ERROR)
space = digits_space(budgets={"params": "<= +0.5%"})

def objective(trial):
    return float(space.cost(suggest(trial, space)).params)

study = optuna.load_study(study_name="both", storage=sys.argv[1], sampler=optuna.samplers.TPESampler(seed=int(sys.argv[2])))
study.optimize(objective, n_trials=15)
"""


@pytest.mark.slow
def test_two_processes_share_a_study_on_sqlite(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    optuna.create_study(study_name="both", storage=storage, direction="maximize")
    surroundings = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    workers = [subprocess.Popen([sys.executable, "-c", WORKER, storage, str(seed)], env=surroundings) for seed in (1, 2)]
    assert [worker.wait(300) for worker in workers] == [0, 0]
    study, space = optuna.load_study(study_name="both", storage=storage), digits_space(budgets={"params": "<= +0.5%"})
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 30
    for trial in study.trials:
        architecture = space.from_dimensions(trial.params)
        assert space.is_feasible(architecture) and architecture.id == trial.user_attrs["se_nas.id"]


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
    assert [trial.values for trial in study.trials] == [[t.values["loss"], t.values["params"]] for t in finished_run.trials]
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
