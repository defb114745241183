"""The NNI engine (NNI 3.0): its strategies or ours, with trials in this process or in those of its training service.

Comments and docstrings that begin with FAULT name a fault of NNI's that is worked around. All are worked around from
outside: no file of NNI's changes, and what is patched is restored.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from se_nas.engines.local import not_used_in_one_process
from se_nas.engines.nni_engine.service_setup import check_rebuildable, choose_concurrency, prepare_files, read_machines
from se_nas.engines.nni_names import OURS
from se_nas.engines.plan import Plan
from se_nas.engines.recorder import Recorder
from se_nas.evaluate import Evaluator
from se_nas.evaluate.device import choose_device
from se_nas.goals.objective import parse_objectives
from se_nas.oneshot import ONE_SHOT, check_one_shot
from se_nas.oneshot.nni_setup import NEEDED_FOR_RL, check_installed, import_quietly, quiet_logs
from se_nas.run.observer import Observer
from se_nas.run.run import Run
from se_nas.run.settings import SearchSettings
from se_nas.space.architecture import Architecture
from se_nas.strategies.external import PREFIX, is_external

if TYPE_CHECKING:
    from nni.nas.execution import ExecutionEngine
    from nni.nas.strategy.base import Strategy

    from se_nas.engines.nni_engine.search_state import SearchState
    from se_nas.engines.nni_engine.space import Model

SUPERNET_NOTES = 10
"""Times that the user is told how far the supernet is."""


class NNIEngine:
    """Runs a search through NNI.

    Raises:
        InputError: if NNI or a package that it needs is missing, or a setting does not fit.
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
            check_rebuildable(evaluator)
            threads = settings.threads or getattr(evaluator, "threads", 1)
            self._concurrency = choose_concurrency(settings, threads, len(self._machines))

    def __call__(self, run: Run, plan: Plan, observer: Observer) -> str:
        import_quietly("nni.nas.strategy")
        from se_nas.engines.nni_engine.search_state import SearchState

        recorder = Recorder(run, plan, observer)
        state = SearchState(plan, recorder, parse_objectives(self._settings.objectives, plan.space.units), run.trials)
        with quiet_logs(logging.CRITICAL + 1, "nni"):  # FAULT: NNI logs to standard output as soon as it is imported
            if self._settings.nni_service != "none":
                self._as_processes(run, state, observer)
            else:
                self._here(state, observer)
        return recorder.reason

    def _here(self, state: SearchState, observer: Observer) -> None:
        """Run trials in this process."""
        from se_nas.engines.nni_engine.sequential import SequentialEngine
        from se_nas.engines.nni_engine.space import Model
        from se_nas.engines.nni_engine.strategies import prompt_tpe

        if unused := not_used_in_one_process(self._settings):
            observer.note(f"the nni engine runs one trial at a time in this process; not used: {', '.join(unused)}")
        engine = SequentialEngine(state, self._evaluator, self._device)
        with prompt_tpe(0):
            self._propose(Model(state.space, engine.execute), engine, state, observer)

    def _as_processes(self, run: Run, state: SearchState, observer: Observer) -> None:
        """Run trials as processes of NNI's training service."""
        from se_nas.engines.nni_engine.manager import running_manager
        from se_nas.engines.nni_engine.service import ServiceEngine
        from se_nas.engines.nni_engine.space import Model
        from se_nas.engines.nni_engine.strategies import prompt_tpe

        if self._settings.scheduler != "none":
            observer.note("the nni engine runs trials to their end; not used: scheduler")
        files = prepare_files(run, self._settings, self._machines)
        if files.weights is None and state.recorder.keep != "none":
            observer.note("weights of remote trials stay there: name a directory that all machines see (--storage) to keep them")
        with running_manager(files.folder, files.command, files.code, self._concurrency, self._machines) as manager:
            observer.note(
                f"{self._concurrency.workers} trials at a time by NNI's {self._settings.nni_service} service, http://127.0.0.1:{manager.port}"
            )
            engine = ServiceEngine(state, manager, files.weights, self._settings.trial_timeout)
            with engine.connected(), prompt_tpe(0.05):
                self._propose(Model(state.space, _not_here), engine, state, observer)

    def _propose(self, model: Model, engine: ExecutionEngine, state: SearchState, observer: Observer) -> None:
        """Run the references, then the strategy, until no trial is left or it proposes nothing more."""
        from se_nas.engines.nni_engine.strategies import FixedOrder, PlanStrategy, nni_strategy

        name = self._settings.strategy
        theirs = is_external(name)
        _run(PlanStrategy(state, references_only=theirs), model, engine, state)
        if not theirs or not state.more:
            return
        if self._one_shot:
            _run(FixedOrder(state, self._ranking(state, observer)), model, engine, state)
        else:
            observer.note(f"{name} is NNI's own ({OURS}NAME is ours); it maximises {state.reward}")
            _run(nni_strategy(name, self._settings.seed, state), model, engine, state)
        if state.more:
            observer.note(f"{name} proposes nothing more that is new and within the budgets")

    def _ranking(self, state: SearchState, observer: Observer) -> Sequence[Architecture]:
        """The supernet's ranking, best first. The supernet is trained in this process, wherever trials run."""
        from se_nas.oneshot.record import ranking

        def report(epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
            if epoch * SUPERNET_NOTES // epochs > (epoch - 1) * SUPERNET_NOTES // epochs:
                loss = f", loss {metrics['loss']:.3f}" if "loss" in metrics else ""
                observer.note(f"supernet ({self._settings.strategy}): epoch {epoch} of {epochs}{loss}")

        device = self._device if self._settings.nni_service != "remote" else choose_device(self._settings.device)
        return ranking(state.recorder.path, self._evaluator, self._settings, device, report)


def _run(strategy: Strategy, model: Model, engine: ExecutionEngine, state: SearchState) -> None:
    strategy(model, engine)
    state.wait()
    if state.fatal:
        raise state.fatal


def _not_here(model: Model) -> None:
    raise AssertionError("the service runs trials in other processes")
