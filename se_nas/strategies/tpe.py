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
"""If a proposal is seen already: number of neighbours to try before taking a random new architecture instead."""


class TPEStrategy(Strategy):
    """Optuna's multivariate TPE over the genes. It is told known costs as if they were measured.

    Each proposal comes from a study that holds what was told. A proposal over budget is repaired (`Domain.repair`). With many
    trials TPE tends to propose what it was told before, because its kernels over choices shrink; a new neighbour of such a
    proposal is taken instead.
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
        codes = self.domain.repair(self._suggest(int(rng.integers(2**31))), rng, self.seen)
        for _ in range(TRIES):
            if not self.is_seen(codes):
                return codes
            codes = self.domain.repair(mutated(codes, self.domain.sizes, rng, 0.0), rng, self.seen)
        return None

    def _suggest(self, seed: int) -> Ints:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            study = self._told_study()
            study.sampler = _Sampler(self._distributions, seed)
            trial = study.ask(self._distributions)
            study.tell(trial, state=TrialState.FAIL)  # leave no running trial: its result is added later
        return np.array([trial.params[name] for name in self.domain.names], np.int64)

    def _told_study(self) -> optuna.Study:
        """The study with what was told. New results are added; if earlier ones changed, the study is made anew."""
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
    """TPE with given parameters: inferring them from all trials would take most of its time."""

    def __init__(self, distributions: dict[str, BaseDistribution], seed: int) -> None:
        super().__init__(seed=seed, multivariate=True)
        self._there = {name: distribution for name, distribution in sorted(distributions.items()) if not distribution.single()}

    def infer_relative_search_space(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> dict[str, BaseDistribution]:
        return self._there
