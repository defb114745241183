"""Strategies: what to try next. Each is one file, made by name, and speaks ask and tell.

This is all that a loop of one's own needs; it is stable:

    strategy = create_strategy("known-cost", space, [Objective("accuracy", "max"), Objective("params", "min", known=True)], seed=0)
    for architecture in strategy.ask(4):
        strategy.tell(architecture, {"accuracy": train(architecture)})

The space is a `SearchSpace`, or `CategoricalSpace(dims, costs=...)`, whose architectures read as mappings. What is asked
is within the budgets, new, and fewer than n (at last none) where no more are left. A failed trial is told with None.
In place of a front, `Trade("weighted", {"params": 3e5}).compared(objectives)` asks for the best accuracy x (params / 300,000) ^ -0.07,
and `Trade("constrained").compared(objectives)` for the best accuracy within the known objectives' budgets (`se_nas.goals.trade`).
A strategy's state comes from its arguments and from what it was told, in that order, and what is pending: it is rebuilt
by telling a new one the same (`replay`), never pickled.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from se_nas.errors import InputError, known
from se_nas.goals.objective import Objective
from se_nas.run.trial import Trial
from se_nas.strategies.base import Strategy
from se_nas.strategies.elsewhere import Elsewhere

__all__ = ["STRATEGIES", "Strategy", "create_strategy", "replay", "tell"]

STRATEGIES = {
    "random": "se_nas.strategies.random:RandomStrategy",
    "grid": "se_nas.strategies.grid:GridStrategy",
    "nsga2": "se_nas.strategies.nsga2:NSGA2Strategy",
    "evolution": "se_nas.strategies.evolution:EvolutionStrategy",
    "local-search": "se_nas.strategies.local_search:LocalSearchStrategy",
    "tpe": "se_nas.strategies.tpe:TPEStrategy",
    "known-cost": "se_nas.strategies.known_cost.strategy:KnownCostStrategy",
}
"""Name -> class, called with (space, objectives, seed)."""


def create_strategy(name: str, space: Any, objectives: Sequence[Objective], seed: int = 0, **options: Any) -> Strategy:
    """A strategy by name.

    Args:
        name: one of `STRATEGIES`.
        space: what it searches: a `SearchSpace`, a `CategoricalSpace`, or anything with named ``dims`` and, if it has
            them, ``costs``.
        objectives: what it makes better, one or more.
        seed: same space, objectives, seed and answers: same proposals.
        options: the strategy's own, see its class.

    Raises:
        InputError: for an unknown name, objectives or options that do not fit, or a space that the strategy cannot search.
    """
    known(name, STRATEGIES, "strategy")
    module, _, cls = STRATEGIES[name].partition(":")
    make = getattr(importlib.import_module(module), cls)
    for option in options:
        if option not in make.OPTIONS:
            have = f"its options are {', '.join(make.OPTIONS)}" if make.OPTIONS else "it has none"
            raise InputError(f"strategy {name} has no option {option!r}", have, "strategy")
    strategy: Strategy = make(space, objectives, seed, **options)
    return strategy


def replay(strategy: Strategy | Elsewhere, trials: Sequence[Trial]) -> bool:
    """Bring a new strategy to where it was: tell it the ledger, in its order.

    Args:
        strategy: newly made, with the run's arguments.
        trials: the ledger, in the order in which the trials ended.

    Returns:
        Whether it proposes again the first and the last that the ledger holds of it, of those asked for while no other trial
        was running (it may not under another version of a library; the search can go on all the same).
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
    """The first and the last proposal that was asked for when all trials begun before it had ended, and no others."""
    numbers = [trial.number for trial in trials]
    alone = [t for t in trials if t.role == "proposal" and set(numbers[: t.after]) == set(range(t.number))]
    return alone[:1] + alone[1:][-1:]


def tell(strategy: Strategy | Elsewhere, trial: Trial) -> None:
    """Tell a strategy of a finished trial; a copy (population based training) is no architecture's own result."""
    if trial.role == "copy":
        return
    strategy.tell(trial.architecture, trial.values if trial.complete else None)
