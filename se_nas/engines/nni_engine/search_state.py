"""What NNI's strategies and execution engines share about a search: the plan, the ledger, and what is running."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from se_nas.engines.nni_engine.reward import Reward
from se_nas.engines.plan import Job, Plan
from se_nas.engines.recorder import Recorder
from se_nas.goals.objective import Objective
from se_nas.run.trial import Trial
from se_nas.space.architecture import Architecture

if TYPE_CHECKING:
    from torch import Tensor


class SearchState:
    """The state of a search through NNI. It is safe to use from several threads; NNI has its own.

    Args:
        plan: numbers the jobs, and proposes them if the strategy is ours.
        recorder: records finished trials.
        objectives: of the search.
        trials: the ledger so far.

    Attributes:
        space: the search space.
        known: architecture -> its first trial.
        running: architectures being tried.
        fatal: the error that ends the search; None while it goes on.
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
    def reward(self) -> Reward:
        """What NNI maximises. It is final once the plain reference has been tried."""
        return Reward(self._objectives, self._plain, self.plan.trade)

    @property
    def more(self) -> bool:
        """Whether another trial may begin."""
        return self.fatal is None and self.plan.left > 0

    def next(self, proposed: Architecture | None = None) -> Job | None:
        """The plan's next job, see `Plan.next`."""
        with self._lock:
            return self.plan.next(proposed)

    def begin(self, job: Job | None, architecture: Architecture) -> Job | None:
        """Announce that a job begins. Without a job, the plan makes one; None if no trial is left."""
        with self._lock:
            job = job or self.plan.next(architecture)
            if job:
                self.running.append(architecture)
                self.recorder.started(job)
            return job

    def finish(self, trial: Trial, weights: Mapping[str, Tensor] | None = None) -> None:
        """Record a finished trial."""
        with self._lock:
            self.recorder.finished(trial, weights)
            self.running.remove(trial.architecture)
            self._learn(trial)

    def tell_epoch(self, number: int, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """Tell the observer how far a trial is."""
        with self._lock:
            self.recorder.observer.epoch_finished(number, epoch, epochs, metrics)

    def wait(self) -> None:
        """Wait until nothing is running."""
        while self.running and self.fatal is None:
            time.sleep(0.05)

    def _learn(self, trial: Trial) -> None:
        if trial.role == "copy" or trial.stopped:
            return
        self.known.setdefault(trial.architecture, trial)
        if trial.role == "plain" and trial.complete and self.known[trial.architecture] is trial:
            self._plain = trial.values
