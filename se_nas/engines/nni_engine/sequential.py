"""Trials in this process: NNI's sequential execution engine, its budget being the plan's."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import nni
import numpy as np
import torch
from nni.nas.execution import SequentialExecutionEngine

from se_nas.engines.attempt import attempt
from se_nas.engines.nni_engine.desk import Desk
from se_nas.engines.nni_engine.space import Model
from se_nas.errors import TrialFailed
from se_nas.evaluate import Evaluator


class Sequential(SequentialExecutionEngine):
    """One trial after another, on one device.

    A failed trial does not end the search; what is no trial's fault does (`Desk.fatal`).
    """

    def __init__(self, desk: Desk, evaluator: Evaluator, device: str) -> None:
        super().__init__(continue_on_failure=True)
        self._desk, self._evaluator, self._device = desk, evaluator, device

    def budget_available(self) -> bool:
        return self._desk.more

    def execute(self, model: Model) -> None:
        """What NNI calls to try a model."""
        try:
            self._try(model)
        except (TrialFailed, KeyboardInterrupt):
            raise
        except BaseException as error:
            self._desk.fatal = error
            raise

    def _try(self, model: Model) -> None:
        desk = self._desk
        job = desk.begin(model.job, model.architecture)
        if job is None:
            raise TrialFailed("no trial is left")
        with _generators_kept():
            trial, evaluation = attempt(self._evaluator, job, self._device, desk.tell_epoch, f"nni:{self._device}")
        desk.finish(trial, evaluation.weights if evaluation else None)
        if not trial.complete:
            raise TrialFailed(trial.error)
        nni.report_final_result(desk.reward(trial.values))


@contextlib.contextmanager
def _generators_kept() -> Iterator[None]:
    """Training seeds the global generators; NNI's RL draws from them, and would draw the same after each trial."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
