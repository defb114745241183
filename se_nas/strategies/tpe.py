"""Multi-objective TPE (Ozaki et al., 2020) through Optuna, without repeats."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import TrialState, create_trial

from se_nas.strategies.base import Strategy
from se_nas.strategies.domain import Ints

TRIES = 5
"""Proposals in a row that may be known already before a random new architecture is taken instead."""


class TPEStrategy(Strategy):
    """Optuna's TPE, all choices modelled together, over the genes; known costs are told it like measurements.

    Each proposal comes from a study that holds what was told, made again when there is more. A proposal over budget is
    repaired, one that is known already is asked for again.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._distributions: dict[str, BaseDistribution] = {
            name: CategoricalDistribution(tuple(codes)) for name, codes in self.domain.dimensions.items()
        }
        self._study: optuna.Study | None = None
        self._holds = -1

    def propose(self, rng: np.random.Generator) -> Ints | None:
        if self.nearly_done:
            return None
        if self._study is None or self._holds != self._told:
            self._study, self._holds = self._make_study(), self._told
        for _ in range(TRIES):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._study.sampler = optuna.samplers.TPESampler(seed=int(rng.integers(2**31)), multivariate=True)
                trial = self._study.ask(self._distributions)
                self._study.tell(trial, state=TrialState.FAIL)  # so that it leaves no trace: what it becomes is told later
            codes = self.domain.repair(np.array([trial.params[name] for name in self.domain.names], np.int64), rng)
            if not self.is_seen(codes):
                return codes
        return None

    def _make_study(self) -> optuna.Study:
        study = optuna.create_study(directions=["minimize"] * len(self.objectives))
        for codes, losses in zip(*self.candidates, strict=True):
            params = dict(zip(self.domain.names, codes.tolist(), strict=True))
            study.add_trial(create_trial(values=losses.tolist(), params=params, distributions=self._distributions))
        return study
