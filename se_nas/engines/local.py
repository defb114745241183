"""The local engine: runs one trial after another in this process, or several as one network, on the CPU or one GPU."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from se_nas.engines.outcome import Outcome, evaluate_job, evaluate_jobs
from se_nas.engines.plan import Job, Plan
from se_nas.engines.recorder import Recorder
from se_nas.errors import OutOfMemory
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
        self._evaluator = evaluator
        self._device = choose_device(settings.device)
        self._unused = not_used_in_one_process(settings)
        self._together = settings.together if hasattr(evaluator, "together") else 1

    def __call__(self, run: Run, plan: Plan, observer: Observer) -> str:
        if self._unused:
            observer.note(f"the local engine runs one trial at a time, to its end; not used: {', '.join(self._unused)}")
        if fits := getattr(self._evaluator, "fits_together", None):
            self._fewer(fits(self._device, self._together), "the memory does not hold more", observer)
        recorder = Recorder(run, plan, observer)
        while jobs := list(_next_jobs(plan, self._together)):
            for same in _by_seed(jobs):
                for job in same:
                    recorder.started(job)
                for job, outcome in zip(same, self._outcomes(same, observer), strict=False):
                    recorder.finished(outcome.trial(job), outcome.weights)
                    self._say("notes", observer)
        self._say("summary", observer)
        return recorder.reason

    def _outcomes(self, jobs: Sequence[Job], observer: Observer) -> Iterable[Outcome]:
        """Of each job, in order; of one after another as soon as it is there."""
        reports = [partial(observer.epoch_finished, job.number) for job in jobs]
        worker = f"local:{self._device}"
        while len(jobs) > 1 and self._together > 1:
            try:
                many = min(len(jobs), self._together)
                yield from evaluate_jobs(self._evaluator, jobs[:many], self._device, reports[:many], worker)
                jobs, reports = jobs[many:], reports[many:]
            except Apart as reason:
                self._fewer(1, str(reason), observer)
            except OutOfMemory as error:
                self._fewer(self._together // 2, str(error), observer)
        for job, report in zip(jobs, reports, strict=True):
            yield evaluate_job(self._evaluator, job, self._device, report, worker)

    def _say(self, what: str, observer: Observer) -> None:
        """What the evaluator has to say, if it has such a method: a text, or a list of them."""
        found: str | list[str] = getattr(self._evaluator, what, list)()
        for text in [found] if isinstance(found, str) else found:
            if text:
                observer.note(text)

    def _fewer(self, number: int, reason: str, observer: Observer) -> None:
        if number < self._together:
            said = f"{number} trials train together" if number > 1 else "trials train one after another"
            observer.note(f"{said}, not {self._together}: {reason}")
            self._together = number


def _next_jobs(plan: Plan, number: int) -> Iterable[Job]:
    for _ in range(number):
        if (job := plan.next()) is None:
            return
        yield job


def _by_seed(jobs: Iterable[Job]) -> list[list[Job]]:
    found: dict[tuple[object, ...], list[Job]] = {}
    for job in jobs:
        found.setdefault((job.seed, tuple(job.fidelity.items()), job.architecture.extra), []).append(job)
    return list(found.values())


def not_used_in_one_process(settings: SearchSettings) -> list[str]:
    """Names of the settings that were given but need workers."""
    given = {"workers": settings.workers > 1, "trial_timeout": settings.trial_timeout, "scheduler": settings.scheduler != "none"}
    return [name for name, there in given.items() if there]
