"""Multi-objective TPE (Ozaki et al., 2020) through Optuna, without repeats."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import TrialState, create_trial

from se_nas.strategies.base import Strategy
from se_nas.strategies.domain.base import Ints
from se_nas.strategies.ranking import mutated

TRIES = 20
"""Neighbours of a proposal that is known already, before a random new architecture is taken instead."""


class TPEStrategy(Strategy):
    """Optuna's TPE, all choices modelled together, over the genes; known costs are told it like measurements.

    Each proposal comes from a study that holds what was told. One over budget is repaired. With many trials TPE proposes
    what it was told again and again (its kernels over choices shrink): of such a one, a neighbour that is new is taken.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._distributions: dict[str, BaseDistribution] = {
            name: CategoricalDistribution(tuple(codes)) for name, codes in self.domain.dimensions.items()
        }
        self._study: optuna.Study | None = None
        self._held: list[bytes] = []

    def propose(self, rng: np.random.Generator) -> Ints | None:
        if self.nearly_done:
            return None
        codes = self.domain.repair(self._suggest(int(rng.integers(2**31))), rng)
        for _ in range(TRIES):
            if not self.is_seen(codes):
                return codes
            codes = self.domain.repair(mutated(codes, self.domain.sizes, rng, 0.0), rng)
        return None

    def _suggest(self, seed: int) -> Ints:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            study = self._told_study()
            study.sampler = _Sampler(self._distributions, seed)
            trial = study.ask(self._distributions)
            study.tell(trial, state=TrialState.FAIL)  # so that it leaves no trace: what it becomes is told later
        return np.array([trial.params[name] for name in self.domain.names], np.int64)

    def _told_study(self) -> optuna.Study:
        """The study with what was told: what is new is added, and if what it holds is no longer true, it is made anew."""
        every = list(zip(*self.candidates, strict=True))
        held = [codes.tobytes() + losses.tobytes() for codes, losses in every]
        if self._study is None or held[: len(self._held)] != self._held:
            self._study, self._held = optuna.create_study(directions=["minimize"] * len(self.objectives)), []
        for codes, losses in every[len(self._held) :]:
            params = dict(zip(self.domain.names, codes.tolist(), strict=True))
            self._study.add_trial(create_trial(values=losses.tolist(), params=params, distributions=self._distributions))
        self._held = held
        return self._study


class _Sampler(optuna.samplers.TPESampler):
    """TPE that is told which parameters there are: to find it out from all trials takes most of its time."""

    def __init__(self, distributions: dict[str, BaseDistribution], seed: int) -> None:
        super().__init__(seed=seed, multivariate=True)
        self._there = {name: distribution for name, distribution in sorted(distributions.items()) if not distribution.single()}

    def infer_relative_search_space(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> dict[str, BaseDistribution]:
        return self._there
