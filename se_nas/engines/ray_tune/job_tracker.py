"""Keeps track of the jobs that Tune runs: takes them from the plan, and records how they end."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import ray
from ray.tune import Callback
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.search import Searcher

from se_nas.engines.outcome import Outcome, lost, took_too_long, utc_now
from se_nas.engines.plan import Job, Plan
from se_nas.engines.ray_tune.resources import WorkerResources
from se_nas.engines.ray_tune.worker import EpochReport, Task
from se_nas.engines.recorder import Recorder

STALLED = 60.0
"""Seconds without a running trial before the user is told."""


@dataclass
class LiveJob:
    """A job that Tune has, and how far it is."""

    job: Job
    tune: TuneTrial | None = None
    begun: float = 0.0
    started: str = ""
    epoch: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    recorded: bool = False


class JobTracker:
    """Hands the plan's jobs to Tune and records what becomes of them. It lives in the process of the search.

    Args:
        plan: hands out the jobs.
        recorder: records finished trials.
        resources: how many trials run at a time, and what each gets.
        timeout: seconds that a trial may take; 0 for no limit.
        metric: the metric that a scheduler compares, and 1 if larger is better or -1 if smaller is.

    Attributes:
        fatal: the error that ends the search; None while it goes on.
    """

    def __init__(self, plan: Plan, recorder: Recorder, resources: WorkerResources, timeout: float, metric: tuple[str, float]) -> None:
        self._plan, self._recorder, self._resources, self._timeout, self._metric = plan, recorder, resources, timeout, metric
        self._live: dict[str, LiveJob] = {}
        self._again: deque[Job] = deque()
        self._over = False
        self._quiet_since = time.monotonic()
        self.fatal: BaseException | None = None

    def __reduce__(self) -> Any:
        return object, ()  # Tune pickles it to restore the experiment, which we never do: a search resumes from its ledger

    @property
    def over(self) -> bool:
        """Whether no further trial will begin."""
        return self._over and not self._again

    # Tune asks.

    def suggest(self, tune_id: str) -> dict[str, Any] | str | None:
        """The config of the next trial. None: ask again later; ``FINISHED``: there will be no more."""
        if self.fatal or self._busy() >= self._resources.workers:
            return None
        job = self._again.popleft() if self._again else self._next()
        if job is None:
            return None if self._live else str(Searcher.FINISHED)  # a running one may have to be run again
        self._live[tune_id] = LiveJob(job)
        return {"task": Task(job), "gpus": self._resources.gpus, "lr": 1.0, "metric": self._metric}

    def _next(self) -> Job | None:
        job = None if self._over else self._plan.next()
        self._over = job is None
        return job

    def _busy(self) -> int:
        """Number of jobs that run or wait for a worker. A job paused by a scheduler does neither."""
        return sum(live.tune is None or live.tune.status != TuneTrial.PAUSED for live in self._live.values())

    def copy(self, config: dict[str, Any]) -> dict[str, Any]:
        """For population based training: the config of a copy of another trial. A copy is a trial of its own."""
        job = self._plan.copy(config["task"].job)
        task = replace(config["task"], job=job) if job else replace(config["task"], over="no trial is left")
        return {**config, "task": task}

    # Tune tells.

    def begun(self, trial: TuneTrial) -> None:
        """A trial has begun on a worker, for the first time or again."""
        live = self._live[trial.trial_id]
        task: Task = trial.config["task"]
        if task.job is not live.job and task.job.number != live.job.number:
            self._stopped(live)  # its worker goes on with a copy of a better one
            live = self._live[trial.trial_id] = LiveJob(task.job, recorded=bool(task.over))
        live.tune, live.begun = trial, time.monotonic()
        if not live.started and not live.recorded:
            live.started = utc_now()
            self._recorder.started(live.job)

    def told(self, trial: TuneTrial, result: dict[str, Any]) -> None:
        """A trial has finished an epoch, or has ended."""
        live = self._live[trial.trial_id]
        report: EpochReport | None = result.pop("report", None)
        outcome: Outcome | None = result.pop("outcome", None)
        live.seconds = float(result.get("time_total_s", 0.0))
        if report:
            live.epoch, live.metrics = report.epoch, report.metrics
            self._recorder.observer.epoch_finished(live.job.number, report.epoch, report.epochs, report.metrics)
        if outcome and not live.recorded:
            self._ended(live, outcome)

    def ended(self, tune_id: str) -> None:
        """A trial has left its worker, finished or stopped early."""
        live = self._live.pop(tune_id, None)
        if live and not live.recorded:
            self._stopped(live)

    def lost(self, trial: TuneTrial) -> None:
        """A trial's worker died. Tune begins the trial again elsewhere, unless it had hung."""
        live = self._live[trial.trial_id]
        if self._timeout and live.tune and time.monotonic() - live.begun >= self._timeout:
            task = replace(trial.config["task"], over=took_too_long(self._timeout))
            trial.set_config({**trial.config, "task": task})
        live.tune = None

    def failed(self, trial: TuneTrial) -> None:
        """A trial's worker died too often."""
        live = self._live.pop(trial.trial_id)
        text = _last_error(trial)
        reason = f"its worker died {trial.num_failures} times: {text.splitlines()[-1]}"
        self._record(live, lost(live.job, reason, text, "ray"))

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

    # A trial ends.

    def _ended(self, live: LiveJob, outcome: Outcome) -> None:
        looser = self._resources.looser() if outcome.status == "memory" else None
        if looser:
            shared = f"{self._resources.to_a_gpu} to a GPU"
            text = f"trial {live.job.number}: {outcome.error}, {shared}; again, and from now on, with {looser.to_a_gpu} to a GPU"
            self._recorder.observer.note(text)
            self._resources, live.recorded = looser, True
            self._again.append(live.job)
            return
        weights = ray.get(outcome.weights) if outcome.weights is not None else None
        self._record(live, replace(outcome, weights=weights))

    def _stopped(self, live: LiveJob) -> None:
        fidelity = {**live.job.fidelity, "epochs": live.epoch, "of": live.job.fidelity.get("epochs", 1)}
        self._record(live, Outcome("stopped", live.metrics, worker="ray", seconds=live.seconds), fidelity)

    def _record(self, live: LiveJob, outcome: Outcome, fidelity: Mapping[str, int] | None = None) -> None:
        trial = outcome.trial(live.job, live.started, fidelity)
        live.recorded = True
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
