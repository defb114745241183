"""The engine of whoever asks: trials run outside, in shell scripts, batch jobs, or programs that search by themselves.

`ask` hands out a job of the plan and `tell` gives its result to the recorder: the same plan, ledger and recorder as of every
engine, made from the run's directory at each call, under its lock. Nothing runs in between.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from se_nas.engines.outcome import Outcome, check_finite
from se_nas.engines.plan import Job, Plan
from se_nas.engines.recorder import Recorder
from se_nas.errors import InputError, TrialFailed
from se_nas.evaluate import Evaluation, Evaluator, Report
from se_nas.goals.objective import is_number, parse_objectives
from se_nas.run.asked import SCHEMA, Asked, read_asked, write_asked
from se_nas.run.observer import Observer
from se_nas.run.run import Run
from se_nas.run.settings import SearchSettings, resolve_settings
from se_nas.run.start import with_identity
from se_nas.run.trial import Trial
from se_nas.space.architecture import Architecture
from se_nas.space.choices import plain_scalar

if TYPE_CHECKING:
    from se_nas.space.space import SearchSpace

LEASE = 86400.0
"""Seconds after which a trial that nobody has told is asked again."""

PATIENCE = 600.0
"""Seconds to wait for other processes that ask and tell."""

WORKER = "outside"


class OutsideEngine:
    """Runs nothing: trials are asked for with `ask`, and told with `tell`."""

    def __init__(self, evaluator: Evaluator, settings: SearchSettings) -> None:
        pass

    def __call__(self, run: Run, plan: Plan, observer: Observer) -> str:
        return "asked from outside"


def nobody(architecture: Architecture, seed: int, fidelity: Mapping[str, int], device: str, report: Report) -> Evaluation:
    """The evaluator of a run whose trials run outside."""
    raise InputError("the trials of this run are run from outside", "se-nas ask RUN, se-nas tell RUN NUMBER accuracy=0.91", "evaluator")


def ask(path: str | Path, *, lease: float = LEASE, trials: int | None = None, space: SearchSpace | None = None) -> dict[str, Any]:
    """Take one trial of a run, to be run here and then told. Any number of processes may ask.

    Args:
        path: the run's directory, on a file system that all processes share.
        lease: seconds after which the trial is asked again if nobody has told it.
        trials: a new total for the run.
        space: needed if the run's backbone was given as an object of Python.

    Returns:
        JSON. Its ``state`` is ``trial``, with the fields of `describe`; ``wait``, if all that is left is out with others; or
        ``complete`` or ``exhausted``, if nothing is left.

    Raises:
        InputError: if there is no such run, or its lock is not free for `PATIENCE` seconds.
    """
    if not is_number(lease) or not lease > 0:
        raise InputError(f"{lease!r} is not a number of seconds", "take more than 0", "lease")
    with _turn(path) as run:
        settings = resolve_settings(run.config["search"], f"{run.path / 'run.yaml'}, search", {"trials": trials})
        finished = run.trials
        out = read_asked(run.path, (trial.number for trial in finished))
        now = time.time()
        job: Job | None = None
        if overdue := [each for each in out if each.until <= now]:
            job = Job.from_json(overdue[0].job)
        elif len(finished) + len(out) < settings.trials:
            space = with_identity(space or run.space, settings)
            objectives = parse_objectives(settings.objectives, space.units)
            jobs, confirmed = [Job.from_json(each.job) for each in out], {trial.number for trial in run.confirmed}
            job = Plan(space, settings, objectives, finished, run.earlier.read(), jobs, confirmed).next()
        if trials is not None:
            run.config["search"] = settings.to_dict()
            run.save_config()
        if job is None:
            done = "complete" if len(finished) >= settings.trials else "exhausted"
            state = {"state": "wait", "until": _clock(min(each.until for each in out))} if out else {"state": done}
            return {"schema": SCHEMA, "run": str(run.path), **state}
        times = {each.number: each.times for each in out}.get(job.number, 0) + 1
        asked = Asked(job.to_json(), now + lease, times)
        write_asked(run.path, [*(each for each in out if each.number != job.number), asked])
        return {"schema": SCHEMA, "run": str(run.path), "state": "trial", **describe(asked)}


def tell(
    path: str | Path,
    number: int,
    metrics: Mapping[str, Any] | None = None,
    *,
    failed: str | None = None,
    weights: str | Path | None = None,
    observer: Observer | None = None,
) -> Trial:
    """Put the result of an asked trial into the ledger. When this returns, it is on disk.

    Telling the same again changes nothing, so a caller that is not sure may repeat it.

    Args:
        path: the run's directory.
        number: the trial's, from `ask`.
        metrics: name -> number, every measured objective among them. One that is not finite makes the trial a failed one.
        failed: in place of metrics: why there are none.
        weights: a file of safetensors with the trained weights, for exports.
        observer: hears of it.

    Raises:
        InputError: if the trial is not out, was told something else, or a metric is missing or not a number.
    """
    with _turn(path) as run:
        objectives = run.objectives
        numbers = _numbers(metrics or {}, [] if failed is not None else [o.name for o in objectives if not o.known])
        status, error = "complete", None
        try:
            check_finite(numbers)
        except TrialFailed as not_finite:
            status, error = "failed", str(not_finite)
        if failed is not None:
            status, error, numbers = "failed", failed, {}
        told = {trial.number: trial for trial in run.trials}
        if number in told:
            same = (told[number].status, told[number].error, dict(told[number].metrics))
            if same == (status, error, numbers if status == "complete" else {}):
                return told[number]
            raise InputError(f"trial {number} is in the ledger already, with another result", "leave it; results are final", str(run.path))
        out = {each.number: each for each in read_asked(run.path, told)}
        if number not in out:
            fix = f"tell a trial that se-nas ask gave ({', '.join(map(str, out)) or 'none is out'})"
            raise InputError(f"trial {number} was not asked for", fix, str(run.path))
        job = Job.from_json(out[number].job)
        outcome = Outcome(status, numbers if status == "complete" else {}, error=error, worker=WORKER)
        trial = outcome.trial(job)
        Recorder(run, _Told(), observer or Observer()).finished(trial, _read_weights(weights) if weights else None)
        write_asked(run.path, [each for each in out.values() if each.number != number])
        return trial


def describe(asked: Asked) -> dict[str, Any]:
    """A trial that is out, as JSON: what to run, and what `tell` is to be called with."""
    job = Job.from_json(asked.job)
    return {
        "number": job.number,
        "role": job.role,
        "architecture": job.architecture.to_json(),
        "id": job.architecture.id,
        "seed": job.seed,
        "epochs": job.fidelity["epochs"],
        "costs": dict(job.costs),
        "times": asked.times,
        "until": _clock(asked.until),
    }


class _Told(Plan):
    """Stands for the plan when a trial is told: the next `ask` makes one from the ledger."""

    def __init__(self) -> None:
        """Needs no space and no strategy."""

    def finished(self, trial: Trial) -> None:
        """The ledger has it."""


@contextlib.contextmanager
def _turn(path: str | Path) -> Iterator[Run]:
    """The run, as it is when it is this process's turn."""
    if not (Path(path) / "run.yaml").exists():
        Run.open(path)  # says what is wrong
    end = time.monotonic() + PATIENCE
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(Run(Path(path), {}).lock())
                break
            except InputError as error:
                if not error.problem.startswith("in use") or time.monotonic() > end:
                    raise
            time.sleep(random.uniform(0.01, 0.1))
        yield Run.open(path)


def _numbers(metrics: Mapping[str, Any], needed: list[str]) -> dict[str, float]:
    """Checked metrics."""
    numbers = {}
    for name, value in metrics.items():
        number = plain_scalar(value)
        if not is_number(number):
            raise InputError(f"{name} is {value!r}, not a number", "tell a number, or that the trial failed", "metrics")
        numbers[name] = float(number)
    if missing := [name for name in needed if name not in numbers]:
        raise InputError(f"{missing[0]} is missing", "tell every measured objective, or that the trial failed (--failed REASON)", "metrics")
    return numbers


def _read_weights(path: str | Path) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"cannot be read: {error}", "give a file of safetensors", str(path)) from None


def _clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds")
