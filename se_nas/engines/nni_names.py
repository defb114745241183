"""Names of NNI's own strategies, and how to tell them from ours of the same name. Loads neither NNI nor torch."""

from __future__ import annotations

from se_nas.errors import InputError, known
from se_nas.oneshot import ONE_SHOT
from se_nas.strategies import STRATEGIES
from se_nas.strategies.external import PREFIX, is_external

OURS = "se-nas:"
"""Prefix that always means our strategy: ``se-nas:random`` is ours on any engine."""

OWN = ("random", "grid", "evolution", "tpe", "rl", *ONE_SHOT)
"""NNI's own strategies, by the names that users give."""


def full_name(strategy: str, engine: str) -> str:
    """The name that a run stores: ``random`` for ours, ``nni:random`` for NNI's.

    On the engine ``nni``, a name that both have means NNI's.
    """
    if strategy.startswith(OURS):
        return strategy.removeprefix(OURS)
    return f"{PREFIX}{strategy}" if engine == "nni" and strategy in OWN else strategy


def check_name(strategy: str, engine: str) -> None:
    """Raise `InputError` unless the strategy can run on the engine; ``strategy`` is a full name."""
    if not is_external(strategy):
        if engine == "nni" and strategy not in STRATEGIES:
            known(strategy, (*OWN, *(name if name not in OWN else OURS + name for name in STRATEGIES)), "strategy")
        return
    if engine != "nni":
        raise InputError(f"{strategy} is NNI's own strategy, and the engine is {engine}", "take --engine nni", "engine")
    known(strategy, [PREFIX + name for name in OWN], "strategy")
