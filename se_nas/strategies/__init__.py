"""Strategies decide which architecture to try next. Each has a name, and the methods ``ask`` and ``tell``.

A search loop of your own needs no more than this; it is stable:

    strategy = create_strategy("known-cost", space, [Objective("accuracy", "max"), Objective("params", "min", known=True)], seed=0)
    for architecture in strategy.ask(4):
        strategy.tell(architecture, {"accuracy": train(architecture)})

The space is a `SearchSpace`, or a `CategoricalSpace(dims, costs=...)`, whose architectures are mappings. ``ask(n)`` returns new
architectures within the budgets: fewer than n, and finally none, when no more are left. Tell None for a failed trial. If
one objective is measured, its value alone will do: ``strategy.tell(architecture, 0.91)``.

To search for one best architecture in place of a front, pass other objectives (`se_nas.goals.trade`):
`Trade("weighted", {"params": 3e5}).compared(objectives)` for the best accuracy x (params / 300,000) ^ -0.07, and
`Trade("constrained").compared(objectives)` for the best accuracy within the budgets of the known objectives.

The state of a strategy depends only on its arguments, on what it was told (in order), and on what is pending. It can be
pickled; or make a new one and tell it the same (`replay`), as runs do.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from se_nas.errors import InputError, known
from se_nas.goals.objective import Objective
from se_nas.run.trial import Trial
from se_nas.strategies.base import Strategy
from se_nas.strategies.exact import Exact
from se_nas.strategies.external import External
from se_nas.text import shown

__all__ = ["STRATEGIES", "Strategy", "create_strategy", "replay", "tell"]

STRATEGIES = {
    "random": "se_nas.strategies.random:RandomStrategy",
    "grid": "se_nas.strategies.grid:GridStrategy",
    "nsga2": "se_nas.strategies.nsga2:NSGA2Strategy",
    "evolution": "se_nas.strategies.evolution:EvolutionStrategy",
    "local-search": "se_nas.strategies.local_search:LocalSearchStrategy",
    "tpe": "se_nas.strategies.tpe:TPEStrategy",
    "known-cost": "se_nas.strategies.known_cost.strategy:KnownCostStrategy",
    "effects": "se_nas.strategies.effects:EffectsStrategy",
}
"""Name -> ``module:class``. The class is called with (space, objectives, seed) and the strategy's options."""


def create_strategy(name: str, space: Any, objectives: Sequence[Objective], seed: int = 0, **options: Any) -> Strategy:
    """Make the strategy with this name.

    Args:
        name: a name in `STRATEGIES`.
        space: a `SearchSpace`, a `CategoricalSpace`, or any object with ``dims`` (name -> values) and optionally ``costs``.
        objectives: what to optimise, one or more.
        seed: random seed. The same space, objectives, seed and results give the same proposals.
        options: options of the strategy, see its class.

    Raises:
        InputError: for an unknown name, objectives or options that do not fit, or a space that the strategy cannot search.
    """
    known(name, STRATEGIES, "strategy")
    module, _, cls = STRATEGIES[name].partition(":")
    make = getattr(importlib.import_module(module), cls)
    for option in options:
        if option not in make.OPTIONS:
            have = f"its options are {', '.join(make.OPTIONS)}" if make.OPTIONS else "it has none"
            raise InputError(f"strategy {name} has no option {shown(option)}", have, "strategy")
    strategy: Strategy = make(space, objectives, seed, **options)
    return strategy


def replay(strategy: Strategy | External | Exact, trials: Sequence[Trial]) -> bool:
    """Restore a strategy: tell a new one all trials of the ledger, in order.

    Args:
        strategy: newly made, with the run's arguments.
        trials: the ledger, in the order in which the trials ended.

    Returns:
        Whether the strategy repeats its proposals. Two are checked: the first and the last one that it made while no other
        trial was running. Under another version of a library they may differ; the search can go on all the same.
    """
    checks = {t.after: t.architecture for t in _checkable(trials)}
    same = True
    for number, trial in enumerate(trials):
        if number in checks:
            same &= strategy.ask(1) == [checks[number]]
            strategy.withdraw()
        tell(strategy, trial)
    return same


def _checkable(trials: Sequence[Trial]) -> list[Trial]:
    """The first and the last proposal made when all trials begun before it had ended."""
    numbers = [trial.number for trial in trials]
    alone = [t for t in trials if t.role == "proposal" and set(numbers[: t.after]) == set(range(t.number))]
    return alone[:1] + alone[1:][-1:]


def tell(strategy: Strategy | External | Exact, trial: Trial) -> None:
    """Tell a strategy the result of a finished trial, except for a copy (population based training): its training was not its own."""
    if trial.role == "copy":
        return
    strategy.tell(trial.architecture, trial.values if trial.complete else None)
