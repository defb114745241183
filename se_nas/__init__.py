"""se-nas: where in a convolutional network do Squeeze-and-Excitation blocks pay, and with which settings?

Names are imported when they are first used, so that ``import se_nas`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from se_nas.api import export, resume, search
    from se_nas.architecture import Architecture, SEOptions, SESpec
    from se_nas.backbones import register_backbone
    from se_nas.blocks import register_block
    from se_nas.cost import Cost
    from se_nas.errors import InputError, TrialFailed
    from se_nas.evaluate import Evaluation
    from se_nas.objective import Objective
    from se_nas.observer import Observer
    from se_nas.run import Run
    from se_nas.se import SEBlock, register_gate, register_squeeze
    from se_nas.space import SearchSpace
    from se_nas.strategies import create_strategy
    from se_nas.trial import Trial

__version__ = "0.1.0"

_HOMES = {
    "Architecture": "architecture",
    "Cost": "cost",
    "Evaluation": "evaluate",
    "InputError": "errors",
    "Objective": "objective",
    "Observer": "observer",
    "Run": "run",
    "SEBlock": "se",
    "SEOptions": "architecture",
    "SESpec": "architecture",
    "SearchSpace": "space",
    "Trial": "trial",
    "TrialFailed": "errors",
    "create_strategy": "strategies",
    "export": "api",
    "register_backbone": "backbones",
    "register_block": "blocks",
    "register_gate": "se",
    "register_squeeze": "se",
    "resume": "api",
    "search": "api",
}

__all__ = [
    "Architecture",
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
    "Trial",
    "TrialFailed",
    "create_strategy",
    "export",
    "register_backbone",
    "register_block",
    "register_gate",
    "register_squeeze",
    "resume",
    "search",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'se_nas' has no attribute {name!r}")
    return getattr(importlib.import_module(f"se_nas.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
