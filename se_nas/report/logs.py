"""Logs of a search for TensorBoard and MLflow, as observers: curves by trial, the front as it grows, choices and costs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from se_nas.errors import InputError, known
from se_nas.run.front import Front
from se_nas.run.observer import Observer
from se_nas.run.run import Run
from se_nas.run.trial import Trial
from se_nas.space.architecture import Architecture


class TensorBoardLog(Observer):
    """Writes ``tensorboard/`` in the run's directory: a folder for each trial, and ``front``."""

    def __init__(self) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._make: Callable[[str], Any] = SummaryWriter
        self._writers: dict[int, Any] = {}
        self._finished = 0

    def search_started(self, run: Run, total: int) -> None:
        self._folder = run.path / "tensorboard"
        self._finished = len(run.trials)
        self._front = self._make(str(self._folder / "front"))

    def epoch_finished(self, number: int, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            self._writer(number).add_scalar(name, value, epoch)

    def trial_finished(self, trial: Trial, front: Front) -> None:
        writer = self._writer(trial.number)
        if trial.metrics:
            results = {f"result/{name}": value for name, value in trial.metrics.items()}
            writer.add_hparams(hyper_parameters(trial), results, run_name=".")
        writer.add_text("trial", f"{trial.status}: {trial.error or trial.architecture}")
        writer.close()
        self._writers.pop(trial.number)
        self._finished += 1
        for name, value in front_figures(front).items():
            self._front.add_scalar(name, value, self._finished)
        self._front.flush()

    def search_finished(self, reason: str) -> None:
        for writer in (*self._writers.values(), self._front):
            writer.close()

    def _writer(self, number: int) -> Any:
        if number not in self._writers:
            self._writers[number] = self._make(str(self._folder / f"trial-{number:05d}"))
        return self._writers[number]


class MLflowLog(Observer):
    """One run of MLflow for the search, with the front's figures, and a nested one for each trial.

    Where to is MLflow's own setting: ``MLFLOW_TRACKING_URI``, and ``MLFLOW_EXPERIMENT_NAME`` (by default ``se-nas``).
    """

    def __init__(self) -> None:
        from mlflow.tracking import MlflowClient

        self._client = MlflowClient()
        self._trials: dict[int, str] = {}

    def search_started(self, run: Run, total: int) -> None:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or "se-nas"
        experiment = self._client.get_experiment_by_name(name)
        self._experiment = experiment.experiment_id if experiment else self._client.create_experiment(name)
        mark = f"{run.path.resolve().name} {run.config['created']}"  # of this search, and of its resumptions
        found = self._client.search_runs([self._experiment], f"tags.`se_nas.run` = '{mark}'", max_results=1)
        if found:
            self._search = found[0].info.run_id
            self._client.update_run(self._search, status="RUNNING")
        else:
            tags = {"se_nas.run": mark}
            self._search = self._client.create_run(self._experiment, tags=tags, run_name=run.path.resolve().name).info.run_id
            settings = {name: run.config["search"][name] for name in ("data", "epochs", "strategy", "objectives", "seed")}
            self._params(self._search, {**settings, "backbone": (run.config.get("backbone") or {}).get("name")})
        self._finished = len(run.trials)

    def epoch_finished(self, number: int, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            self._client.log_metric(self._trial(number), name, value, step=epoch)

    def trial_finished(self, trial: Trial, front: Front) -> None:
        own = self._trial(trial.number)
        self._params(own, hyper_parameters(trial))
        self._client.set_tag(own, "se_nas.id", trial.architecture.id)
        if trial.error:
            self._client.set_tag(own, "error", trial.error)
        for name, value in trial.metrics.items():
            self._client.log_metric(own, f"result/{name}", value)
        self._client.set_terminated(own, "FINISHED" if trial.complete else "KILLED" if trial.stopped else "FAILED")
        self._trials.pop(trial.number)
        self._finished += 1
        for name, value in front_figures(front).items():
            self._client.log_metric(self._search, name, value, step=self._finished)

    def search_finished(self, reason: str) -> None:
        for own in self._trials.values():
            self._client.set_terminated(own, "KILLED")
        self._client.set_terminated(self._search, "KILLED" if reason == "interrupted" else "FINISHED")

    def _trial(self, number: int) -> str:
        if number not in self._trials:
            tags = {"mlflow.parentRunId": self._search}
            self._trials[number] = self._client.create_run(self._experiment, tags=tags, run_name=f"trial {number}").info.run_id
        return self._trials[number]

    def _params(self, own: str, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            self._client.log_param(own, name, value)


LOGS: dict[str, tuple[Callable[[], Observer], str]] = {
    "tensorboard": (TensorBoardLog, "tensorboard"),
    "mlflow": (MLflowLog, "mlflow"),
}
"""Name -> the observer, and the extra of se-nas that it needs."""


class Logged(Observer):
    """A view, and logs beside it. A log that fails is left out from then on: no search ends for it.

    Args:
        view: hears everything first, and of a log that fails.
        logs: name -> observer.
    """

    def __init__(self, view: Observer, logs: Mapping[str, Observer]) -> None:
        self._view, self._logs = view, dict(logs)

    def search_started(self, run: Run, total: int) -> None:
        self._view.search_started(run, total)
        self._each(lambda log: log.search_started(run, total))

    def trial_started(self, number: int, role: str, architecture: Architecture, costs: Mapping[str, float]) -> None:
        self._view.trial_started(number, role, architecture, costs)
        self._each(lambda log: log.trial_started(number, role, architecture, costs))

    def epoch_finished(self, number: int, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        self._view.epoch_finished(number, epoch, epochs, metrics)
        self._each(lambda log: log.epoch_finished(number, epoch, epochs, metrics))

    def trial_finished(self, trial: Trial, front: Front) -> None:
        self._view.trial_finished(trial, front)
        self._each(lambda log: log.trial_finished(trial, front))

    def search_finished(self, reason: str) -> None:
        self._view.search_finished(reason)
        self._each(lambda log: log.search_finished(reason))

    def confirmation_started(self, run: Run) -> None:
        self._view.confirmation_started(run)

    def confirmation_finished(self, run: Run) -> None:
        self._view.confirmation_finished(run)

    def note(self, text: str) -> None:
        self._view.note(text)

    def _each(self, event: Callable[[Observer], None]) -> None:
        for name, log in list(self._logs.items()):
            try:
                event(log)
            except Exception as error:
                del self._logs[name]
                self._view.note(f"the log {name} ends here ({type(error).__name__}: {error}); the search goes on")


def with_logs(view: Observer, names: Sequence[str]) -> Observer:
    """The view, with these logs beside it.

    Raises:
        InputError: for an unknown name, or a library that is not installed.
    """
    logs = {}
    for name in names:
        known(name, LOGS, "log")
        make, extra = LOGS[name]
        try:
            logs[name] = make()
        except ImportError:
            raise InputError(f"the log {name} needs a library that is not installed", f"pip install 'se-nas[{extra}]'", "log") from None
    return Logged(view, logs) if logs else view


def hyper_parameters(trial: Trial) -> dict[str, Any]:
    """A trial's choices, by extra dimension and group, its costs, and how it was trained."""
    choices = {**dict(trial.architecture.extra), **{group: str(spec or "no SE") for group, spec in trial.architecture}}
    return {"role": trial.role, "seed": trial.seed, **trial.fidelity, **choices, **trial.costs}


def front_figures(front: Front) -> dict[str, float]:
    """How many architectures are on the front, and the best value of each objective there."""
    figures: dict[str, float] = {"front/architectures": len(front.front)}
    for objective in front.objectives:
        values = [entry.values[objective.name] for entry in front.front if objective.name in entry.values]
        with contextlib.suppress(ValueError):  # nothing is on the front yet
            figures[f"front/best {objective.name}"] = max(values) if objective.direction == "max" else min(values)
    return figures
