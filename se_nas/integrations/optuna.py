"""SE choices in an Optuna objective of one's own, and runs as Optuna studies.

    from se_nas.integrations.optuna import suggest

    def objective(trial):
        network = space.build(suggest(trial, space))
        ...

Any sampler, pruner and storage will do.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import TrialState

from se_nas.goals.objective import parse_objectives
from se_nas.run.run import Run
from se_nas.space.architecture import Architecture
from se_nas.space.space import SearchSpace

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

__all__ = ["constraints", "suggest", "to_study"]

EXCESS = "se_nas.excess"
"""Attribute of a trial: by how much its architecture is over each budget, a share of the budget; at most 0 is within it."""


_STATES = {"complete": TrialState.COMPLETE, "failed": TrialState.FAIL, "stopped": TrialState.PRUNED}


def suggest(trial: optuna.Trial, space: SearchSpace, *, prune: bool = True) -> Architecture:
    """An architecture of the space, one parameter for each thing that a site may choose (``layer1.0.reduction``).

    The choice is conditional: a site without SE (reduction None) has no further parameters. Exact parameters and MACs and
    the architecture's id become attributes of the trial.

    Args:
        trial: of a study.
        space: with its budgets.
        prune: whether a trial over budget ends here; if not, let `constraints` tell the sampler of it.

    Raises:
        optuna.TrialPruned: if the architecture is over budget, before anything is trained.
    """
    values = {}
    without: set[str] = set()
    for name, candidates in space.dimensions.items():
        group, _, field = name.rpartition(".")
        if group in without:
            continue
        values[name] = trial.suggest_categorical(name, candidates)
        if field == "reduction" and values[name] is None:
            without.add(group)
    architecture = space.from_dimensions(values)
    cost = space.cost(architecture)
    excess = [getattr(cost, budget.metric) / budget.limit - 1 for budget in space.budgets]
    trial.set_user_attr("se_nas.id", architecture.id)
    trial.set_user_attr("se_nas.params", cost.params)
    trial.set_user_attr("se_nas.macs", cost.macs)
    trial.set_user_attr(EXCESS, excess)
    if prune and any(over > 0 for over in excess):
        raise optuna.TrialPruned(f"{cost.params:,} parameters and {cost.macs:,} MACs: over {' or '.join(map(str, space.budgets))}")
    return architecture


def constraints(trial: FrozenTrial) -> Sequence[float]:
    """For ``constraints_func`` of Optuna's samplers, with ``suggest(..., prune=False)``."""
    excess: list[float] = trial.user_attrs.get(EXCESS, [])
    return excess


def to_study(run: Run, storage: str | None = None, name: str | None = None) -> optuna.Study:
    """A run's ledger as an Optuna study, to look at with optuna-dashboard (``optuna-dashboard sqlite:///study.db``).

    Args:
        run: of se-nas.
        storage: URL of the storage, ``sqlite:///study.db``; in memory if None.
        name: of the study, the run's directory's name if None.

    Raises:
        optuna.exceptions.DuplicatedStudyError: if the storage has such a study already.
    """
    objectives = parse_objectives(run.config["search"]["objectives"])
    study = optuna.create_study(
        directions=["maximize" if o.direction == "max" else "minimize" for o in objectives],
        storage=storage,
        study_name=name or run.path.name,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study.set_metric_names([objective.name for objective in objectives])
    study.set_user_attr("objectives", [objective.name for objective in objectives])
    trials = run.trials
    fields: dict[str, dict[Any, None]] = {}  # of each parameter, every value that the run has
    parameters = [_parameters(trial.architecture) for trial in trials]
    for chosen in parameters:
        for key, value in chosen.items():
            fields.setdefault(key, {})[value] = None
    distributions = {key: optuna.distributions.CategoricalDistribution(tuple(values)) for key, values in fields.items()}
    for trial, chosen in zip(trials, parameters, strict=True):
        attributes = {"role": trial.role, "seed": trial.seed, "id": trial.architecture.id, "error": trial.error, **trial.costs}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            study.add_trial(
                optuna.create_trial(
                    state=_STATES[trial.status],
                    values=[trial.values[o.name] for o in objectives] if trial.complete else None,
                    params=chosen,
                    distributions={key: distributions[key] for key in chosen},
                    user_attrs=attributes,
                )
            )
    return study


def _parameters(architecture: Architecture) -> dict[str, Any]:
    """Setting of each group as text, and extra values as they are: what all architectures of a ledger have, references included."""
    return {**dict(architecture.extra), **{group: str(spec or "no SE") for group, spec in architecture}}
