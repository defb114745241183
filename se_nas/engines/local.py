"""The local engine: runs one trial after another in this process, on the CPU or one GPU."""

from __future__ import annotations

from functools import partial

from se_nas.engines.outcome import evaluate_job
from se_nas.engines.plan import Plan
from se_nas.engines.recorder import Recorder
from se_nas.evaluate import Evaluator
from se_nas.evaluate.device import choose_device
from se_nas.run.observer import Observer
from se_nas.run.run import Run
from se_nas.run.settings import SearchSettings


class LocalEngine:
    """Runs each trial in this process.

    Raises:
        InputError: for a device that is not there.
    """

    def __init__(self, evaluator: Evaluator, settings: SearchSettings) -> None:
        self._evaluator = evaluator
        self._device = choose_device(settings.device)
        self._unused = not_used_in_one_process(settings)

    def __call__(self, run: Run, plan: Plan, observer: Observer) -> str:
        if self._unused:
            observer.note(f"the local engine runs one trial at a time, to its end; not used: {', '.join(self._unused)}")
        recorder = Recorder(run, plan, observer)
        while (job := plan.next()) is not None:
            recorder.started(job)
            report = partial(observer.epoch_finished, job.number)
            outcome = evaluate_job(self._evaluator, job, self._device, report, f"local:{self._device}")
            recorder.finished(outcome.trial(job), outcome.weights)
        return recorder.reason


def not_used_in_one_process(settings: SearchSettings) -> list[str]:
    """Names of the settings that were given but need workers."""
    given = {"workers": settings.workers > 1, "trial_timeout": settings.trial_timeout, "scheduler": settings.scheduler != "none"}
    return [name for name, there in given.items() if there]
