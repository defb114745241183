"""The engine in this process: one trial after another, on the CPU or one GPU."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime, timezone

from se_nas.engines.plan import Job, Plan
from se_nas.engines.recorder import Recorder, check_finite
from se_nas.errors import TrialFailed
from se_nas.evaluate import Evaluation, Evaluator
from se_nas.evaluate.device import choose_device
from se_nas.observer import Observer
from se_nas.run import Run
from se_nas.settings import SearchSettings
from se_nas.trial import Trial


class LocalEngine:
    """Runs each trial in this process.

    Raises:
        InputError: for a device that is not there.
    """

    def __init__(self, evaluator: Evaluator, settings: SearchSettings) -> None:
        self._evaluator = evaluator
        self._device = choose_device(settings.device)
        given = {"workers": settings.workers > 1, "trial_timeout": settings.trial_timeout, "scheduler": settings.scheduler != "none"}
        self._unused = [name for name, there in given.items() if there]

    def __call__(self, run: Run, plan: Plan, observer: Observer) -> str:
        if self._unused:
            observer.note(f"the local engine runs one trial at a time, to its end; not used: {', '.join(self._unused)}")
        recorder = Recorder(run, plan, observer)
        while (job := plan.next()) is not None:
            recorder.started(job)
            trial, evaluation = self._evaluate(job, observer)
            recorder.finished(trial, evaluation.weights if evaluation else None)
        return recorder.reason

    def _evaluate(self, job: Job, observer: Observer) -> tuple[Trial, Evaluation | None]:
        def report(epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
            observer.epoch_finished(job.number, epoch, epochs, metrics)

        evaluation, error = None, None
        started, clock = datetime.now(timezone.utc), time.perf_counter()
        try:
            evaluation = self._evaluator(job.architecture, job.seed, job.fidelity, self._device, report)
            check_finite(evaluation.metrics)
        except TrialFailed as failure:
            evaluation, error = None, str(failure)
        except Exception as failure:
            if job.role != "proposal":
                raise  # not an architecture's fault: the search is set up wrongly
            evaluation, error = None, f"{type(failure).__name__}: {failure}"
        trial = Trial(
            **vars(job),
            status="failed" if error else "complete",
            metrics=evaluation.metrics if evaluation else {},
            error=error,
            worker=f"local:{self._device}",
            started=started.isoformat(timespec="seconds"),
            seconds=round(time.perf_counter() - clock, 3),
        )
        return trial, evaluation
