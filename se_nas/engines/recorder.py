"""Puts finished trials on record: weights, then the ledger's line, then the plan, the front and the view."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING

from se_nas.engines.plan import Job, Plan
from se_nas.errors import InputError, TrialFailed
from se_nas.run.observer import Observer
from se_nas.run.run import Run
from se_nas.run.trial import Trial

if TYPE_CHECKING:
    from torch import Tensor


class Recorder:
    """The one way of a finished trial into a run, whatever engine ran it.

    Attributes:
        path: the run's directory.
        keep: which weights are kept: ``front``, ``all`` or ``none``.
        observer: the view.
    """

    def __init__(self, run: Run, plan: Plan, observer: Observer) -> None:
        self._run, self._plan, self.observer = run, plan, observer
        self._trials = run.trials
        self.path = run.path
        self.keep = run.config["search"]["keep_weights"]

    def started(self, job: Job) -> None:
        self.observer.trial_started(job.number, job.role, job.architecture, job.costs)

    def finished(self, trial: Trial, weights: Mapping[str, Tensor] | None = None) -> None:
        """Weights are on disk before the trial's line is in the ledger, and its line before anything else goes on.

        Raises:
            InputError: if the disk does not take them; what was finished before stays whole.
        """
        try:
            if weights and self.keep != "none":
                self._run.save_weights(trial.number, weights)
            self._run.ledger.append(trial)
        except OSError as error:
            fix = f"make room, then go on: se-nas resume {shlex.quote(str(self.path))}"
            raise InputError(f"trial {trial.number} cannot be written: {error.strerror or error}", fix, str(self._run.path)) from None
        self._trials.append(trial)
        self._plan.finished(trial)
        front = self._run.front_of(self._trials)
        if self.keep == "front":
            self._run.keep_weights({t.number for entry in (*front.front, *front.references.values()) for t in entry.trials})
        self.observer.trial_finished(trial, front)

    @property
    def reason(self) -> str:
        """How a search that has no more jobs has ended."""
        return "complete" if len(self._trials) >= self._run.config["search"]["trials"] else "exhausted"


def check_finite(metrics: Mapping[str, float]) -> None:
    """Raise `TrialFailed` for a metric that is no finite number."""
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise TrialFailed(f"{name} is {value}")
