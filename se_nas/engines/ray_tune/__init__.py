"""The Ray engine: runs trials with Ray Tune, in worker processes on this machine or a cluster.

Ray is imported only when the engine runs.
"""

from __future__ import annotations

import importlib.util
import inspect
import os
import shlex
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from se_nas.engines.job_queue import FULL, JobQueue
from se_nas.engines.plan import Plan
from se_nas.engines.ray_tune.resources import WorkerResources, check_memory, choose_resources
from se_nas.engines.recorder import Recorder
from se_nas.errors import InputError
from se_nas.evaluate import Evaluator, takes_checkpoint
from se_nas.goals.objective import parse_objectives
from se_nas.run.observer import Observer
from se_nas.run.run import Run
from se_nas.run.settings import SearchSettings

RETRIES = 3
"""Times that a trial is begun again after its worker died."""

CHECKPOINT_SECONDS = 60.0
"""A lost worker costs at most so many seconds of training, plus the epoch it was in."""


class RayEngine:
    """Runs trials through a `ray.tune.Tuner`. The plan proposes them, and the run's ledger records them.

    Args:
        evaluator: must be picklable. It is sent to each worker once, with its data.
        settings: of the search.

    Raises:
        InputError: if Ray is not installed, or settings do not fit this machine or each other.
    """

    def __init__(self, evaluator: Evaluator, settings: SearchSettings) -> None:
        if not all(map(importlib.util.find_spec, ("ray", "pyarrow"))):
            raise InputError("the ray engine needs Ray Tune, which is not installed", 'pip install "se-nas[ray]"', "engine")
        self._evaluator, self._settings = evaluator, settings
        self._metric = _scheduler_metric(evaluator, settings)
        self._threads = _threads(evaluator, settings)
        self._resources = None if settings.address else choose_resources(settings, self._threads, *_this_machine())

    def __call__(self, run: Run, plan: Plan, observer: Observer) -> str:
        from se_nas.engines.environment_variables import environment
        from se_nas.engines.ray_tune.cluster import QUIET, silence
        from se_nas.engines.ray_tune.storage import own_directory

        with own_directory(run.path, self._settings.storage) as storage, environment(QUIET), silence(), self._cluster():
            recorder = Recorder(run, plan, observer)
            self._tune(plan, recorder, self._checked(storage), storage)
            return recorder.reason

    def _cluster(self) -> AbstractContextManager[None]:
        from se_nas.engines.ray_tune.cluster import joined_cluster, own_cluster

        if self._resources is None:
            return joined_cluster(self._settings.address, self._threads, self._settings.gpus_per_trial != 0)
        return own_cluster(self._resources.workers * self._resources.cpus, self._resources.workers * self._resources.gpus, self._threads)

    def _checked(self, storage: str) -> WorkerResources:
        """The workers' resources, after a check of every machine."""
        import ray

        from se_nas.engines.ray_tune.cluster import survey

        alone = self._resources is not None and len(ray.nodes()) == 1
        needs = self._evaluator if inspect.isfunction(self._evaluator) else type(self._evaluator)
        machines = [] if alone and self._resources and self._resources.to_a_gpu <= 1 else survey(storage, needs)
        blind = [machine.name for machine in machines if not machine.sees_storage]
        if blind:
            raise InputError(f"{', '.join(blind)} cannot see it", "give a directory or URI that all machines share (--storage)", storage)
        resources = self._resources or choose_resources(self._settings, self._threads, *self._cluster_holds(ray.cluster_resources()))
        memory = min((size for machine in machines for size in machine.gpu_memory), default=0)
        if memory and resources.to_a_gpu > 1 and (need := _largest(self._evaluator)):
            check_memory(need, resources, memory)
        return resources

    def _cluster_holds(self, resources: Mapping[str, float]) -> tuple[float, float]:
        """Cores and GPUs of the cluster, or what ``workers`` need if that is more: a cloud starts machines on demand."""
        workers, share = self._settings.workers, self._settings.gpus_per_trial or 0
        return max(resources.get("CPU", 1), workers), max(resources.get("GPU", 0), workers * share)

    def _tune(self, plan: Plan, recorder: Recorder, resources: WorkerResources, storage: str) -> None:
        from ray import tune
        from ray.tune.error import TuneError

        from se_nas.engines.environment_variables import environment
        from se_nas.engines.ray_tune.cluster import fit_together
        from se_nas.engines.ray_tune.job_tracker import JobTracker, PlanCallback, PlanSearcher
        from se_nas.engines.ray_tune.scheduler import make_scheduler
        from se_nas.engines.ray_tune.worker import Registered, TrialActor, WorkerKit

        settings, registered = self._settings, Registered.here()
        queue = JobQueue(plan, self._evaluator, settings.together, recorder.observer.note)
        tracker = JobTracker(queue, recorder, resources, settings.trial_timeout, self._metric)
        kit = WorkerKit(self._evaluator, registered, resources.device, recorder.keep != "none", settings.trial_timeout, CHECKPOINT_SECONDS)
        stored = _stored(kit)
        if queue.together > 1 and hasattr(self._evaluator, "fits_together"):
            queue.fewer(fit_together(stored, resources, queue.together), FULL)
        with environment({"TUNE_MAX_PENDING_TRIALS_PG": str(resources.workers)}):
            tuner = tune.Tuner(
                tune.with_resources(tune.with_parameters(TrialActor, kit=stored), _placement(resources.cpus)),
                tune_config=tune.TuneConfig(
                    search_alg=PlanSearcher(tracker),
                    scheduler=make_scheduler(settings.scheduler, settings.epochs, tracker.copy, lambda: tracker.over),
                    num_samples=-1,
                    reuse_actors=True,
                    trial_name_creator=_name,
                    trial_dirname_creator=_name,
                ),
                run_config=tune.RunConfig(
                    name="trials",
                    storage_path=storage,
                    callbacks=[PlanCallback(tracker)],
                    failure_config=tune.FailureConfig(max_failures=RETRIES),
                    verbose=0,
                ),
            )
            try:
                tuner.fit()
            except TuneError:
                if tracker.fatal is None:
                    raise
            except OSError as error:
                fix = f"make room or mend it, then go on: se-nas resume {shlex.quote(str(recorder.path))}"
                raise tracker.fatal or InputError(f"cannot be written: {error.strerror or error}", fix, storage) from None
            except KeyboardInterrupt:
                tracker.leave()
                raise
        if tracker.fatal:
            raise tracker.fatal


def _stored(kit: Any) -> Any:
    """A reference to the kit in Ray's object store."""
    import ray

    try:
        return ray.put(kit)  # not by Tune: what it fails to store stays in its hooks, and the next `ray.init` fails on it
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"the evaluator cannot be sent to workers: {reason}", "take open files, locks and the like out of it") from None


def _placement(cpus: float) -> Any:
    """What Tune reserves for a trial, from its config."""
    from ray import tune

    return lambda config: tune.PlacementGroupFactory([{"CPU": cpus, "GPU": config["gpus"]} if config["gpus"] else {"CPU": cpus}])


def _name(trial: Any) -> str:
    return f"{trial.config['task'].jobs[0].number:05d}-{trial.trial_id}"


def _this_machine() -> tuple[float, float]:
    """Number of cores and GPUs that this process may use."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores, torch.cuda.device_count() if torch.cuda.is_available() else 0


def _threads(evaluator: Evaluator, settings: SearchSettings) -> int:
    """CPU threads of a trial: at most its number of cores, or trials would slow each other down."""
    if settings.threads and settings.cpus_per_trial and settings.threads > settings.cpus_per_trial >= 1:
        fix = "take as many cores as threads"
        raise InputError(f"{settings.threads} threads on {settings.cpus_per_trial:g} cores", fix, "--cpus-per-trial")
    wanted = settings.threads or getattr(evaluator, "threads", 1)
    threads = settings.threads or max(1, min(wanted, int(settings.cpus_per_trial or 1)))
    if hasattr(evaluator, "threads"):
        evaluator.threads = threads
    return int(threads)


def _scheduler_metric(evaluator: Evaluator, settings: SearchSettings) -> tuple[str, float]:
    """The metric that a scheduler compares (the first measured objective), and 1 if larger is better or -1 if smaller is."""
    measured = next((o for o in parse_objectives(settings.objectives) if not o.known), None)
    name = "accuracy" if measured is None or measured.name == "loss" else measured.name  # a report holds the training loss
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
    """Estimated bytes for training the largest candidate; 0 for an evaluator that does not train."""
    from se_nas.evaluate.memory import training_memory
    from se_nas.evaluate.training import TrainingEvaluator

    if not isinstance(evaluator, TrainingEvaluator):
        return 0
    space, settings = evaluator.space, evaluator.settings
    largest = {space.dearest(metric, within_budgets=True) for metric in ("params", "macs")}
    return max(training_memory(space.build(each), space.input_size, settings.batch_size, settings.amp) for each in largest)
