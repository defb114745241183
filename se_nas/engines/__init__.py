"""Engines: where trials run. Each takes jobs from a `Plan` and fills the run's ledger.

The ledger is the truth: an engine keeps nothing that is needed to go on, so that a run begun on one is finished on any other.
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
    """Runs a plan; made by name, called once."""

    def __call__(self, run: Run, plan: Plan, observer: Observer) -> str:
        """Run the plan's jobs until none is left; each finished trial is in the ledger before the plan is told of it.

        Returns:
            ``complete``, or ``exhausted`` if the strategy had nothing left to propose.
        """
        ...


ENGINES = {
    "local": "se_nas.engines.local:LocalEngine",
    "ray": "se_nas.engines.ray_tune:RayEngine",
    "nni": "se_nas.engines.nni_engine:NNIEngine",
}
"""Name -> class, called with (evaluator, settings)."""


def create_engine(evaluator: Evaluator, settings: SearchSettings) -> Engine:
    """The engine of the settings.

    Raises:
        InputError: for an unknown name, a missing extra, or settings that the engine cannot follow; nothing has begun then.
    """
    known(settings.engine, ENGINES, "engine")
    check_name(settings.strategy, settings.engine)
    module, _, cls = ENGINES[settings.engine].partition(":")
    engine: Engine = getattr(importlib.import_module(module), cls)(evaluator, settings)
    return engine
