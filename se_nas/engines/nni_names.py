"""Which strategies are NNI's own, and how they are told from ours of the same name. Needs neither NNI nor torch."""

from __future__ import annotations

from se_nas.errors import InputError, known
from se_nas.oneshot import ONE_SHOT
from se_nas.strategies import STRATEGIES
from se_nas.strategies.elsewhere import PREFIX, is_elsewhere

OURS = "se-nas:"
"""Before the name of a strategy: it is ours, whatever the engine."""

OWN = ("random", "grid", "evolution", "tpe", "rl", *ONE_SHOT)
"""NNI's own strategies, by the names that a person gives."""


def full_name(strategy: str, engine: str) -> str:
    """The name under which a run keeps its strategy: ``random`` for ours, ``nni:random`` for NNI's.

    With the engine ``nni``, a name that NNI's own and ours share means NNI's.
    """
    if strategy.startswith(OURS):
        return strategy.removeprefix(OURS)
    return f"{PREFIX}{strategy}" if engine == "nni" and strategy in OWN else strategy


def check_name(strategy: str, engine: str) -> None:
    """Raise `InputError` unless the strategy can run on the engine; ``strategy`` is a full name."""
    if not is_elsewhere(strategy):
        if engine == "nni" and strategy not in STRATEGIES:
            known(strategy, (*OWN, *(name if name not in OWN else OURS + name for name in STRATEGIES)), "strategy")
        return
    if engine != "nni":
        raise InputError(f"NNI proposes for {strategy}, and the engine is {engine}", "take --engine nni", "engine")
    known(strategy, [PREFIX + name for name in OWN], "strategy")
