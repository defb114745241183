"""NNI's own multi-trial strategies, ours as one of NNI's, and the filters between them and the engine."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

from nni.nas.execution.event import FinalMetricEvent, ModelEvent, ModelEventType, TrainingEndEvent
from nni.nas.space import ModelStatus
from nni.nas.strategy import TPE, GridSearch, PolicyBasedRL, Random, RegularizedEvolution, hpo
from nni.nas.strategy.base import Strategy
from nni.nas.strategy.middleware import Chain, Filter, StrategyMiddleware

from se_nas.engines.nni_engine.search_state import SearchState
from se_nas.engines.nni_engine.space import Model
from se_nas.space.architecture import Architecture
from se_nas.strategies.external import PREFIX

OVER, AGAIN = 1000, 200
"""A strategy has nothing new after so many proposals in a row that are over budget, or repeated."""


def _random(seed: int) -> Strategy:
    return Random(seed=seed)


def _grid(seed: int) -> Strategy:
    return GridSearch(seed=seed)


def _evolution(seed: int) -> Strategy:
    """NNI's default population of 100 is too large for a search of tens of trials, and it mutates only one choice in twenty."""
    return RegularizedEvolution(population_size=12, sample_size=4, mutation_prob=0.2, seed=seed)


def _tpe(seed: int) -> Strategy:
    """FAULT: NNI's TPE minimises by default, though NNI's strategies maximise."""
    return TPE(optimize_mode="maximize", seed=seed, tpe_args={"n_startup_jobs": 10})


def _rl(seed: int) -> Strategy:
    """NNI's defaults (an update every 20 models, learning rate 1e-4) learn nothing in tens of trials."""
    import torch
    from nni.nas.strategy._rl_impl import default_policy_fn

    torch.manual_seed(seed)
    return PolicyBasedRL(samples_per_update=5, policy_fn=partial(default_policy_fn, lr=3e-4))


_MAKE: dict[str, Callable[[int], Strategy]] = {"random": _random, "grid": _grid, "evolution": _evolution, "tpe": _tpe, "rl": _rl}


def nni_strategy(name: str, seed: int, state: SearchState) -> Chain:
    """Make one of NNI's own strategies by its full name. It tries nothing that is over budget or in the ledger."""
    strategy = _MAKE[name.removeprefix(PREFIX)](seed)
    return Chain(strategy, BudgetFilter(state), LedgerCache(state))


@contextlib.contextmanager
def prompt_tpe(seconds: float) -> Iterator[None]:
    """FAULT: NNI's TPE sleeps a second after each proposal (nni/nas/strategy/hpo.py), even if a worker is free.

    Args:
        seconds: how long it sleeps instead.
    """
    hpo.time = SimpleNamespace(sleep=lambda _: time.sleep(seconds))
    try:
        yield
    finally:
        hpo.time = time


class FixedOrder(Strategy):
    """Submits architectures in the given order, and skips those that have been tried."""

    def __init__(self, state: SearchState, architectures: Sequence[Architecture]) -> None:
        super().__init__()
        self._state, self._architectures = state, architectures

    def _run(self) -> None:
        for architecture in self._architectures:
            if architecture in self._state.known:
                continue
            if not self.wait_for_resource() or (job := self._state.next(architecture)) is None:
                break
            self.engine.submit_models(self.model_space.of_job(job))
        self._state.wait()


class PlanStrategy(Strategy):
    """Submits the plan's own jobs: the references, then what our strategy proposes.

    Args:
        state: of the search.
        references_only: stop after the references; another strategy proposes the rest.
    """

    def __init__(self, state: SearchState, references_only: bool = False) -> None:
        super().__init__()
        self._state, self._references_only = state, references_only

    def _run(self) -> None:
        while self._more() and self.wait_for_resource() and (job := self._state.next()) is not None:
            self.engine.submit_models(self.model_space.of_job(job))
        self._state.wait()

    def _more(self) -> bool:
        return self._state.plan.at_references or not self._references_only


class BudgetFilter(Filter):
    """Rejects architectures over budget. They cost no trial."""

    def __init__(self, state: SearchState) -> None:
        super().__init__(lambda model: state.space.is_feasible(model.architecture), patience=OVER, retain_history=False)
        self._state = state

    def wait_models(self, *models: Model) -> None:
        """FAULT: NNI's own waits forever for a model whose process is gone."""
        self._state.wait()


class LedgerCache(StrategyMiddleware):
    """Answers from the ledger for architectures that have been tried. So a search resumes, and nothing is tried twice.

    If a strategy proposes the same architecture again it is told ``Invalid``; else one result would count many times.
    """

    def __init__(self, state: SearchState) -> None:
        super().__init__()
        self._state, self._idle = state, 0
        self._proposed: set[Architecture] = set()

    def submit_models(self, *models: Model) -> None:
        for model in models:
            again = model.architecture in self._proposed
            self._proposed.add(model.architecture)
            trial = self._state.known.get(model.architecture)
            if not again and not trial:
                self._idle = 0
                self.engine.submit_models(model)
                continue
            self._idle += again
            status = ModelStatus.Invalid if again or not trial else ModelStatus.Trained if trial.complete else ModelStatus.Failed
            if trial and status is ModelStatus.Trained:
                self.dispatch_model_event(FinalMetricEvent(model, self._state.reward(trial.values)))
            self.dispatch_model_event(TrainingEndEvent(model, status))

    def budget_available(self) -> bool:
        return bool(self._idle < AGAIN and self.engine.budget_available())

    def list_models(self, status: ModelStatus | None = None) -> Any:
        return self.engine.list_models(status)

    def register_model_event_callback(self, event_type: ModelEventType, callback: Callable[[ModelEvent], None]) -> None:
        super().register_model_event_callback(event_type, callback)
        self.engine.register_model_event_callback(event_type, callback)

    def unregister_model_event_callback(self, event_type: ModelEventType, callback: Callable[[ModelEvent], None]) -> None:
        super().unregister_model_event_callback(event_type, callback)
        self.engine.unregister_model_event_callback(event_type, callback)
