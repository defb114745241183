"""An architecture from an Optuna trial, within the budgets whatever sampler the study has.

Samplers know no budgets, and tight ones leave few architectures: most proposals are over budget. So a proposal over budget is
mapped to one within, before Optuna records it: genes of a random architecture within the budgets are copied into it, one after
another in random order; one of those on this way that are within is drawn. What the trial holds, and what the sampler learns
from, is the architecture that was tried. `benchmarks/optuna_budgets.py` compares this with pruning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState

from se_nas.space.space import SearchSpace
from se_nas.strategies.domain.base import Domain, Ints
from se_nas.strategies.domain.search_space import SearchSpaceDomain

LISTS = (optuna.samplers.BruteForceSampler, optuna.samplers.GridSampler)
"""Samplers that go through a list. Mapped, they would try the same again and again."""


def suggest_values(trial: Any, space: SearchSpace, prefix: str = "", mapped: bool = True) -> dict[str, Any]:
    """Suggest a value for each dimension of the space, as the parameter ``prefix`` + name, and return name -> value.

    If a group's reduction is None (no SE block), its other dimensions are not suggested.

    Args:
        trial: an `optuna.Trial`, or what stands for one (`FixedTrial`, a best trial).
        space: the search space with its budgets.
        prefix: of the parameters' names.
        mapped: whether to map proposals into the budgets. Parameters that were enqueued, and those of `LISTS`, stay as they are.
    """
    choices = {name: CategoricalDistribution(values) for name, values in space.dimensions.items()}
    if mapped and space.budgets and isinstance(trial, optuna.Trial) and not isinstance(trial.study.sampler, LISTS):
        _map_proposal(trial, space, choices, prefix)
    return dict(_in_turn(choices, lambda name, of: trial.suggest_categorical(prefix + name, of.choices)))


def _in_turn(choices: Mapping[str, CategoricalDistribution], value: Any) -> Iterator[tuple[str, Any]]:
    """(dimension, value) pairs, without those of groups that have no SE."""
    absent = set()
    for name, distribution in choices.items():
        group, _, field = name.rpartition(".")
        if group not in absent:
            chosen = value(name, distribution)
            yield name, chosen
            if field == "reduction" and chosen is None:
                absent.add(group)


def _map_proposal(trial: optuna.Trial, space: SearchSpace, choices: Mapping[str, CategoricalDistribution], prefix: str) -> None:
    """Ask the sampler for all dimensions, and put an architecture within the budgets in the place of what it proposes."""
    study = trial.study
    running = next(each for each in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)) if each.number == trial.number)
    names = {prefix + name for name in choices}
    if names & (running.system_attrs.get("fixed_params", {}).keys() | running.params.keys()):
        return  # enqueued, or suggested already

    def propose(name: str, distribution: CategoricalDistribution) -> Any:
        if prefix + name in trial.relative_params:
            return trial.relative_params[prefix + name]
        return study.sampler.sample_independent(study, running, prefix + name, distribution)

    domain = _domain(space)
    codes = domain.encode(space.from_dimensions(dict(_in_turn(choices, propose)), prefix=""))
    assert codes is not None  # from_dimensions gives what is in the space
    for name, value in space.to_dimensions(domain.decode(_within(domain, codes, trial.number))).items():
        trial.relative_params[prefix + name] = value
    distributions = {prefix + name: distribution for name, distribution in choices.items()}
    trial.relative_search_space = {**(trial.relative_search_space or {}), **distributions}


def _within(domain: Domain, codes: Ints, seed: int) -> Ints:
    """Codes within the budgets on the way from these to random ones within; the codes themselves if they are within."""
    if domain.feasible(codes[None])[0]:
        return codes
    rng = np.random.default_rng([seed, *map(int, codes)])
    target = domain.sample(rng, 1)[0]
    way = np.repeat(codes[None], len(codes), 0)
    for step, gene in enumerate(rng.permutation(len(codes))):
        way[step:, gene] = target[gene]
    within = np.flatnonzero(domain.feasible(way))  # the last is the target
    drawn: Ints = way[rng.choice(within)]
    return drawn


@lru_cache(maxsize=8)
def _domain(space: SearchSpace) -> Domain:
    return SearchSpaceDomain(space, ())
