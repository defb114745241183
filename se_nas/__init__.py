"""se-nas: where in a convolutional network do Squeeze-and-Excitation blocks pay, and with which settings?

Names are imported when they are first used, so that ``import se_nas`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from se_nas.api import export, export_trial, new, resume, search
    from se_nas.backbones import register_backbone
    from se_nas.engines.outside import ask, tell
    from se_nas.errors import InputError, TrialFailed
    from se_nas.evaluate import Evaluation
    from se_nas.evaluate.excitation import explain
    from se_nas.goals.objective import Objective
    from se_nas.goals.trade import Trade
    from se_nas.network.blocks import register_block
    from se_nas.profiling.profile import profile
    from se_nas.run.observer import Observer
    from se_nas.run.run import Run
    from se_nas.run.trial import Trial
    from se_nas.se.block import SEBlock, register_gate, register_squeeze
    from se_nas.se.cost import Cost
    from se_nas.se.spec import SEOptions, SESpec
    from se_nas.space.architecture import Architecture
    from se_nas.space.categorical import CategoricalSpace
    from se_nas.space.space import SearchSpace
    from se_nas.strategies import create_strategy

__version__ = "0.1.0"

_HOMES = {
    "Architecture": "space.architecture",
    "CategoricalSpace": "space.categorical",
    "Cost": "se.cost",
    "Evaluation": "evaluate",
    "InputError": "errors",
    "Objective": "goals.objective",
    "Observer": "run.observer",
    "Run": "run.run",
    "SEBlock": "se.block",
    "SEOptions": "se.spec",
    "SESpec": "se.spec",
    "SearchSpace": "space.space",
    "Trade": "goals.trade",
    "Trial": "run.trial",
    "TrialFailed": "errors",
    "ask": "engines.outside",
    "confirm": "trust",
    "create_strategy": "strategies",
    "explain": "evaluate.excitation",
    "export": "api",
    "export_trial": "api",
    "new": "api",
    "profile": "profiling.profile",
    "register_backbone": "backbones",
    "register_block": "network.blocks",
    "register_gate": "se.block",
    "register_squeeze": "se.block",
    "resume": "api",
    "search": "api",
    "tell": "engines.outside",
}
"""Public name -> where it lives. These names are what se-nas promises to keep; where they live may change."""

__all__ = [
    "Architecture",
    "CategoricalSpace",
    "Cost",
    "Evaluation",
    "InputError",
    "Objective",
    "Observer",
    "Run",
    "SEBlock",
    "SEOptions",
    "SESpec",
    "SearchSpace",
    "Trade",
    "Trial",
    "TrialFailed",
    "ask",
    "confirm",
    "create_strategy",
    "explain",
    "export",
    "export_trial",
    "new",
    "profile",
    "register_backbone",
    "register_block",
    "register_gate",
    "register_squeeze",
    "resume",
    "search",
    "tell",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'se_nas' has no attribute {name!r}")
    return getattr(importlib.import_module(f"se_nas.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
