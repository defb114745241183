"""SE blocks in a Ray Tune experiment of one's own.

Example:
    >>> param_space = {"lr": tune.loguniform(1e-3, 1e-1), "se": param_space(space)}
    >>> model = build(space, config["se"])  # in the function that trains

`param_space` works with every search algorithm and scheduler of Tune. A plain one knows no budgets: `cost` is free, so a
function that trains can report an architecture over budget without training it. `SeSearcher` proposes none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ray import tune
from ray.tune.search import Searcher
from ray.tune.search.sample import Categorical, Domain

from se_nas.errors import InputError
from se_nas.goals.objective import parse_objectives
from se_nas.space.architecture import Architecture
from se_nas.strategies import create_strategy

if TYPE_CHECKING:
    from torch import nn

    from se_nas.se.cost import Cost
    from se_nas.space.space import SearchSpace

__all__ = ["SeSearcher", "architecture", "build", "cost", "define_by_run", "param_space"]


def param_space(space: SearchSpace) -> dict[str, Categorical]:
    """A space for Tune: a ``tune.choice`` for each thing that a group of sites may choose."""
    return {name: tune.choice(list(values)) for name, values in space.dimensions.items()}


def define_by_run(space: SearchSpace, trial: Any, key: str = "se") -> None:
    """Let an Optuna trial choose, squeeze, gate and placement only where there is an SE block.

    For `OptunaSearch`'s ``space``: a function that calls this and suggests what else there is.

    Args:
        space: what to choose from.
        trial: `optuna.Trial`.
        key: of the config that the choices go to.
    """
    absent = set()
    for name, values in space.dimensions.items():
        group, _, field = name.rpartition(".")
        if group in absent:
            continue
        chosen = trial.suggest_categorical(f"{key}/{name}", list(values))
        if field == "reduction" and chosen is None:
            absent.add(group)


def architecture(space: SearchSpace, choices: Mapping[str, Any]) -> Architecture:
    """The architecture of ``config["se"]``; choices that build the same network give equal ones."""
    return space.from_dimensions(choices)


def cost(space: SearchSpace, choices: Mapping[str, Any]) -> Cost:
    """Exact parameters and MACs of ``config["se"]``, before anything is built."""
    return space.cost(architecture(space, choices))


def build(space: SearchSpace, choices: Mapping[str, Any]) -> nn.Module:
    """A fresh network with the SE blocks of ``config["se"]``."""
    return space.build(architecture(space, choices))


class SeSearcher(Searcher):
    """One of our strategies as Tune's ``search_alg``: several objectives, nothing over budget, nothing twice.

    Reports must hold the measured objectives by name; known ones (``params``, ``macs``) are filled in. Everything else in
    the ``param_space`` is drawn at random. Limit what runs at a time with ``TuneConfig(max_concurrent_trials=...)``.

    Args:
        space: what to search.
        objectives: as on the command line, ``["accuracy", "params"]`` or ``["max:f1"]``.
        strategy: a name in `se_nas.strategies.STRATEGIES`.
        seed: of the strategy and of what is drawn.
        key: of the config that choices go to.
        iterations: ``training_iteration`` of a whole trial; with a scheduler that stops trials early, results of fewer are
            no results. None takes each.

    Raises:
        InputError: for unknown names, or a metric in ``TuneConfig``, which would make the search one of a single objective.
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: Sequence[str] = ("accuracy", "params"),
        strategy: str = "nsga2",
        seed: int = 0,
        key: str = "se",
        iterations: int | None = None,
    ) -> None:
        super().__init__()
        import numpy as np

        self._space, self._objectives, self._key, self._iterations = space, parse_objectives(objectives), key, iterations
        self._make = (strategy, seed)
        self._strategy = create_strategy(strategy, space, self._objectives, seed)
        self._rng = np.random.RandomState(seed)
        self._others: dict[str, Any] = {}
        self._live: dict[str, Architecture] = {}
        self._history: list[tuple[str, Any]] = []

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        if metric or mode:
            fix = "leave metric and mode out of TuneConfig; SeSearcher has the objectives"
            raise InputError(f"metric {metric!r} would make this a search of one objective", fix, "TuneConfig")
        self._others = {name: value for name, value in config.items() if name != self._key}
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        asked = self._strategy.ask(1)
        if not asked:
            return str(Searcher.FINISHED)
        chosen: Architecture = asked[0]
        self._live[trial_id] = chosen
        self._history.append(("ask", trial_id))
        return {**self._draw(self._others), self._key: self._space.to_dimensions(chosen)}

    def _draw(self, config: Mapping[str, Any]) -> dict[str, Any]:
        drawn: dict[str, Any] = {}
        for name, value in config.items():
            if isinstance(value, Mapping):
                drawn[name] = self._draw(value)
            else:
                drawn[name] = value.sample(random_state=self._rng) if isinstance(value, Domain) else value
        return drawn

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        if trial_id not in self._live:
            return
        chosen = self._live.pop(trial_id)
        whole = result is not None and not error and (self._iterations is None or result["training_iteration"] >= self._iterations)
        metrics = self._metrics(chosen, result) if whole and result else None
        self._history.append(("tell", [trial_id, metrics]))
        self._strategy.tell(chosen, metrics)

    def _metrics(self, chosen: Architecture, result: Mapping[str, Any]) -> dict[str, float] | None:
        values = {**self._space.cost(chosen)._asdict(), **{o.name: result[o.name] for o in self._objectives if o.name in result}}
        missing = [o.name for o in self._objectives if o.name not in values]
        if missing:
            raise InputError(f"no {missing[0]!r} in a report", "report every measured objective by its name", "tune.report")
        numbers = {o.name: float(values[o.name]) for o in self._objectives}
        return numbers if all(abs(number) < float("inf") for number in numbers.values()) else None

    def save(self, checkpoint_path: str) -> None:
        """What was asked and told, in order, as JSON: a strategy is made again from it, never pickled."""
        state = {"history": self._history, "live": list(self._live), "random": _numbers(self._rng.get_state())}
        with open(checkpoint_path, "w") as file:
            json.dump(state, file)

    def restore(self, checkpoint_path: str) -> None:
        with open(checkpoint_path) as file:
            state = json.load(file)
        strategy, seed = self._make
        self._strategy = create_strategy(strategy, self._space, self._objectives, seed)
        asked: dict[str, Architecture] = {}
        for what, value in state["history"]:
            if what == "ask":
                (asked[value],) = self._strategy.ask(1)
            elif what == "tell":
                self._strategy.tell(asked[value[0]], value[1])
        self._live = {trial_id: asked[trial_id] for trial_id in state["live"]}
        self._history = [(what, value) for what, value in state["history"]]
        kind, keys, *rest = state["random"]
        self._rng.set_state((kind, keys, *rest))


def _numbers(state: Any) -> list[Any]:
    kind, keys, position, has_gauss, cached = state
    return [kind, [int(key) for key in keys], int(position), int(has_gauss), float(cached)]
