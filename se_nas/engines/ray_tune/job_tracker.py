"""Keeps track of the jobs that Tune runs: takes them from the queue, and records how they end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import ray
from ray.tune import Callback
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.search import Searcher

from se_nas.engines.job_queue import JobQueue
from se_nas.engines.outcome import Outcome, lost, took_too_long, utc_now
from se_nas.engines.plan import Job
from se_nas.engines.ray_tune.resources import WorkerResources
from se_nas.engines.ray_tune.worker import EpochReport, Message, Task
from se_nas.engines.recorder import Recorder
from se_nas.evaluate import Apart

STALLED = 60.0
"""Seconds without a running trial before the user is told."""


@dataclass
class LiveTask:
    """What Tune has as one of its trials: a job, or several that train together.

    Attributes:
        jobs: all of them.
        left: those that are neither recorded nor to be tried again.
        tune: Tune's trial while a worker has it.
        begun: when a worker took it last, in seconds.
        started: when a worker took it first, in UTC; empty before.
        reached: number of a job -> its last report.
        seconds: that its steps have taken.
    """

    jobs: Sequence[Job]
    left: list[Job]
    tune: TuneTrial | None = None
    begun: float = 0.0
    started: str = ""
    reached: dict[int, EpochReport] = field(default_factory=dict)
    seconds: float = 0.0


class JobTracker:
    """Hands the queue's jobs to Tune and records what becomes of them. It lives in the process of the search.

    Args:
        queue: hands out the jobs.
        recorder: records finished trials.
        resources: how many workers there are, and what each gets.
        timeout: seconds that a trial may take; 0 for no limit.
        metric: the metric that a scheduler compares, and 1 if larger is better or -1 if smaller is.

    Attributes:
        fatal: the error that ends the search; None while it goes on.
    """

    def __init__(self, queue: JobQueue, recorder: Recorder, resources: WorkerResources, timeout: float, metric: tuple[str, float]) -> None:
        self._queue, self._recorder, self._resources, self._timeout, self._metric = queue, recorder, resources, timeout, metric
        self._live: dict[str, LiveTask] = {}
        self._quiet_since = time.monotonic()
        self.fatal: BaseException | None = None

    def __reduce__(self) -> Any:
        return object, ()  # Tune pickles it to restore the experiment, which we never do: a search resumes from its ledger

    @property
    def over(self) -> bool:
        """Whether no further trial will begin."""
        return self._queue.over

    # Tune asks.

    def suggest(self, tune_id: str) -> dict[str, Any] | str | None:
        """The config of the next task. None: ask again later; ``FINISHED``: there will be no more."""
        if self.fatal or self._busy() >= self._resources.workers:
            return None
        jobs = self._queue.next()
        if not jobs:
            return None if self._live else str(Searcher.FINISHED)  # a running one may have to be run again
        self._live[tune_id] = LiveTask(jobs, [*jobs])
        return {"task": Task(jobs), "gpus": self._resources.gpus, "lr": 1.0, "metric": self._metric}

    def _busy(self) -> int:
        """Number of tasks that run or wait for a worker. One paused by a scheduler does neither."""
        return sum(live.tune is None or live.tune.status != TuneTrial.PAUSED for live in self._live.values())

    def copy(self, config: dict[str, Any]) -> dict[str, Any]:
        """For population based training: the config of a copy of another trial. A copy is a trial of its own."""
        job = self._queue.plan.copy(config["task"].job)
        task = replace(config["task"], jobs=[job]) if job else replace(config["task"], over="no trial is left")
        return {**config, "task": task}

    # Tune tells.

    def begun(self, trial: TuneTrial) -> None:
        """A task has begun on a worker, for the first time or again."""
        live = self._live[trial.trial_id]
        task: Task = trial.config["task"]
        if [job.number for job in task.jobs] != [job.number for job in live.jobs]:
            self._stopped(live)  # its worker goes on with a copy of a better one
            live = self._live[trial.trial_id] = LiveTask(task.jobs, [] if task.over else [*task.jobs])
        live.tune, live.begun = trial, time.monotonic()
        if not live.started and live.left:
            live.started = utc_now()
            for job in live.left:
                self._recorder.started(job)

    def told(self, trial: TuneTrial, result: dict[str, Any]) -> None:
        """Trials have finished epochs, or a task has ended."""
        live = self._live[trial.trial_id]
        messages: list[Message] = result.pop("messages", [])
        live.seconds = float(result.get("time_total_s", 0.0))
        for message in messages:
            if isinstance(message, EpochReport):
                live.reached[message.number] = message
                self._recorder.observer.epoch_finished(message.number, message.epoch, message.epochs, message.metrics)
            elif not live.left:
                continue  # it is only told that it is over
            elif isinstance(message, Apart):
                self._queue.apart(live.left, message)
                live.left = []
            else:
                for job, outcome in zip(live.jobs, message, strict=True):
                    self._ended(live, job, outcome)

    def ended(self, tune_id: str) -> None:
        """A task has left its worker, finished or stopped early."""
        if live := self._live.pop(tune_id, None):
            self._stopped(live)

    def lost(self, trial: TuneTrial) -> None:
        """A task's worker died. Tune begins the task again elsewhere, unless it had hung."""
        live = self._live[trial.trial_id]
        limit = self._timeout * len(live.jobs)
        if limit and live.tune and time.monotonic() - live.begun >= limit:
            if len(live.jobs) > 1:
                self._alone(live, f"took more than {limit:g} seconds together")
            trial.set_config({**trial.config, "task": replace(trial.config["task"], over=took_too_long(self._timeout))})
        live.tune = None

    def failed(self, trial: TuneTrial) -> None:
        """A task's worker died too often."""
        live = self._live.pop(trial.trial_id)
        text = _last_error(trial)
        reason = f"worker died {trial.num_failures} times: {text.splitlines()[-1]}"
        if len(live.left) > 1:
            self._alone(live, f"their {reason}")
        for job in [*live.left]:
            self._record(live, job, lost(job, f"its {reason}", text, "ray"))

    def look(self) -> None:
        """Called between two events: ends the search if it must, and warns if no trial runs."""
        if self.fatal:
            raise self.fatal
        now = time.monotonic()
        if any(live.tune for live in self._live.values()) or not self._live:
            self._quiet_since = now
        elif now - self._quiet_since > STALLED:
            self._quiet_since = now
            need = f"{self._resources.cpus:g} CPUs and {self._resources.gpus:g} GPUs"
            self._recorder.observer.note(f"no trial is running: no machine has room for one ({need})")

    def leave(self) -> None:
        """Kill the busy workers. If the Ray session goes on, nobody else does."""
        for live in self._live.values():
            if live.tune and live.tune.temporary_state.ray_actor:
                ray.kill(live.tune.temporary_state.ray_actor)

    # A job ends.

    def _ended(self, live: LiveTask, job: Job, outcome: Outcome) -> None:
        looser = self._resources.looser() if outcome.status == "memory" else None
        if looser:
            shared = f"{self._resources.to_a_gpu} to a GPU"
            text = f"trial {job.number}: {outcome.error}, {shared}; again, and from now on, with {looser.to_a_gpu} to a GPU"
            self._recorder.observer.note(text)
            self._resources = looser
            live.left.remove(job)
            self._queue.again([job])
            return
        weights = ray.get(outcome.weights) if outcome.weights is not None else None
        self._record(live, job, replace(outcome, weights=weights))

    def _alone(self, live: LiveTask, reason: str) -> None:
        """Each of several jobs is tried again by itself: the one whose fault it was then fails alone."""
        numbers = ", ".join(str(job.number) for job in live.left)
        self._recorder.observer.note(f"trials {numbers} {reason}; each is tried again, alone")
        self._queue.alone(live.left)
        live.left = []

    def _stopped(self, live: LiveTask) -> None:
        for job in [*live.left]:
            reached = live.reached.get(job.number)
            fidelity = {**job.fidelity, "epochs": reached.epoch if reached else 0, "of": job.fidelity.get("epochs", 1)}
            outcome = Outcome("stopped", reached.metrics if reached else {}, worker="ray", seconds=live.seconds)
            self._record(live, job, outcome, fidelity)

    def _record(self, live: LiveTask, job: Job, outcome: Outcome, fidelity: Mapping[str, int] | None = None) -> None:
        trial = outcome.trial(job, live.started, fidelity)
        live.left.remove(job)
        self._recorder.finished(trial, outcome.weights)


class PlanSearcher(Searcher):
    """Gives Tune the plan's jobs. It has no state of its own: the ledger has all."""

    def __init__(self, tracker: JobTracker) -> None:
        super().__init__()
        self._tracker = tracker

    def suggest(self, trial_id: str) -> Any:
        return _guarded(self._tracker, lambda: self._tracker.suggest(trial_id))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        if not error:
            _guarded(self._tracker, lambda: self._tracker.ended(trial_id))

    def save(self, checkpoint_path: str) -> None:
        Path(checkpoint_path).touch()

    def __reduce__(self) -> Any:
        return Searcher, ()


class PlanCallback(Callback):
    """Tells the tracker what Tune reports."""

    def __init__(self, tracker: JobTracker) -> None:
        self._tracker = tracker

    def on_step_begin(self, iteration: int, trials: list[TuneTrial], **info: Any) -> None:
        self._tracker.look()

    def on_trial_start(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        _guarded(self._tracker, lambda: self._tracker.begun(trial))

    def on_trial_result(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, result: dict[str, Any], **info: Any) -> None:
        _guarded(self._tracker, lambda: self._tracker.told(trial, result))

    def on_trial_recover(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        _guarded(self._tracker, lambda: self._tracker.lost(trial))

    def on_trial_error(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        _guarded(self._tracker, lambda: self._tracker.failed(trial))

    def __reduce__(self) -> Any:
        return Callback, ()


def _guarded(tracker: JobTracker, call: Callable[[], Any]) -> Any:
    """Call, and keep an exception until `JobTracker.look` raises it. Tune would blame the trial for it."""
    try:
        return call()
    except Exception as error:
        tracker.fatal = tracker.fatal or error
        return None


def _last_error(trial: TuneTrial) -> str:
    """Tune's text of a trial's last failure."""
    file = Path(trial.error_file or "")
    text = file.read_text(errors="replace").strip() if file.is_file() else ""
    return text.rpartition("Failure #")[2] or "for an unknown reason"
