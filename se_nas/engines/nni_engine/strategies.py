"""NNI's own multi-trial strategies, ours as one of NNI's, and what stands between them and the engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from nni.nas.execution.event import FinalMetricEvent, ModelEvent, ModelEventType, TrainingEndEvent
from nni.nas.space import ModelStatus
from nni.nas.strategy import TPE, GridSearch, PolicyBasedRL, Random, RegularizedEvolution
from nni.nas.strategy.base import Strategy
from nni.nas.strategy.middleware import Chain, Filter, StrategyMiddleware

from se_nas.engines.nni_engine.desk import Desk
from se_nas.engines.nni_engine.space import Model
from se_nas.space.architecture import Architecture
from se_nas.strategies.elsewhere import PREFIX

OVER, AGAIN = 1000, 200
"""Proposals in a row of what is over budget, and of what it has proposed before, after which a strategy has nothing new."""


def _random(seed: int) -> Strategy:
    return Random(seed=seed)


def _grid(seed: int) -> Strategy:
    return GridSearch(seed=seed)


def _evolution(seed: int) -> Strategy:
    """NNI's defaults are a population of 100 and a twentieth of all choices mutated: a search of tens of trials would end before."""
    return RegularizedEvolution(population_size=12, sample_size=4, mutation_prob=0.2, seed=seed)


def _tpe(seed: int) -> Strategy:
    """FAULT: NNI's TPE minimises what it is given unless told otherwise, though NNI's strategies maximise."""
    return TPE(optimize_mode="maximize", seed=seed, tpe_args={"n_startup_jobs": 10})


def _rl(seed: int) -> Strategy:
    """NNI's defaults update the policy every 20 models, by a rate of 1e-4: no more than a random walk in tens of trials."""
    import torch
    from nni.nas.strategy._rl_impl import default_policy_fn

    torch.manual_seed(seed)
    return PolicyBasedRL(samples_per_update=5, policy_fn=partial(default_policy_fn, lr=3e-4))


_MAKE: dict[str, Callable[[int], Strategy]] = {"random": _random, "grid": _grid, "evolution": _evolution, "tpe": _tpe, "rl": _rl}


def own(name: str, seed: int, desk: Desk) -> Chain:
    """A strategy of NNI's own, by its full name, that tries nothing over budget or known already."""
    strategy = _MAKE[name.removeprefix(PREFIX)](seed)
    return Chain(strategy, Feasible(desk), Known(desk))


class Given(Strategy):
    """Submits architectures in their order, but for those that have been tried."""

    def __init__(self, desk: Desk, architectures: Sequence[Architecture]) -> None:
        super().__init__()
        self._desk, self._architectures = desk, architectures

    def _run(self) -> None:
        for architecture in self._architectures:
            if architecture in self._desk.known:
                continue
            if not self.wait_for_resource() or (job := self._desk.next(architecture)) is None:
                break
            self.engine.submit_models(self.model_space.of_job(job))
        self._desk.wait()


class Ours(Strategy):
    """Submits the plan's own jobs: the references, then what a strategy of ours proposes.

    Args:
        desk: knows the plan.
        references_only: leave the rest to another strategy.
    """

    def __init__(self, desk: Desk, references_only: bool = False) -> None:
        super().__init__()
        self._desk, self._references_only = desk, references_only

    def _run(self) -> None:
        while self._more() and self.wait_for_resource() and (job := self._desk.next()) is not None:
            self.engine.submit_models(self.model_space.of_job(job))
        self._desk.wait()

    def _more(self) -> bool:
        return self._desk.plan.at_references or not self._references_only


class Feasible(Filter):
    """Ends what is over budget before it is a trial."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(lambda model: desk.space.is_feasible(model.architecture), patience=OVER, retain_history=False)
        self._desk = desk

    def wait_models(self, *models: Model) -> None:
        """FAULT: NNI's own waits for ever for a model whose process is gone."""
        self._desk.wait()


class Known(StrategyMiddleware):
    """Answers from the ledger what has been tried, at no cost; so a search goes on where it stopped, and nothing is tried twice.

    A strategy that proposes the same again is told that it is invalid, or the same result would count many times.
    """

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk, self._idle = desk, 0
        self._proposed: set[Architecture] = set()

    def submit_models(self, *models: Model) -> None:
        for model in models:
            again = model.architecture in self._proposed
            self._proposed.add(model.architecture)
            trial = self._desk.known.get(model.architecture)
            if not again and not trial:
                self._idle = 0
                self.engine.submit_models(model)
                continue
            self._idle += again
            status = ModelStatus.Invalid if again or not trial else ModelStatus.Trained if trial.complete else ModelStatus.Failed
            if trial and status is ModelStatus.Trained:
                self.dispatch_model_event(FinalMetricEvent(model, self._desk.reward(trial.values)))
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
