"""Searches to compare: our strategies, and others' samplers at their defaults, behind one face."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Protocol

import optuna
from problems import Problem

from se_nas.strategies import STRATEGIES, create_strategy

optuna.logging.set_verbosity(optuna.logging.ERROR)

REPEATED = 100
"""Repeats in a row that are answered from memory, at most."""


class Search(Protocol):
    def ask(self, n: int) -> list[Any]: ...

    def tell(self, architecture: Any, metrics: dict[str, float] | None) -> None: ...


class OptunaSearch:
    """An Optuna sampler over the space's dimensions.

    Args:
        problem: to search.
        sampler: as its users make it.
        new: whether what it repeats is answered from memory and another asked for; else it is evaluated again, and counts.
    """

    def __init__(self, problem: Problem, sampler: Any, new: bool = False) -> None:
        self._problem, self._new = problem, new
        self._known: dict[str, list[float] | None] = {}
        self._study = optuna.create_study(
            directions=["maximize" if o.direction == "max" else "minimize" for o in problem.objectives], sampler=sampler
        )
        space = problem.space
        dims = space.dims if hasattr(space, "dims") else space.dimensions
        self._make = space.from_dimensions if hasattr(space, "from_dimensions") else dict
        self._distributions = {name: optuna.distributions.CategoricalDistribution(values) for name, values in dims.items()}
        self._open: list[tuple[Any, Any]] = []

    def ask(self, n: int) -> list[Any]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trials = [self._ask() for _ in range(n)]
        self._open = [(self._make(trial.params), trial) for trial in trials]
        return [architecture for architecture, _ in self._open]

    def _ask(self) -> Any:
        trial = self._study.ask(self._distributions)
        for _ in range(REPEATED if self._new else 0):
            if (key := str(trial.params)) not in self._known:
                break
            values = self._known[key]
            self._study.tell(trial, values, state=optuna.trial.TrialState.COMPLETE if values else optuna.trial.TrialState.FAIL)
            trial = self._study.ask(self._distributions)
        self._known.setdefault(str(trial.params), None)
        return trial

    def tell(self, architecture: Any, metrics: dict[str, float] | None) -> None:
        place = next(i for i, (asked, _) in enumerate(self._open) if asked == architecture)
        _, trial = self._open.pop(place)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._known[str(trial.params)] = values = [metrics[o.name] for o in self._problem.objectives]  # type: ignore[index]
            self._study.tell(trial, values)


def _botorch(known: bool) -> Callable[[Problem, int], Search]:
    def make(problem: Problem, seed: int) -> Search:
        from botorch_search import BotorchSearch

        return BotorchSearch(problem, seed, known)

    return make


def _ours(name: str) -> Callable[[Problem, int], Search]:
    return lambda problem, seed: create_strategy(name, problem.space, problem.objectives, seed)


PEERS: dict[str, Callable[[Problem, int], Search]] = {
    **{name: _ours(name) for name in STRATEGIES if name != "grid"},
    "optuna-nsga2": lambda problem, seed: OptunaSearch(problem, optuna.samplers.NSGAIISampler(seed=seed)),
    "optuna-nsga2-20": lambda problem, seed: OptunaSearch(problem, optuna.samplers.NSGAIISampler(population_size=20, seed=seed)),
    "optuna-tpe": lambda problem, seed: OptunaSearch(problem, optuna.samplers.TPESampler(seed=seed)),
    "optuna-tpe-new": lambda problem, seed: OptunaSearch(problem, optuna.samplers.TPESampler(seed=seed), new=True),
    "optuna-gp": lambda problem, seed: OptunaSearch(problem, optuna.samplers.GPSampler(seed=seed)),
    "botorch": _botorch(known=False),
    "botorch-known": _botorch(known=True),
}
"""Name -> search of a problem with a seed."""

SEARCHES = [name for name in PEERS if not name.startswith(("optuna-gp", "botorch"))]
"""Those whose ask does not take seconds, and that need nothing more installed."""
