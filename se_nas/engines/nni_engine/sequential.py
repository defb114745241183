"""Runs trials in this process: NNI's sequential execution engine, with the plan's trials as its budget."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from functools import partial

import nni
import numpy as np
import torch
from nni.nas.execution import SequentialExecutionEngine

from se_nas.engines.nni_engine.search_state import SearchState
from se_nas.engines.nni_engine.space import Model
from se_nas.engines.outcome import evaluate_job
from se_nas.errors import TrialFailed
from se_nas.evaluate import Evaluator


class SequentialEngine(SequentialExecutionEngine):
    """Runs one trial after another on one device.

    A failed trial does not end the search. Any other error does, through `SearchState.fatal`.
    """

    def __init__(self, state: SearchState, evaluator: Evaluator, device: str) -> None:
        super().__init__(continue_on_failure=True)
        self._state, self._evaluator, self._device = state, evaluator, device

    def budget_available(self) -> bool:
        return self._state.more

    def execute(self, model: Model) -> None:
        """Try a model. NNI calls this."""
        try:
            self._try(model)
        except (TrialFailed, KeyboardInterrupt):
            raise
        except BaseException as error:
            self._state.fatal = error
            raise

    def _try(self, model: Model) -> None:
        state = self._state
        job = state.begin(model.job, model.architecture)
        if job is None:
            raise TrialFailed("no trial is left")
        with _generators_kept():
            outcome = evaluate_job(self._evaluator, job, self._device, partial(state.tell_epoch, job.number), f"nni:{self._device}")
        trial = outcome.trial(job)
        state.finish(trial, outcome.weights)
        if not trial.complete:
            raise TrialFailed(trial.error)
        nni.report_final_result(state.reward(trial.values))


@contextlib.contextmanager
def _generators_kept() -> Iterator[None]:
    """Restore the global random generators. Training seeds them, and NNI's RL would then draw the same after each trial."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
