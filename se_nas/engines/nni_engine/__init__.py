"""Trials by NNI 3.0: its own multi-trial strategies or ours, in this process or as processes of its training service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from se_nas.engines.local import not_used_in_one_process
from se_nas.engines.nni_engine import faults
from se_nas.engines.nni_engine.files import check_travels, lay_out
from se_nas.engines.nni_engine.machines import read_machines
from se_nas.engines.nni_engine.packing import pack
from se_nas.engines.nni_names import OURS
from se_nas.engines.plan import Plan
from se_nas.engines.recorder import Recorder
from se_nas.evaluate import Evaluator
from se_nas.evaluate.device import choose_device
from se_nas.goals.objective import parse_objectives
from se_nas.oneshot import ONE_SHOT, check_one_shot
from se_nas.oneshot.installed import NEEDED_FOR_RL, check_installed
from se_nas.run.observer import Observer
from se_nas.run.run import Run
from se_nas.run.settings import SearchSettings
from se_nas.space.architecture import Architecture
from se_nas.strategies.elsewhere import PREFIX, is_elsewhere

if TYPE_CHECKING:
    from nni.nas.execution import ExecutionEngine
    from nni.nas.strategy.base import Strategy

    from se_nas.engines.nni_engine.desk import Desk
    from se_nas.engines.nni_engine.space import Model


TOLD = 10
"""How often the progress of a supernet is told."""


class NNIEngine:
    """Runs a search through NNI.

    Raises:
        InputError: if NNI or what it needs is missing, or a setting does not fit.
    """

    def __init__(self, evaluator: Evaluator, settings: SearchSettings) -> None:
        check_installed()
        if settings.strategy in (f"{PREFIX}rl", f"{PREFIX}enas"):
            check_installed(NEEDED_FOR_RL, "nni-rl")
        self._evaluator, self._settings = evaluator, settings
        self._one_shot = settings.strategy.removeprefix(PREFIX) in ONE_SHOT
        if self._one_shot:
            check_one_shot(evaluator, settings)
        self._device = choose_device(settings.device) if settings.nni_service != "remote" else "cpu"
        self._machines = read_machines(settings.nni_machines) if settings.nni_service == "remote" else ()
        if settings.nni_service != "none":
            check_travels(evaluator)
            threads = settings.threads or getattr(evaluator, "threads", 1)
            self._packing = pack(settings, threads, len(self._machines))

    def __call__(self, run: Run, plan: Plan, observer: Observer) -> str:
        faults.load("nni.nas.strategy")
        from se_nas.engines.nni_engine.desk import Desk

        recorder = Recorder(run, plan, observer)
        desk = Desk(plan, recorder, parse_objectives(self._settings.objectives), run.trials)
        with faults.quiet():
            if self._settings.nni_service != "none":
                self._as_processes(run, desk, observer)
            else:
                self._here(desk, observer)
        return recorder.reason

    def _here(self, desk: Desk, observer: Observer) -> None:
        """Trials in this process."""
        from se_nas.engines.nni_engine.sequential import Sequential
        from se_nas.engines.nni_engine.space import Model

        if unused := not_used_in_one_process(self._settings):
            observer.note(f"the nni engine runs one trial at a time in this process; not used: {', '.join(unused)}")
        engine = Sequential(desk, self._evaluator, self._device)
        with faults.prompt_tpe(0):
            self._propose(Model(desk.space, engine.execute), engine, desk, observer)

    def _as_processes(self, run: Run, desk: Desk, observer: Observer) -> None:
        """Trials as processes of NNI's training service."""
        from se_nas.engines.nni_engine.manager import running
        from se_nas.engines.nni_engine.service import Service
        from se_nas.engines.nni_engine.space import Model

        if self._settings.scheduler != "none":
            observer.note("the nni engine runs trials to their end; not used: scheduler")
        files = lay_out(run, self._settings, self._machines)
        if files.weights is None and desk.recorder.keep != "none":
            observer.note("weights of remote trials stay there: name a directory that all machines see (--storage) to keep them")
        with running(files.folder, files.command, files.code, self._packing, self._machines) as manager:
            observer.note(
                f"{self._packing.workers} trials at a time by NNI's {self._settings.nni_service} service, http://127.0.0.1:{manager.port}"
            )
            engine = Service(desk, manager, files.weights, self._settings.trial_timeout)
            with engine.connected(), faults.prompt_tpe(0.05):
                self._propose(Model(desk.space, _not_here), engine, desk, observer)

    def _propose(self, model: Model, engine: ExecutionEngine, desk: Desk, observer: Observer) -> None:
        """Let a strategy submit models to an engine of NNI's until no trial is left, or it has no more to propose."""
        from se_nas.engines.nni_engine.strategies import Given, Ours, own

        name = self._settings.strategy
        theirs = is_elsewhere(name)
        _run(Ours(desk, references_only=theirs), model, engine, desk)
        if not theirs or not desk.more:
            return
        if self._one_shot:
            _run(Given(desk, self._ranking(desk, observer)), model, engine, desk)
        else:
            observer.note(f"{name} is NNI's own ({OURS}NAME is ours); it maximises {desk.reward}")
            _run(own(name, self._settings.seed, desk), model, engine, desk)
        if desk.more:
            observer.note(f"{name} proposes nothing more that is new and within the budgets")

    def _ranking(self, desk: Desk, observer: Observer) -> Sequence[Architecture]:
        """What a supernet ranks first; it is trained here, wherever trials run."""
        from se_nas.oneshot.record import ranking

        def report(epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
            if epoch * TOLD // epochs > (epoch - 1) * TOLD // epochs:
                loss = f", loss {metrics['loss']:.3f}" if "loss" in metrics else ""
                observer.note(f"supernet ({self._settings.strategy}): epoch {epoch} of {epochs}{loss}")

        device = self._device if self._settings.nni_service != "remote" else choose_device(self._settings.device)
        return ranking(desk.recorder.path, self._evaluator, self._settings, device, report)


def _run(strategy: Strategy, model: Model, engine: ExecutionEngine, desk: Desk) -> None:
    strategy(model, engine)
    desk.wait()
    if desk.fatal:
        raise desk.fatal


def _not_here(model: Model) -> None:
    raise AssertionError("trials of a service run in processes of their own")
