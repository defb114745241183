"""Strategies: what to try next. Each is one file, made by name, and speaks ask and tell.

A strategy's state comes from its arguments and from what it was asked and told, in that order, and from nothing else:
it is rebuilt from the ledger (`replay`), never pickled.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from se_nas.architecture import Architecture
from se_nas.errors import known
from se_nas.objective import Objective
from se_nas.space import SearchSpace
from se_nas.trial import Trial


class Strategy(Protocol):
    """Proposes architectures and learns what came of them."""

    def ask(self, n: int) -> list[Architecture]:
        """Up to n architectures, all within the budgets and never asked or told before; fewer if no more are left."""
        ...

    def tell(self, architecture: Architecture, metrics: Mapping[str, float] | None) -> None:
        """Metrics and costs of an architecture, asked for or not (references, warm starts); None for a failed trial."""
        ...


STRATEGIES = {
    "random": "se_nas.strategies.random:RandomStrategy",
    "grid": "se_nas.strategies.grid:GridStrategy",
    "nsga2": "se_nas.strategies.nsga2:NSGA2Strategy",
}
"""Name -> class, called with (space, objectives, seed)."""


def create_strategy(name: str, space: SearchSpace, objectives: Sequence[Objective], seed: int = 0) -> Strategy:
    """A strategy by name.

    Args:
        name: one of `STRATEGIES`.
        space: what it searches.
        objectives: what it makes better.
        seed: same space, objectives, seed and answers: same proposals.

    Raises:
        InputError: for an unknown name, or a space that the strategy cannot search.
    """
    known(name, STRATEGIES, "strategy")
    module, _, cls = STRATEGIES[name].partition(":")
    strategy: Strategy = getattr(importlib.import_module(module), cls)(space, objectives, seed)
    return strategy


def ask_one(strategy: Strategy, taken: Collection[Architecture] = ()) -> Architecture | None:
    """The next proposal but for those ``taken`` by others, of which the strategy may not have been told yet; None if none is left."""
    while asked := strategy.ask(1):
        if asked[0] not in taken:
            return asked[0]
    return None


def replay(strategy: Strategy, trials: Sequence[Trial], taken: Collection[Architecture] = ()) -> bool:
    """Bring a new strategy to where it was: ask and tell in the ledger's order.

    Args:
        strategy: newly made, with the run's arguments.
        trials: the ledger, in the order in which the trials ended.
        taken: as in `ask_one`.

    Returns:
        Whether it proposed just what the ledger holds (it may not under another version of its library; the search
        can go on all the same).
    """
    told, same = 0, True
    for trial in sorted((t for t in trials if t.role == "proposal"), key=lambda t: t.number):
        for earlier in trials[told : trial.after]:
            tell(strategy, earlier)
        told = max(told, trial.after)
        same &= ask_one(strategy, taken) == trial.architecture
    for rest in trials[told:]:
        tell(strategy, rest)
    return same


def tell(strategy: Strategy, trial: Trial) -> None:
    """Tell a strategy of a finished trial; a copy (population based training) is no architecture's own result."""
    if trial.role == "copy":
        return
    strategy.tell(trial.architecture, trial.values if trial.complete else None)
