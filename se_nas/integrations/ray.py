"""SE blocks in your own Ray Tune experiment.

Example:
    >>> param_space = {"lr": tune.loguniform(1e-3, 1e-1), "se": param_space(space)}
    >>> model = build(space, config["se"])  # in the training function

`param_space` works with every search algorithm of Tune, and with every scheduler but this: population based training (and PB2)
may mutate ``lr`` and its like, never ``se``. A trial that it exploits goes on from another trial's checkpoint, and the weights of
one architecture do not fit another. Leave ``se`` out of ``hyperparam_mutations``; the copy then has the architecture of the trial
that it copies.

Tune's own search algorithms know no budgets. `SeSearcher` proposes nothing over budget, and `se_nas.integrations.shortlist` gives
any other one a list of architectures within them.

Operators, backbones and block classes that were registered in the driver go to the workers along with the space.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ray import cloudpickle, tune
from ray.tune.search import Searcher
from ray.tune.search.sample import Categorical
from ray.tune.search.variant_generator import generate_variants, parse_spec_vars

from se_nas.errors import InputError
from se_nas.goals.objective import is_number, parse_objectives
from se_nas.integrations.proposals import suggest_values
from se_nas.space.architecture import Architecture
from se_nas.space.choices import plain_scalar
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
    """Suggest an architecture in the ``space`` function of Tune's `OptunaSearch`, within the budgets.

    If a group's reduction is None (no SE block), its other dimensions are not suggested.

    Args:
        space: the search space with its budgets.
        trial: an `optuna.Trial`.
        key: key of the config that holds the choices.
    """
    suggest_values(trial, space, f"{key}/")


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
    the ``param_space`` is drawn at random: domains at any depth, and functions (``tune.sample_from``), which see the choices
    too. Limit the parallel trials with ``TuneConfig(max_concurrent_trials=...)`` or Tune's ``ConcurrencyLimiter``. An
    experiment that was killed goes on with ``Tuner.restore(path, trainable=train).fit()``.

    Args:
        space: the search space with its budgets.
        objectives: as on the command line, ``["accuracy", "params"]`` or ``["max:f1"]``.
        strategy: a name in `se_nas.strategies.STRATEGIES`.
        seed: of the strategy and of random draws.
        key: key of the config that holds the choices.
        iterations: ``training_iteration`` of a whole trial. If a scheduler stops a trial before that, its result is not
            used. None uses every result.
        repeats: trials of each architecture, one after another, with the same config but ``config["seed"]``, which is
            ``seed``, ``seed + 1``, ... The strategy learns from their mean. (Tune's ``Repeater`` hands on one metric only; it
            works where one objective is measured.)

    Raises:
        InputError: for unknown names, a ``grid_search`` in the ``param_space``, or a metric in ``TuneConfig``: the search would
            then have that one objective.
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: Sequence[str] = ("accuracy", "params"),
        strategy: str = "nsga2",
        seed: int = 0,
        key: str = "se",
        iterations: int | None = None,
        repeats: int = 1,
    ) -> None:
        import numpy as np

        if type(repeats) is not int or repeats < 1:
            raise InputError(f"{repeats!r} is not a number of trials", "take 1 or more", "repeats")
        self._objectives = parse_objectives(objectives, space.units)
        measured = [o for o in self._objectives if not o.known]
        only = measured[0] if len(measured) == 1 else None  # a Repeater asks for it
        super().__init__(metric=only.name if only else None, mode=only.direction if only else None)
        self._space, self._key, self._iterations, self._repeats = space, key, iterations, repeats
        self._make = (strategy, seed)
        self._strategy = create_strategy(strategy, space, self._objectives, seed)
        self._rng = np.random.RandomState(seed)
        self._others: dict[str, Any] = {}
        self._asked: dict[str, Architecture] = {}
        self._live: set[str] = set()
        self._history: list[tuple[str, str, Any]] = []
        self._group: tuple[str, dict[str, Any], int] = ("", {}, 0)  # its first trial, the config of all, trials left

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        if metric or mode:
            fix = "leave metric and mode out of TuneConfig; SeSearcher has the objectives"
            raise InputError(f"metric {shown(metric)} would make this a search of one objective", fix, "TuneConfig")
        self._others = {name: value for name, value in config.items() if name != self._key}
        _, _, grids = parse_spec_vars({"config": self._others})
        for path, grid in grids:
            name, values = ".".join(map(str, path[1:])), list(grid.categories)
            raise InputError("no search_alg of Tune runs a grid_search", f"take tune.choice({values})", f"param_space, {name}")
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        first, config, left = self._group
        if left:
            self._history.append(("again", trial_id, first))
            self._asked[trial_id] = self._asked[first]
        else:
            asked = self._strategy.ask(1)
            if not asked:
                return str(Searcher.FINISHED)
            self._history.append(("ask", trial_id, None))
            self._asked[trial_id] = asked[0]
            first, config, left = trial_id, self._draw(self._space.to_dimensions(asked[0])), self._repeats
        self._group = (first, config, left - 1)
        self._live.add(trial_id)
        seed = {"seed": self._make[1] + self._repeats - left} if self._repeats > 1 else {}
        return {**copy.deepcopy(config), **seed}

    def _draw(self, choices: Mapping[str, Any]) -> dict[str, Any]:
        """A config with these choices, and all else of the ``param_space`` drawn by Tune itself."""
        _, spec = next(generate_variants({"config": {**self._others, self._key: choices}}, random_state=self._rng))
        drawn: dict[str, Any] = spec["config"]
        return drawn

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        if trial_id not in self._live:
            return
        asked = self._asked[trial_id]
        whole = result and not error and (self._iterations is None or result.get("training_iteration", 0) >= self._iterations)
        if whole and result and (choices := result.get("config", {}).get(self._key)):
            whole = self._space.from_dimensions(choices) == asked  # else population based training has put another one there
        metrics = self._metrics(asked, result) if whole and result else None
        if not error:
            self._live.discard(trial_id)  # a trial with an error may be run again, by Tuner.restore(..., restart_errored=True)
        self._history.append(("tell", trial_id, metrics))
        self._strategy.tell(asked, metrics)

    def _metrics(self, chosen: Architecture, result: Mapping[str, Any]) -> dict[str, float] | None:
        known, numbers = self._space.cost(chosen)._asdict(), {}
        for objective in self._objectives:
            name = objective.name
            value = plain_scalar(result.get(name, known.get(name)))
            if value is None and set(result) == {None}:
                measured = " and ".join(o.name for o in self._objectives if not o.known)
                fix = f"leave it out, and take SeSearcher(..., repeats={max(2, self._repeats)})"
                raise InputError(f"Tune's Repeater hands on one metric, and this search measures {measured}", fix, "Repeater")
            if value is None:
                raise InputError(f"no {shown(name)} in a report", "report every measured objective by its name", "tune.report")
            if not is_number(value):
                raise InputError(f"{name} is {shown(value)}, not a number", "report a number", "tune.report")
            numbers[name] = float(value)
        return numbers if all(map(math.isfinite, numbers.values())) else None

    def save(self, checkpoint_path: str) -> None:
        """Write what was asked and told, in order, and what else there is to draw. The strategy itself is replayed."""
        state = {"history": self._history, "group": self._group, "others": self._others, "random": self._rng.get_state()}
        with open(checkpoint_path, "wb") as file:
            cloudpickle.dump(state, file)

    def restore(self, checkpoint_path: str) -> None:
        """Make the strategy again, and replay what was asked and told.

        Tune gives a restored searcher no ``param_space``, unless ``Tuner.restore`` was given one: then that is used.
        """
        with open(checkpoint_path, "rb") as file:
            state = cloudpickle.load(file)
        name, seed = self._make
        self._strategy = create_strategy(name, self._space, self._objectives, seed)
        self._asked, self._live = {}, set()
        for what, trial_id, value in state["history"]:
            if what == "tell":
                self._strategy.tell(self._asked[trial_id], value)
                self._live -= {trial_id} if value is not None else set()
            else:
                self._asked[trial_id] = self._asked[value] if what == "again" else self._strategy.ask(1)[0]
                self._live.add(trial_id)
        self._history, self._group, self._others = state["history"], state["group"], self._others or state["others"]
        self._rng.set_state(state["random"])
