"""The engine in this process: one trial after another, on the CPU or one GPU."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from datetime import datetime, timezone

from se_nas.engines.plan import Job, Plan
from se_nas.errors import TrialFailed
from se_nas.evaluate import Evaluation, Evaluator
from se_nas.observer import Observer
from se_nas.run import Run
from se_nas.trial import Trial


def run_local(run: Run, plan: Plan, evaluator: Evaluator, device: str, observer: Observer) -> str:
    """Run the plan's jobs until none is left.

    A trial's weights are on disk before its line is in the ledger, and its line before anything else goes on.

    Returns:
        ``complete``, or ``exhausted`` if the strategy had nothing left to propose.
    """
    trials = run.trials
    while (job := plan.next()) is not None:
        observer.trial_started(job.number, job.role, job.architecture, job.costs)
        trial, evaluation = _evaluate(job, evaluator, device, observer)
        keep = run.config["search"]["keep_weights"]
        if evaluation and evaluation.weights and keep != "none":
            run.save_weights(job.number, evaluation.weights)
        run.ledger.append(trial)
        trials.append(trial)
        plan.finished(trial)
        front = run.front_of(trials)
        if keep == "front":
            run.keep_weights({t.number for entry in (*front.front, *front.references.values()) for t in entry.trials})
        observer.trial_finished(trial, front)
    return "complete" if len(trials) >= run.config["search"]["trials"] else "exhausted"


def _evaluate(job: Job, evaluator: Evaluator, device: str, observer: Observer) -> tuple[Trial, Evaluation | None]:
    def report(epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        observer.epoch_finished(job.number, epoch, epochs, metrics)

    evaluation, error = None, None
    started, clock = datetime.now(timezone.utc), time.perf_counter()
    try:
        evaluation = evaluator(job.architecture, job.seed, job.fidelity, device, report)
        _check_finite(evaluation.metrics)
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
        worker=f"local:{device}",
        started=started.isoformat(timespec="seconds"),
        seconds=round(time.perf_counter() - clock, 3),
    )
    return trial, evaluation


def _check_finite(metrics: Mapping[str, float]) -> None:
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise TrialFailed(f"{name} is {value}")
