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
        ledger = run.ledger.read()
        trials, confirmed = ([trial for trial in ledger if (trial.role == CONFIRM) is asked] for asked in (False, True))
        self._recorded, self._growing = len(trials), run.growing_front(trials)
        self.path = run.path
        self._policy = run.config["search"].get("keep_weights", "front")
        self.keep = plan.keep or self._policy
        self._kept = self._worth_keeping(self._growing.front)
        kept = self._kept if self._policy == "front" else {trial.number for trial in trials}
        with refused(self.path, "written"):  # a killed search may have left weights that it was about to record, or to remove
            run.keep_weights(kept | {trial.number for trial in confirmed})

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
        if trial.role != CONFIRM:
            self._recorded += 1
            self._growing.add(trial)
        self._plan.finished(trial)
        front = self._growing.front
        if self._policy == "front" and trial.role != CONFIRM:
            kept = self._worth_keeping(front)
            with refused(self.path, "written"):
                self._run.drop_weights((self._kept | {trial.number}) - kept)
            self._kept = kept
        self.observer.trial_finished(trial, front)

    @staticmethod
    def _worth_keeping(front: Front) -> set[int]:
        """Numbers of the trials whose weights ``keep_weights: front`` keeps."""
        return {trial.number for entry in (*front.front, *front.references.values()) for trial in entry.trials}

    @property
    def reason(self) -> str:
        """How a search without further jobs ended: ``complete`` or ``exhausted``."""
        return "complete" if self._recorded >= self._run.config["search"]["trials"] else "exhausted"
