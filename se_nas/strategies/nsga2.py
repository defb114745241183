"""NSGA-II (Deb et al., 2002) through Optuna."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import Trial as OptunaTrial
from optuna.trial import TrialState, create_trial

from se_nas.architecture import Architecture
from se_nas.objective import Objective
from se_nas.space import SearchSpace
from se_nas.strategies.random import sample_unseen

POPULATION = 20
"""Optuna's own default of 50 would spend a whole small search on its random first generation."""

TRIES = 10
"""Proposals in a row that may be known already before a random new architecture is taken instead."""


class NSGA2Strategy:
    """Optuna's NSGA-II over the space's named dimensions.

    A proposal over budget is repaired: groups in an order drawn from the proposal itself take their cheapest option
    until the budgets are met. A proposal whose network is known already is answered at once and another is asked for,
    so nothing is trained twice and the population still learns from it.

    Args:
        space: what to search.
        objectives: what to trade; known costs included.
        seed: of the sampler.
    """

    def __init__(self, space: SearchSpace, objectives: Sequence[Objective], seed: int = 0) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space = space
        self._objectives = tuple(objectives)
        self._rng = np.random.default_rng(seed)
        sampler = optuna.samplers.NSGAIISampler(population_size=POPULATION, seed=seed)
        self._study = optuna.create_study(
            directions=["maximize" if o.direction == "max" else "minimize" for o in objectives], sampler=sampler
        )
        self._distributions: dict[str, BaseDistribution] = {
            name: CategoricalDistribution(values) for name, values in space.dimensions.items()
        }
        self._asked: dict[Architecture, OptunaTrial] = {}
        self._known: dict[Architecture, tuple[float, ...] | None] = {}

    def ask(self, n: int) -> list[Architecture]:
        asked: list[Architecture] = []
        while len(asked) < n and len(self._known) + len(self._asked) < self._space.feasible_size:
            asked.append(self._propose())
        return asked

    def _propose(self) -> Architecture:
        for _ in range(TRIES):
            trial = self._study.ask(self._distributions)
            architecture = self._repair(self._space.from_dimensions(trial.params))
            if architecture not in self._known and architecture not in self._asked:
                self._asked[architecture] = trial
                return architecture
            self._answer(trial, self._known.get(architecture))
        architecture = sample_unseen(self._space, {*self._known, *self._asked}, self._rng)
        self._study.enqueue_trial(self._space.to_dimensions(architecture))
        self._asked[architecture] = self._study.ask(self._distributions)
        return architecture

    def _repair(self, architecture: Architecture) -> Architecture:
        if self._space.is_feasible(architecture):
            return architecture
        rng = np.random.default_rng(int(architecture.id, 16))
        cheapest = self._space.cheapest()
        choices = dict(architecture)
        for index in rng.permutation(len(self._space.groups)):
            group = self._space.groups[index].name
            choices[group] = cheapest[group]
            repaired = self._space.canonical(choices)
            if self._space.is_feasible(repaired):
                return repaired
        return self._space.sample(rng)  # several budgets at once, which the option of fewest parameters need not meet

    def tell(self, architecture: Architecture, metrics: Mapping[str, float] | None) -> None:
        values = None if metrics is None else tuple(float(metrics[o.name]) for o in self._objectives)
        trial = self._asked.pop(architecture, None)
        if trial is not None:
            self._answer(trial, values)
        elif not (self._space.contains(architecture) and self._space.is_feasible(architecture)):
            return
        elif values is not None and architecture not in self._known:
            params = self._space.to_dimensions(architecture)
            self._study.add_trial(create_trial(values=values, params=params, distributions=self._distributions))
        self._known[architecture] = values

    def _answer(self, trial: OptunaTrial, values: tuple[float, ...] | None) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._study.tell(trial, values, state=None if values else TrialState.FAIL)
