"""SE choices in your own Optuna objective, and runs as Optuna studies.

    from se_nas.integrations.optuna import suggest

    def objective(trial):
        network = space.build(suggest(trial, space))
        ...

Works with any sampler, pruner and storage.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import TrialState

from se_nas.integrations.proposals import suggest_values
from se_nas.run.run import Run
from se_nas.space.architecture import Architecture
from se_nas.space.space import SearchSpace

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

__all__ = ["constraints", "suggest", "to_study"]

ATTRIBUTE = "se_nas."
"""What names of user attributes begin with; the prefix of `suggest`, if any, follows. ``excess`` is a list: for each budget,
cost / limit - 1. At most 0 is within the budget."""

_STATES = {"complete": TrialState.COMPLETE, "failed": TrialState.FAIL, "stopped": TrialState.PRUNED}


def suggest(trial: optuna.Trial, space: SearchSpace, *, prefix: str = "", prune: bool = True) -> Architecture:
    """Suggest an architecture, with one Optuna parameter for each dimension of the space (``layer1.0.reduction``).

    If a group's reduction is None (no SE block), its other dimensions are not suggested. A proposal over budget becomes one
    within, with any sampler (`se_nas.integrations.proposals`). The architecture's id and its exact parameters and MACs become
    user attributes of the trial.

    Args:
        trial: the trial of a study.
        space: the search space with its budgets.
        prefix: of the parameters' names, to search two spaces in one trial: ``suggest(trial, teacher, prefix="teacher/")``.
        prune: whether to keep the budgets. If not, the sampler's proposals stay as they are; give it `constraints`.

    Raises:
        optuna.TrialPruned: if ``prune`` and the trial was enqueued with an architecture over budget; nothing has been trained then.
    """
    architecture = space.from_dimensions(suggest_values(trial, space, prefix, mapped=prune), prefix="")
    cost = space.cost(architecture)
    excess = [getattr(cost, budget.metric) / budget.limit - 1 for budget in space.budgets]
    own = f"{ATTRIBUTE}{prefix}"
    costs = {name: getattr(cost, name) for name in space.metrics}
    for name, value in {"id": architecture.id, **costs, "excess": excess}.items():
        trial.set_user_attr(own + name, value)
    if prune and any(over > 0 for over in excess):
        told = [f"{cost.params:,} parameters", f"{cost.macs:,} MACs", *(f"{name} {costs[name]:.6g}" for name in space.costs)]
        raise optuna.TrialPruned(f"{', '.join(told)}: over {' or '.join(map(str, space.budgets))}")
    return architecture


def constraints(trial: FrozenTrial) -> Sequence[float]:
    """The ``constraints_func`` of Optuna's samplers for ``suggest(..., prune=False)``; of all its prefixes together."""
    attributes = trial.user_attrs.items()
    return [over for name, each in attributes if name.startswith(ATTRIBUTE) and name.endswith("excess") for over in each]


def to_study(run: Run, storage: str | None = None, name: str | None = None) -> optuna.Study:
    """Write a run's ledger as an Optuna study, for optuna-dashboard (``optuna-dashboard sqlite:///study.db``).

    Args:
        run: the run.
        storage: URL of the storage, ``sqlite:///study.db`` for instance; None for memory.
        name: name of the study; None for that of the run's directory.

    Raises:
        optuna.exceptions.DuplicatedStudyError: if the storage has a study of this name.
    """
    objectives = run.objectives
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
    fields: dict[str, dict[Any, None]] = {}  # parameter -> all its values in the run, in order
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
    """Each group's setting as text, and extra values as they are. All trials of a ledger have these, the references too."""
    return {**dict(architecture.extra), **{group: str(spec or "no SE") for group, spec in architecture}}
