"""Where Tune meets the search: what it asks for comes from the plan, and what it brings goes into the ledger."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import ray
from ray.tune import Callback
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.search import Searcher

from se_nas.engines.plan import Job, Plan
from se_nas.engines.ray_tune.packing import Packing
from se_nas.engines.ray_tune.worker import Outcome, Progress, Task
from se_nas.engines.recorder import Recorder
from se_nas.run.trial import Trial
from se_nas.space.space import REFERENCES

STALLED = 60.0
"""Seconds without a running trial after which a person should hear of it."""


@dataclass
class Live:
    """A job that is with Tune: how far it is, and since when."""

    job: Job
    tune: TuneTrial | None = None
    begun: float = 0.0
    started: str = ""
    epoch: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    recorded: bool = False


class Desk:
    """The search's side of a Tune experiment, in its process.

    Args:
        plan: what to try.
        recorder: takes what is finished.
        packing: how many at a time, and what each gets.
        timeout: seconds that a trial may take; 0 for no limit.
        metric: that a scheduler compares, and 1 or -1 for whether larger or smaller is better.

    Attributes:
        fatal: what ends the search.
    """

    def __init__(self, plan: Plan, recorder: Recorder, packing: Packing, timeout: float, metric: tuple[str, float]) -> None:
        self._plan, self._recorder, self._packing, self._timeout, self._metric = plan, recorder, packing, timeout, metric
        self._live: dict[str, Live] = {}
        self._again: deque[Job] = deque()
        self._over = False
        self._quiet_since = time.monotonic()
        self.fatal: BaseException | None = None

    def __reduce__(self) -> Any:
        return object, ()  # Tune pickles what it is given, to restore it: nobody does, a search goes on from its ledger

    @property
    def over(self) -> bool:
        """Whether there will be no further trials."""
        return self._over and not self._again

    # What Tune asks.

    def suggest(self, tune_id: str) -> dict[str, Any] | str | None:
        """The config of the next trial; None to be asked again, ``FINISHED`` when there will be no more."""
        if self.fatal or self._busy() >= self._packing.workers:
            return None
        job = self._again.popleft() if self._again else self._next()
        if job is None:
            return None if self._live else str(Searcher.FINISHED)  # a running one may have to come again
        self._live[tune_id] = Live(job)
        return {"task": Task(job), "gpus": self._packing.gpus, "lr": 1.0, "metric": self._metric}

    def _next(self) -> Job | None:
        job = None if self._over else self._plan.next()
        self._over = job is None
        return job

    def _busy(self) -> int:
        """Jobs that run or wait for a worker; those that a scheduler has paused do neither."""
        return sum(live.tune is None or live.tune.status != TuneTrial.PAUSED for live in self._live.values())

    def copy(self, config: dict[str, Any]) -> dict[str, Any]:
        """For population based training: the config of a copy of another trial, which is a trial of its own."""
        job = self._plan.copy(config["task"].job)
        task = replace(config["task"], job=job) if job else replace(config["task"], over="no trial is left")
        return {**config, "task": task}

    # What Tune tells.

    def begun(self, trial: TuneTrial) -> None:
        """A trial is on a worker: for the first time, or again."""
        live = self._live[trial.trial_id]
        task: Task = trial.config["task"]
        if task.job is not live.job and task.job.number != live.job.number:
            self._stopped(live)  # it goes on as a copy of a better one
            live = self._live[trial.trial_id] = Live(task.job, recorded=bool(task.over))
        live.tune, live.begun = trial, time.monotonic()
        if not live.started and not live.recorded:
            live.started = _now()
            self._recorder.started(live.job)

    def told(self, trial: TuneTrial, result: dict[str, Any]) -> None:
        """An epoch is over, or all of it."""
        live = self._live[trial.trial_id]
        progress: Progress | None = result.pop("progress", None)
        outcome: Outcome | None = result.pop("outcome", None)
        live.seconds = float(result.get("time_total_s", 0.0))
        if progress:
            live.epoch, live.metrics = progress.epoch, progress.metrics
            self._recorder.observer.epoch_finished(live.job.number, progress.epoch, progress.epochs, progress.metrics)
        if outcome and not live.recorded:
            self._ended(live, outcome)

    def ended(self, tune_id: str) -> None:
        """A trial leaves its worker, finished or stopped early."""
        live = self._live.pop(tune_id, None)
        if live and not live.recorded:
            self._stopped(live)

    def lost(self, trial: TuneTrial) -> None:
        """A trial's worker died, and Tune begins it again elsewhere; not if it had hung."""
        live = self._live[trial.trial_id]
        if self._timeout and live.tune and time.monotonic() - live.begun >= self._timeout:
            reason = f"took more than {self._timeout:g} seconds (--trial-timeout)"
            trial.set_config({**trial.config, "task": replace(trial.config["task"], over=reason)})
        live.tune = None

    def failed(self, trial: TuneTrial) -> None:
        """A trial's worker died once too often."""
        live = self._live.pop(trial.trial_id)
        text = _last_error(trial)
        reason = f"its worker died {trial.num_failures} times: {text.splitlines()[-1]}"
        if live.job.role in REFERENCES:
            raise RuntimeError(f"trial {live.job.number} ({live.job.role}) cannot be run: {reason}\n{text}")
        self._record(live, "failed", error=reason)

    def look(self) -> None:
        """Between two events."""
        if self.fatal:
            raise self.fatal
        now = time.monotonic()
        if any(live.tune for live in self._live.values()) or not self._live:
            self._quiet_since = now
        elif now - self._quiet_since > STALLED:
            self._quiet_since = now
            need = f"{self._packing.cpus:g} CPUs and {self._packing.gpus:g} GPUs"
            self._recorder.observer.note(f"no trial is running: no machine has room for one ({need})")

    def leave(self) -> None:
        """End the workers that are at work: in a session that goes on, nobody else would."""
        for live in self._live.values():
            if live.tune and live.tune.temporary_state.ray_actor:
                ray.kill(live.tune.temporary_state.ray_actor)

    # What becomes of a trial.

    def _ended(self, live: Live, outcome: Outcome) -> None:
        if outcome.status == "broken":
            raise RuntimeError(f"trial {live.job.number} ({live.job.role}) cannot be run: {outcome.error}")
        looser = self._packing.looser() if outcome.status == "memory" else None
        if looser:
            shared = f"{self._packing.to_a_gpu} to a GPU"
            text = f"trial {live.job.number}: {outcome.error}, {shared}; again, and from now on, with {looser.to_a_gpu} to a GPU"
            self._recorder.observer.note(text)
            self._packing, live.recorded = looser, True
            self._again.append(live.job)
            return
        status = "failed" if outcome.status == "memory" else outcome.status
        weights = ray.get(outcome.weights) if outcome.weights is not None else None
        self._record(live, status, outcome.metrics, outcome.error, outcome.worker, outcome.seconds, weights=weights)

    def _stopped(self, live: Live) -> None:
        epochs = live.job.fidelity.get("epochs", 1)
        fidelity = {**live.job.fidelity, "epochs": live.epoch, "of": epochs}
        self._record(live, "stopped", live.metrics, None, "ray", live.seconds, fidelity)

    def _record(
        self,
        live: Live,
        status: str,
        metrics: Mapping[str, float] | None = None,
        error: str | None = None,
        worker: str = "ray",
        seconds: float = 0.0,
        fidelity: Mapping[str, int] | None = None,
        weights: Any = None,
    ) -> None:
        trial = Trial(
            **{**vars(live.job), "fidelity": fidelity or live.job.fidelity},
            status=status,
            metrics=dict(metrics or {}),
            error=error,
            worker=worker,
            started=live.started or _now(),
            seconds=round(seconds, 3),
        )
        live.recorded = True
        self._recorder.finished(trial, weights)


class Ask(Searcher):
    """The desk as Tune's searcher. It has no state of its own: the ledger has it all."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk

    def suggest(self, trial_id: str) -> Any:
        return _guarded(self._desk, lambda: self._desk.suggest(trial_id))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        if not error:
            _guarded(self._desk, lambda: self._desk.ended(trial_id))

    def save(self, checkpoint_path: str) -> None:
        Path(checkpoint_path).touch()

    def __reduce__(self) -> Any:
        return Searcher, ()


class Tell(Callback):
    """The desk as Tune's callback."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def on_step_begin(self, iteration: int, trials: list[TuneTrial], **info: Any) -> None:
        self._desk.look()

    def on_trial_start(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        _guarded(self._desk, lambda: self._desk.begun(trial))

    def on_trial_result(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, result: dict[str, Any], **info: Any) -> None:
        _guarded(self._desk, lambda: self._desk.told(trial, result))

    def on_trial_recover(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        _guarded(self._desk, lambda: self._desk.lost(trial))

    def on_trial_error(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        _guarded(self._desk, lambda: self._desk.failed(trial))

    def __reduce__(self) -> Any:
        return Callback, ()


def _guarded(desk: Desk, call: Callable[[], Any]) -> Any:
    """Tune takes an exception here for the trial's fault; it is kept, and ends the search between two events."""
    try:
        return call()
    except Exception as error:
        desk.fatal = desk.fatal or error
        return None


def _last_error(trial: TuneTrial) -> str:
    """What Tune wrote down of a trial's last failure."""
    file = Path(trial.error_file or "")
    text = file.read_text(errors="replace").strip() if file.is_file() else ""
    return text.rpartition("Failure #")[2] or "for an unknown reason"


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
