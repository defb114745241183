"""Where NNI meets the search: what it submits becomes jobs of the plan, and what comes of them goes into the ledger."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from se_nas.engines.nni_engine.reward import OneNumber
from se_nas.engines.plan import Job, Plan
from se_nas.engines.recorder import Recorder
from se_nas.goals.objective import Objective
from se_nas.run.trial import Trial
from se_nas.space.architecture import Architecture

if TYPE_CHECKING:
    from torch import Tensor


class Desk:
    """The search's side of an NNI experiment. NNI's threads may use it as well as the search's own.

    Args:
        plan: numbers the jobs, and proposes them if the strategy is ours.
        recorder: takes what is finished.
        objectives: what for.
        trials: the ledger so far.

    Attributes:
        space: what is searched.
        known: of each architecture tried, its first trial.
        running: what is being tried.
        fatal: what ends the search.
    """

    def __init__(self, plan: Plan, recorder: Recorder, objectives: Sequence[Objective], trials: Sequence[Trial]) -> None:
        self.plan, self.recorder, self.space = plan, recorder, plan.space
        self._objectives = objectives
        self._lock = threading.RLock()
        self._plain: Mapping[str, float] = plan.space.plain_cost._asdict()
        self.known: dict[Architecture, Trial] = {}
        self.running: list[Architecture] = []
        self.fatal: BaseException | None = None
        for trial in trials:
            self._learn(trial)

    @property
    def reward(self) -> OneNumber:
        """What NNI maximises, once the plain reference has been tried."""
        return OneNumber(self._objectives, self._plain, self.plan.trade)

    @property
    def more(self) -> bool:
        """Whether there are trials left to begin."""
        return self.fatal is None and self.plan.left > 0

    def next(self, proposed: Architecture | None = None) -> Job | None:
        """The next job of the plan, of an architecture proposed elsewhere if there is one."""
        with self._lock:
            return self.plan.next(proposed)

    def begin(self, job: Job | None, architecture: Architecture) -> Job | None:
        """Put a job on record as begun; without one, the plan makes it, or None if no trial is left."""
        with self._lock:
            job = job or self.plan.next(architecture)
            if job:
                self.running.append(architecture)
                self.recorder.started(job)
            return job

    def finish(self, trial: Trial, weights: Mapping[str, Tensor] | None = None) -> None:
        """Put a trial on record."""
        with self._lock:
            self.recorder.finished(trial, weights)
            self.running.remove(trial.architecture)
            self._learn(trial)

    def tell_epoch(self, number: int, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """Pass on how far a trial is."""
        with self._lock:
            self.recorder.observer.epoch_finished(number, epoch, epochs, metrics)

    def wait(self) -> None:
        """Until nothing is running any more."""
        while self.running and self.fatal is None:
            time.sleep(0.05)

    def _learn(self, trial: Trial) -> None:
        if trial.role == "copy" or trial.stopped:
            return
        self.known.setdefault(trial.architecture, trial)
        if trial.role == "plain" and trial.complete and self.known[trial.architecture] is trial:
            self._plain = trial.values
