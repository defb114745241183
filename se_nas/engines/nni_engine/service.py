"""Runs trials as processes: an execution engine that talks to NNI's manager, which starts them."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from nni.nas.execution import ExecutionEngine
from nni.nas.execution.event import FinalMetricEvent, TrainingEndEvent
from nni.nas.space import ExecutableModelSpace, ModelStatus
from nni.runtime.tuner_command_channel import TunerCommandChannel

from se_nas.engines.nni_engine.manager import Manager
from se_nas.engines.nni_engine.search_state import SearchState
from se_nas.engines.nni_engine.space import Model
from se_nas.engines.outcome import lost
from se_nas.engines.plan import Job
from se_nas.run.trial import Trial
from se_nas.run.weights import load_weights


class ServiceEngine(ExecutionEngine):
    """Sends jobs to the manager as workers become free, and records what trials report.

    FAULT: NNI's own engine pairs trials and parameters by the order in which both were made, so a trial may get another's
    parameters. Here each trial says which job it took.

    Args:
        state: of the search.
        manager: the running manager.
        weights: directory where trials leave weights; None if this machine does not see it.
        timeout: seconds that a trial may take; 0 for no limit.
    """

    def __init__(self, state: SearchState, manager: Manager, weights: Path | None, timeout: float) -> None:
        super().__init__()
        self._state, self._manager, self._weights, self._timeout = state, manager, weights, timeout
        self._running: dict[int, tuple[Job, Model]] = {}
        self._job_of_trial: dict[str, int] = {}
        self._free, self._counting = 0, threading.Lock()  # changed by this thread and by NNI's
        self._over = threading.Event()
        self._channel = TunerCommandChannel(manager.url)
        self._channel.on_initialize(lambda _: self._channel.send_initialized())
        self._channel.on_request_trial_jobs(self._guarded(self._more_workers))
        self._channel.on_report_metric_data(self._guarded(self._told))
        self._channel.on_trial_end(self._guarded(self._ended))

    @contextlib.contextmanager
    def connected(self) -> Iterator[None]:
        """Connect to the manager, and disconnect afterwards."""
        self._channel.connect()
        listening, looking = (threading.Thread(target=watch, daemon=True) for watch in (self._listen, self._look))
        listening.start()
        looking.start()
        try:
            yield
        finally:
            self._over.set()
            # cut off, NNI tries for ten seconds to hear more, and would log each time: nobody hears that one thread from now on
            logger = logging.getLogger("nni.runtime.command_channel.websocket.channel")  # filters hold for a logger's own records alone
            logger.addFilter(lambda record: threading.current_thread() is not listening)
            self._channel.disconnect()

    # NNI's strategies call these.

    def submit_models(self, *models: Model) -> None:
        for model in models:
            job = self._state.begin(model.job, model.architecture)
            if job is None:
                self.dispatch_model_event(TrainingEndEvent(model, ModelStatus.Invalid))
                continue
            self._running[job.number] = job, model
            with self._counting:
                self._free -= 1
            model.status = ModelStatus.Training
            self._channel.send_trial(job.number, {"job": job.to_json(), "timeout": self._timeout})

    def idle_worker_available(self) -> bool:
        return self._free > 0

    def budget_available(self) -> bool:
        return self._state.more

    def list_models(self, status: ModelStatus | None = None) -> Iterable[ExecutableModelSpace]:
        return [model for _, model in list(self._running.values()) if status in (None, model.status)]

    def wait_models(self, *models: ExecutableModelSpace) -> None:
        self._state.wait()

    # These run in threads of their own.

    def _listen(self) -> None:
        try:
            self._channel.listen(self._over)
        except Exception as error:
            if not self._over.is_set():
                self._state.fatal = self._state.fatal or error

    def _look(self) -> None:
        while not self._over.wait(0.5):
            if broken := self._manager.broken:
                self._state.fatal = self._state.fatal or RuntimeError(broken)

    def _guarded(self, call: Callable[[Any], None]) -> Callable[[Any], None]:
        """Make an exception end the search. It would only end NNI's thread, and the search would wait forever."""

        def guarded(command: Any) -> None:
            try:
                call(command)
            except Exception as error:
                self._state.fatal = self._state.fatal or error

        return guarded

    def _more_workers(self, command: Any) -> None:
        with self._counting:
            self._free += command.count

    def _told(self, command: Any) -> None:
        value = command.value
        if "news" in value:
            news = json.loads(value["news"])
            if "begun" in news:
                self._job_of_trial[command.trial_job_id] = news["begun"]
            else:
                self._state.tell_epoch(**news)
            return
        data = json.loads(value["trial"])
        if "broken" in data:
            raise RuntimeError(f"trial {data['broken']} cannot be run: {data['error']}")
        self._finish(Trial.from_json(data))

    def _ended(self, command: Any) -> None:
        number = self._job_of_trial.pop(command.trial_job_id, None)
        if number is not None and number not in self._running:
            return
        text = self._manager.stderr_of(command.trial_job_id)
        if number is None:
            raise RuntimeError(f"a trial's process ended before it began its trial ({command.event.lower()}): {text}")
        job, _ = self._running[number]
        last = text.splitlines()[-1] if text else "no word of why"
        reason = f"its process ended without a result ({command.event.lower()}): {last}"
        self._finish(lost(job, reason, text, "nni").trial(job))

    def _finish(self, trial: Trial) -> None:
        if trial.number not in self._running:
            return  # told twice: the first word counts
        job, model = self._running[trial.number]
        trial = replace(trial, **vars(job))  # the process decides how the job ended, not what the job is
        self._state.finish(trial, self._take_weights(trial.number))
        if trial.complete:
            self.dispatch_model_event(FinalMetricEvent(model, self._state.reward(trial.values)))
        self.dispatch_model_event(TrainingEndEvent(model, ModelStatus.Trained if trial.complete else ModelStatus.Failed))
        del self._running[job.number]

    def _take_weights(self, number: int) -> Any:
        if self._weights is None:
            return None
        file = self._weights / f"{number}.safetensors"
        weights = load_weights(file)
        file.unlink(missing_ok=True)
        return weights
