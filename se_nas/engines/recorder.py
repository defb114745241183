"""Records finished trials: saves the weights, appends to the ledger, then tells the plan and the observer."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING

from se_nas.engines.plan import Job, Plan
from se_nas.errors import InputError
from se_nas.files import refused
from se_nas.run.front import Front
from se_nas.run.observer import Observer
from se_nas.run.run import Run
from se_nas.run.trial import CONFIRM, Trial

if TYPE_CHECKING:
    from torch import Tensor


class Recorder:
    """Every engine records its trials through this.

    Attributes:
        path: the run's directory.
        keep: which weights the engine shall give: ``front``, ``all`` or ``none``.
        observer: is told of each start and end.
    """

    def __init__(self, run: Run, plan: Plan, observer: Observer) -> None:
        self._run, self._plan, self.observer = run, plan, observer
        self._trials = run.trials
        self._confirmed = {trial.number for trial in run.confirmed}
        self.path = run.path
        self._policy = run.config["search"].get("keep_weights", "front")
        self.keep = plan.keep or self._policy
        self._keep_weights(run.front_of(self._trials))

    def started(self, job: Job) -> None:
        """Tell the observer that a job has begun."""
        self.observer.trial_started(job.number, job.role, job.architecture, job.costs)

    def finished(self, trial: Trial, weights: Mapping[str, Tensor] | None = None) -> None:
        """Record a trial. Weights reach the disk before the ledger's line does, and the line before anything else happens.

        Raises:
            InputError: if the disk takes no more. What was recorded before stays whole.
        """
        trial = self._plan.scored(trial, weights)
        try:
            if weights and self._policy != "none":
                self._run.save_weights(trial.number, weights)
            self._run.ledger.append(trial)
        except OSError as error:
            fix = f"make room, then go on: se-nas resume {shlex.quote(str(self.path))}"
            raise InputError(f"trial {trial.number} cannot be written: {error.strerror or error}", fix, str(self._run.path)) from None
        if trial.role == CONFIRM:
            self._confirmed.add(trial.number)
        else:
            self._trials.append(trial)
        self._plan.finished(trial)
        front = self._run.front_of(self._trials)
        self._keep_weights(front)
        self.observer.trial_finished(trial, front)

    def _keep_weights(self, front: Front) -> None:
        """Remove the weights of trials that need not be kept, and at the start those that a killed search was about to record."""
        if self._policy == "front":
            kept = {trial.number for entry in (*front.front, *front.references.values()) for trial in entry.trials}
        else:
            kept = {trial.number for trial in self._trials}
        with refused(self.path, "written"):
            self._run.keep_weights(kept | self._confirmed)

    @property
    def reason(self) -> str:
        """How a search without further jobs ended: ``complete`` or ``exhausted``."""
        return "complete" if len(self._trials) >= self._run.config["search"]["trials"] else "exhausted"
