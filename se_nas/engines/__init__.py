"""Engines: where trials run. An engine takes jobs from a `Plan` and records finished trials in the run's ledger.

All state is in the ledger, so a run begun on one engine can be resumed on any other.
"""

from __future__ import annotations

import importlib
from typing import Protocol

from se_nas.engines.nni_names import check_name
from se_nas.engines.plan import Plan
from se_nas.errors import known
from se_nas.evaluate import Evaluator
from se_nas.run.observer import Observer
from se_nas.run.run import Run
from se_nas.run.settings import SearchSettings


class Engine(Protocol):
    """Runs a plan. It is made by name and called once."""

    def __call__(self, run: Run, plan: Plan, observer: Observer) -> str:
        """Run jobs until the plan has no more. Each finished trial is in the ledger before the plan hears of it.

        Returns:
            ``complete``, or ``exhausted`` if the strategy had nothing left to propose.
        """
        ...


ENGINES = {
    "local": "se_nas.engines.local:LocalEngine",
    "ray": "se_nas.engines.ray_tune:RayEngine",
    "nni": "se_nas.engines.nni_engine:NNIEngine",
    "outside": "se_nas.engines.outside:OutsideEngine",
}
"""Name -> ``module:class``. The class takes (evaluator, settings); its module is imported only when it is used."""


def create_engine(evaluator: Evaluator, settings: SearchSettings) -> Engine:
    """Make the engine that the settings name. Nothing is started or written yet.

    Raises:
        InputError: for an unknown name, a missing extra, or settings that the engine cannot follow.
    """
    known(settings.engine, ENGINES, "engine")
    check_name(settings.strategy, settings.engine)
    module, _, cls = ENGINES[settings.engine].partition(":")
    engine: Engine = getattr(importlib.import_module(module), cls)(evaluator, settings)
    return engine
