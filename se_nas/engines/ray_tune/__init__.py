"""The engine on Ray Tune: trials on worker processes, of this machine or of a cluster.

Nothing here imports Ray before the engine is used.
"""

from __future__ import annotations

import importlib.util
import inspect
import os
import shlex
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from se_nas.engines.plan import Plan
from se_nas.engines.ray_tune.packing import Packing, check_memory, pack
from se_nas.engines.recorder import Recorder
from se_nas.errors import InputError
from se_nas.evaluate import Evaluator, takes_checkpoint
from se_nas.goals.objective import parse_objectives
from se_nas.run.observer import Observer
from se_nas.run.run import Run
from se_nas.run.settings import SearchSettings

RETRIES = 3
"""How often a trial is begun again whose worker died."""

CHECKPOINT_SECONDS = 60.0
"""At most so much of a partial training is lost with a worker, beside the epoch that it is in."""


class RayEngine:
    """Runs trials through a `ray.tune.Tuner`; ours are the searcher, the record and the view.

    Args:
        evaluator: sent to each worker once, with its data; it must be picklable.
        settings: engine settings among them.

    Raises:
        InputError: without Ray, or for settings that do not fit this machine or each other.
    """

    def __init__(self, evaluator: Evaluator, settings: SearchSettings) -> None:
        if not all(map(importlib.util.find_spec, ("ray", "pyarrow"))):
            raise InputError("the ray engine needs Ray Tune, which is not installed", 'pip install "se-nas[ray]"', "engine")
        self._evaluator, self._settings = evaluator, settings
        self._metric = _scheduler_metric(evaluator, settings)
        self._threads = _threads(evaluator, settings)
        self._packing = None if settings.address else pack(settings, self._threads, *_this_machine())

    def __call__(self, run: Run, plan: Plan, observer: Observer) -> str:
        from se_nas.engines.environment_variables import environment
        from se_nas.engines.ray_tune.cluster import QUIET, remove_mark, remove_tree, silence, write_mark

        storage = _storage(run, self._settings.storage)
        remove_mark(storage, write_mark(storage))
        with environment(QUIET), silence(), self._cluster():
            try:
                recorder = Recorder(run, plan, observer)
                self._tune(plan, recorder, self._checked(storage), storage)
                return recorder.reason
            finally:
                remove_tree(storage)

    def _cluster(self) -> AbstractContextManager[None]:
        from se_nas.engines.ray_tune.cluster import joined_cluster, own_cluster

        if self._packing is None:
            return joined_cluster(self._settings.address, self._threads, self._settings.gpus_per_trial != 0)
        return own_cluster(self._packing.workers * self._packing.cpus, self._packing.workers * self._packing.gpus, self._threads)

    def _checked(self, storage: str) -> Packing:
        """The packing, once every machine has been looked at."""
        import ray

        from se_nas.engines.ray_tune.cluster import survey

        alone = self._packing is not None and len(ray.nodes()) == 1
        needs = self._evaluator if inspect.isfunction(self._evaluator) else type(self._evaluator)
        machines = [] if alone and self._packing and self._packing.to_a_gpu <= 1 else survey(storage, needs)
        blind = [machine.name for machine in machines if not machine.sees_storage]
        if blind:
            raise InputError(f"not seen from {', '.join(blind)}", "give a directory or URI that all machines share (--storage)", storage)
        packing = self._packing or pack(self._settings, self._threads, *self._cluster_holds(ray.cluster_resources()))
        memory = min((size for machine in machines for size in machine.gpu_memory), default=0)
        if memory and packing.to_a_gpu > 1 and (need := _largest(self._evaluator)):
            check_memory(need, packing, memory)
        return packing

    def _cluster_holds(self, resources: Mapping[str, float]) -> tuple[float, float]:
        """Cores and GPUs; those that a number of workers needs are believed in: a cloud starts machines when they are asked for."""
        workers, share = self._settings.workers, self._settings.gpus_per_trial or 0
        return max(resources.get("CPU", 1), workers), max(resources.get("GPU", 0), workers * share)

    def _tune(self, plan: Plan, recorder: Recorder, packing: Packing, storage: str) -> None:
        from ray import tune
        from ray.tune.error import TuneError

        from se_nas.engines.environment_variables import environment
        from se_nas.engines.ray_tune.desk import Ask, Desk, Tell
        from se_nas.engines.ray_tune.operators import Operators
        from se_nas.engines.ray_tune.scheduler import make_scheduler
        from se_nas.engines.ray_tune.worker import Kit, TrialActor

        settings, operators = self._settings, Operators.of_this_process()
        desk = Desk(plan, recorder, packing, settings.trial_timeout, self._metric)
        kit = Kit(self._evaluator, operators, packing.device, recorder.keep != "none", settings.trial_timeout, CHECKPOINT_SECONDS)
        resources = _resources(packing.cpus)
        with environment({"TUNE_MAX_PENDING_TRIALS_PG": str(packing.workers)}):
            tuner = tune.Tuner(
                tune.with_resources(_with_kit(TrialActor, kit), resources),
                tune_config=tune.TuneConfig(
                    search_alg=Ask(desk),
                    scheduler=make_scheduler(settings.scheduler, settings.epochs, desk.copy, lambda: desk.over),
                    num_samples=-1,
                    reuse_actors=True,
                    trial_name_creator=_name,
                    trial_dirname_creator=_name,
                ),
                run_config=tune.RunConfig(
                    name="trials",
                    storage_path=storage,
                    callbacks=[Tell(desk)],
                    failure_config=tune.FailureConfig(max_failures=RETRIES),
                    verbose=0,
                ),
            )
            try:
                tuner.fit()
            except TuneError:
                if desk.fatal is None:
                    raise
            except OSError as error:
                fix = f"make room or mend it, then go on: se-nas resume {shlex.quote(str(recorder.path))}"
                raise desk.fatal or InputError(f"cannot be written: {error.strerror or error}", fix, storage) from None
            except KeyboardInterrupt:
                desk.leave()
                raise
        if desk.fatal:
            raise desk.fatal


def _with_kit(actor: Any, kit: Any) -> Any:
    import ray
    from ray import tune

    try:
        stored = ray.put(kit)  # by us: a value that Tune fails to store stays in its hooks, and the next `ray.init` fails on it
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"the evaluator cannot be sent to workers: {reason}", "keep it free of open files, locks and the like") from None
    return tune.with_parameters(actor, kit=stored)


def _resources(cpus: float) -> Any:
    from ray import tune

    return lambda config: tune.PlacementGroupFactory([{"CPU": cpus, "GPU": config["gpus"]} if config["gpus"] else {"CPU": cpus}])


def _name(trial: Any) -> str:
    return f"{trial.config['task'].job.number:05d}-{trial.trial_id}"


def _storage(run: Run, named: str) -> str:
    if "://" in named:
        return f"{named.rstrip('/')}/{run.path.name}"
    return str((Path(named) / run.path.name if named else run.path / "ray").resolve())


def _this_machine() -> tuple[float, float]:
    """Cores and GPUs that this process may use."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores, torch.cuda.device_count() if torch.cuda.is_available() else 0


def _threads(evaluator: Evaluator, settings: SearchSettings) -> int:
    """CPU threads of a trial: no more than it has cores, or workers would fight over them."""
    if settings.threads and settings.cpus_per_trial and settings.threads > settings.cpus_per_trial >= 1:
        fix = "take as many cores as threads"
        raise InputError(f"{settings.threads} threads on {settings.cpus_per_trial:g} cores", fix, "--cpus-per-trial")
    wanted = settings.threads or getattr(evaluator, "threads", 1)
    threads = settings.threads or max(1, min(wanted, int(settings.cpus_per_trial or 1)))
    if hasattr(evaluator, "threads"):
        evaluator.threads = threads
    return int(threads)


def _scheduler_metric(evaluator: Evaluator, settings: SearchSettings) -> tuple[str, float]:
    """What a scheduler compares: the first measured objective as it is reported, with 1 or -1 for larger or smaller."""
    measured = next((o for o in parse_objectives(settings.objectives) if not o.known), None)
    name = "accuracy" if measured is None or measured.name == "loss" else measured.name  # a report's loss is of the training
    sign = -1.0 if measured and measured.name == name and measured.direction == "min" else 1.0
    if settings.scheduler != "none":
        if settings.epochs < 2:
            raise InputError("a trial of one epoch cannot end early", "take --epochs 2 or more, or --scheduler none", "--scheduler")
        if settings.scheduler != "asha" and not takes_checkpoint(evaluator):
            fix = "give it a parameter checkpoint (se_nas.evaluate.Evaluator), or take asha"
            raise InputError("the evaluator cannot go on with a partial training", fix, "--scheduler")
        if settings.scheduler == "pbt" and not hasattr(evaluator, "with_learning_rate"):
            raise InputError("the evaluator has no learning rate to change (with_learning_rate)", "take asha or hyperband", "--scheduler")
    return name, sign


def _largest(evaluator: Evaluator) -> int:
    """Bytes that training the largest candidate needs; 0 for an evaluator that does not say."""
    from se_nas.evaluate.memory import training_memory
    from se_nas.evaluate.training import TrainingEvaluator

    if not isinstance(evaluator, TrainingEvaluator):
        return 0
    space, settings = evaluator.space, evaluator.settings
    largest = {space.dearest(metric, within_budgets=True) for metric in ("params", "macs")}
    return max(training_memory(space.build(each), space.input_size, settings.batch_size, settings.amp) for each in largest)
