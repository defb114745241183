"""SE blocks in your own Ray Tune experiment.

Example:
    >>> param_space = {"lr": tune.loguniform(1e-3, 1e-1), "se": param_space(space)}
    >>> model = build(space, config["se"])  # in the training function

`param_space` works with every search algorithm and scheduler of Tune. Those know no budgets, but `cost` takes no training:
let the training function report an architecture over budget at once. `SeSearcher` proposes nothing over budget.
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
from se_nas.text import shown

if TYPE_CHECKING:
    from torch import nn

    from se_nas.se.cost import Cost
    from se_nas.space.space import SearchSpace

__all__ = ["SeSearcher", "architecture", "build", "cost", "define_by_run", "param_space"]


def param_space(space: SearchSpace) -> dict[str, Categorical]:
    """A param_space for Tune: one ``tune.choice`` for each dimension of the space."""
    return {name: tune.choice(list(values)) for name, values in space.dimensions.items()}


def define_by_run(space: SearchSpace, trial: Any, key: str = "se") -> None:
    """Suggest an architecture in the ``space`` function of Tune's `OptunaSearch`.

    If a group's reduction is None (no SE block), its other dimensions are not suggested.

    Args:
        space: the search space.
        trial: an `optuna.Trial`.
        key: key of the config that holds the choices.
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
    """The architecture of ``config["se"]``. Choices that build the same network give equal architectures."""
    return space.from_dimensions(choices)


def cost(space: SearchSpace, choices: Mapping[str, Any]) -> Cost:
    """Exact parameters and MACs of ``config["se"]``. No network is built."""
    return space.cost(architecture(space, choices))


def build(space: SearchSpace, choices: Mapping[str, Any]) -> nn.Module:
    """A new network with the SE blocks of ``config["se"]``."""
    return space.build(architecture(space, choices))


class SeSearcher(Searcher):
    """One of our strategies as Tune's ``search_alg``: several objectives, nothing over budget, nothing twice.

    Each report must hold the measured objectives by name; known ones (``params``, ``macs``) are filled in. Everything else in
    the ``param_space`` is drawn at random. Limit the parallel trials with ``TuneConfig(max_concurrent_trials=...)``.

    Args:
        space: the search space with its budgets.
        objectives: as on the command line, ``["accuracy", "params"]`` or ``["max:f1"]``.
        strategy: a name in `se_nas.strategies.STRATEGIES`.
        seed: of the strategy and of random draws.
        key: key of the config that holds the choices.
        iterations: ``training_iteration`` of a whole trial. If a scheduler stops a trial before that, its result is not
            used. None uses every result.

    Raises:
        InputError: for unknown names, or a metric in ``TuneConfig``: the search would then have that one objective.
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
            raise InputError(f"metric {shown(metric)} would make this a search of one objective", fix, "TuneConfig")
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
            raise InputError(f"no {shown(missing[0])} in a report", "report every measured objective by its name", "tune.report")
        numbers = {o.name: float(values[o.name]) for o in self._objectives}
        return numbers if all(abs(number) < float("inf") for number in numbers.values()) else None

    def save(self, checkpoint_path: str) -> None:
        """Write what was asked and told, in order, as JSON. The strategy is replayed from it; nothing is pickled."""
        state = {"history": self._history, "live": list(self._live), "random": _numbers(self._rng.get_state())}
        with open(checkpoint_path, "w") as file:
            json.dump(state, file)

    def restore(self, checkpoint_path: str) -> None:
        """Make the strategy again, and replay what was asked and told."""
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
