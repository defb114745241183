"""The local engine: runs one trial after another in this process, or several as one network, on the CPU or one GPU."""

from __future__ import annotations

from functools import partial

from se_nas.engines.job_queue import FULL, JobQueue
from se_nas.engines.outcome import evaluate_jobs
from se_nas.engines.plan import Plan
from se_nas.engines.recorder import Recorder
from se_nas.evaluate import Apart, Evaluator
from se_nas.evaluate.device import choose_device
from se_nas.run.observer import Observer
from se_nas.run.run import Run
from se_nas.run.settings import SearchSettings


class LocalEngine:
    """Runs each trial in this process.

    With ``together: K`` it takes K jobs at a time, and trains those that have one seed as one network. Where the memory does
    not hold K, K is halved; where the network cannot do it, trials run one after another. Both are said.

    Raises:
        InputError: for a device that is not there.
    """

    def __init__(self, evaluator: Evaluator, settings: SearchSettings) -> None:
        self._evaluator, self._together = evaluator, settings.together
        self._device = choose_device(settings.device)
        self._unused = not_used_in_one_process(settings)

    def __call__(self, run: Run, plan: Plan, observer: Observer) -> str:
        if self._unused:
            observer.note(f"the local engine runs one trial at a time, to its end; not used: {', '.join(self._unused)}")
        queue = JobQueue(plan, self._evaluator, self._together, observer.note)
        if queue.together > 1 and (fits := getattr(self._evaluator, "fits_together", None)):
            queue.fewer(fits(self._device, queue.together), FULL)
        recorder = Recorder(run, plan, observer)
        while jobs := queue.next():
            for job in jobs:
                recorder.started(job)
            reports = [partial(observer.epoch_finished, job.number) for job in jobs]
            try:
                outcomes = evaluate_jobs(self._evaluator, jobs, self._device, reports, f"local:{self._device}")
            except Apart as reason:
                queue.apart(jobs, reason)
                continue
            for job, outcome in zip(jobs, outcomes, strict=True):
                recorder.finished(outcome.trial(job), outcome.weights)
            self._say("cache_notes", observer)
        self._say("cache_summary", observer)
        return recorder.reason

    def _say(self, what: str, observer: Observer) -> None:
        """What the evaluator has to say of what it keeps between trials, if it keeps anything."""
        texts: list[str] = getattr(self._evaluator, what, list)()
        for text in texts:
            observer.note(text)


def not_used_in_one_process(settings: SearchSettings) -> list[str]:
    """Names of the settings that were given but need workers."""
    given = {"workers": settings.workers > 1, "trial_timeout": settings.trial_timeout, "scheduler": settings.scheduler != "none"}
    return [name for name, there in given.items() if there]
