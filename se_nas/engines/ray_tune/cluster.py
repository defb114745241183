"""Starts Ray on this machine, closed to others, or joins a cluster and checks its machines."""

from __future__ import annotations

import contextlib
import importlib
import logging
import math
import os
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from se_nas.engines.environment_variables import environment
from se_nas.engines.ray_tune.resources import WorkerResources
from se_nas.engines.ray_tune.sockets import open_to_others
from se_nas.engines.ray_tune.storage import filesystem_of, remove_mark, write_mark
from se_nas.errors import InputError

PACKAGE = Path(__file__).parents[2]
PREFIX = "se-nas-ray-"
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_FORCE_TRIAL_CLEANUP_S": "5",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_THRESHOLD_S": "60",
}
"""Environment variables that keep Ray and Tune from writing files and messages of their own."""


@dataclass(frozen=True)
class ClusterMachine:
    """A machine of the cluster, as a worker on it sees it.

    Attributes:
        name: its host name.
        sees_storage: whether it can read and write the storage of the search.
        gpu_memory: bytes of each of its GPUs.
    """

    name: str
    sees_storage: bool
    gpu_memory: tuple[int, ...]


LOGGERS = ("ray", "ray.tune", "ray.data", "ray.train")


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Keep Ray from printing its processes' output to standard output, which is for results. Its loggers get their levels back."""
    worker: Any = importlib.import_module("ray._private.worker")
    before, worker.print_to_stdstream = worker.print_to_stdstream, lambda *_, **__: None
    levels = [(logger, logger.level) for logger in map(logging.getLogger, LOGGERS)]
    try:
        yield
    finally:
        worker.print_to_stdstream = before
        for logger, level in levels:
            logger.setLevel(level)


INSIDE = {
    "ray._private.worker": ("print_to_stdstream",),
    "ray._private.ray_constants": ("ENABLE_RAY_CLUSTER",),
    "ray._raylet": ("Config", "AuthenticationTokenLoader"),
}
"""Names inside Ray that keep it silent, closed to other machines and behind a token; Ray 2.60 has them."""

FIX = 'take a Ray that is known to hold: pip install "ray[tune]==2.60.*"'


def check_inside() -> None:
    """Raise unless this Ray has what closes it to others.

    Raises:
        InputError: names what is missing.
    """
    import ray

    for module, names in INSIDE.items():
        try:
            missing = [name for name in names if not hasattr(importlib.import_module(module), name)]
        except ImportError:
            missing = [*names]
        if missing:
            raise InputError(f"Ray {ray.__version__} has no {module}.{missing[0]}, so it could not be kept from others", FIX, "engine")


@contextlib.contextmanager
def own_cluster(cpus: float, gpus: float, threads: int) -> Iterator[None]:
    """Start Ray on this machine alone: it listens on loopback, needs a token, and keeps its files in a private directory.

    If the process has a Ray session already, that one is used as it is.
    """
    import ray

    if ray.is_initialized():
        yield
        return
    check_inside()
    listened = open_to_others(os.getpid())  # what the program listens on itself is its own affair
    _sweep()
    directory = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=_short_directory()))
    closed = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    try:
        with environment(closed), _read_again():
            # workers inherit these; with a runtime environment Ray would not use the workers that it starts beforehand
            with environment(worker_variables(threads, gpus > 0)), _loopback():
                # a subdirectory: Ray makes the directory that it is given readable for everybody
                place = str(directory / "r")
                _init(num_cpus=math.ceil(cpus), num_gpus=math.ceil(gpus), include_dashboard=False, _temp_dir=place)
            try:
                if reached := open_to_others(os.getpid()) - listened:
                    problem = f"Ray {ray.__version__} listens on {', '.join(sorted(reached))}, which other machines reach"
                    raise InputError(problem, FIX, "engine")
                yield
            finally:
                ray.shutdown()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def joined_cluster(address: str, threads: int, gpus: bool) -> Iterator[None]:
    """Join a running cluster. This package is sent to its workers.

    Raises:
        InputError: if no cluster answers at the address.
    """
    import ray

    if address.startswith("ray://"):
        raise InputError("a search cannot run through Ray's client", "start it on a machine of the cluster, with auto", "--address")
    if ray.is_initialized():
        yield
        return
    environment_of_workers = {"py_modules": [str(PACKAGE)], "env_vars": worker_variables(threads, gpus, here=False)}
    try:
        _init(address=address, runtime_env=environment_of_workers)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise InputError(f"no cluster answers: {str(error).splitlines()[0]}", "start one (ray start --head)", "--address") from None
    try:
        yield
    finally:
        ray.shutdown()


def worker_variables(threads: int, gpus: bool, here: bool = True) -> dict[str, str]:
    """Environment variables of a worker.

    Args:
        threads: CPU threads.
        gpus: whether workers get GPUs; if not, all GPUs are hidden.
        here: whether workers run on this machine, and so find the modules of this process.
    """
    values = {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE", "RAY_CHDIR_TO_TRIAL_DIR": "0"}
    if here:
        values["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(os.path.abspath(path) for path in sys.path))
    if not gpus:
        values["CUDA_VISIBLE_DEVICES"] = ""
    return values


def survey(storage: str, needs: object = None, timeout: float = 120.0) -> list[ClusterMachine]:
    """Check every machine of the cluster, from a worker on it.

    Args:
        storage: a directory or URI. This process writes a file there, and the workers look for it.
        needs: a class or function that workers must be able to import.
        timeout: seconds that a machine has to answer.

    Raises:
        InputError: if this process cannot write to the storage, or a machine cannot run trials.
    """
    import ray

    mark = write_mark(storage)
    try:
        answers = _on_each(_machines(), 0, look_around, storage, mark, needs)
        return [ClusterMachine(*answer) for answer in ray.get(answers, timeout=timeout)]
    except ray.exceptions.RayError as error:
        lines = [line.strip() for line in str(error).strip().splitlines()]
        reason = next((line for line in lines if "Error: " in line and "Ray" not in line), lines[-1] if lines else type(error).__name__)
        fix = "install what is missing there, your own modules included, or check that machine"
        raise InputError(f"a machine of the cluster cannot run trials: {reason}", fix, "--address") from None
    finally:
        remove_mark(storage, mark)


def fit_together(kit: Any, resources: WorkerResources, number: int, timeout: float = 120.0) -> int:
    """How many trials each worker can train together: ``number``, or that halved until all workers of each machine fit.

    Args:
        kit: a `se_nas.engines.ray_tune.worker.WorkerKit`, in Ray's object store.
        resources: of the workers, none of which has begun.
        number: that is asked for.
        timeout: seconds that a machine has to answer. One whose GPUs are busy does not count.
    """
    import ray

    from se_nas.engines.ray_tune.worker import fitting

    machines = _machines("GPU" if resources.gpus else "CPU")
    sharing = resources.to_a_gpu or math.ceil(resources.workers / max(len(machines), 1))
    answers = _on_each(machines, resources.gpus, fitting, kit, number * sharing)
    there, late = ray.wait(answers, num_returns=len(answers), timeout=timeout) if answers else ([], [])
    for each in late:
        ray.cancel(each)
    return max(1, min(ray.get(there), default=number * sharing) // sharing)


def _machines(resource: str = "") -> list[str]:
    """Ray's names of the machines that are there, or of those that have some of a resource."""
    import ray

    return [node["NodeID"] for node in ray.nodes() if node["Alive"] and (not resource or node["Resources"].get(resource))]


def _on_each(machines: Sequence[str], gpus: float, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Call a function on each machine. Returns Ray's references of the results."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    call = ray.remote(num_cpus=0, max_retries=0)(function)
    more = {"num_gpus": gpus} if gpus else {}
    there = [NodeAffinitySchedulingStrategy(machine, soft=False) for machine in machines]
    return [call.options(scheduling_strategy=each, **more).remote(*arguments) for each in there]


def look_around(storage: str, mark: str, needs: object = None) -> tuple[str, bool, tuple[int, ...]]:
    """Runs on each machine. Returns its name, whether it can read and write the storage, and bytes of its GPUs."""
    import platform

    import torch

    filesystem, path = filesystem_of(storage)
    try:
        with filesystem.open_input_stream(f"{path}/{mark}") as file:
            seen = file.read().decode() == mark
        beside = f"{path}/{mark}-{platform.node()}-{os.getpid()}"
        with filesystem.open_output_stream(beside) as file:
            file.write(b"")
        filesystem.delete_file(beside)
    except OSError:
        seen = False
    memory = tuple(torch.cuda.get_device_properties(i).total_memory for i in range(torch.cuda.device_count()))
    return platform.node(), seen, memory


def _init(**arguments: Any) -> None:
    """Begin a session silently. Signal handlers stay as they are; Ray would replace them."""
    import ray

    here = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)} if here else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ray.init(logging_level=logging.CRITICAL, log_to_driver=False, configure_logging=True, **arguments)
    for number, handler in handlers.items():
        signal.signal(number, handler)
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)


@contextlib.contextmanager
def _read_again() -> Iterator[None]:
    """Make Ray read its environment variables, the token among them, again now and afterwards. It would keep what it read first."""
    raylet = importlib.import_module("ray._raylet")

    def read() -> None:
        raylet.Config.initialize("")
        raylet.AuthenticationTokenLoader.instance().reset_cache()

    read()
    try:
        yield
    finally:
        read()


@contextlib.contextmanager
def _loopback() -> Iterator[None]:
    """Make Ray listen on loopback. It reads the variable for that only when it is imported."""
    from ray._private import ray_constants

    before, ray_constants.ENABLE_RAY_CLUSTER = ray_constants.ENABLE_RAY_CLUSTER, False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def _short_directory() -> str:
    """A directory for temporary files. Its path must be short: Ray's socket names are limited to about 100 characters."""
    usual = tempfile.gettempdir()
    return usual if len(usual) <= 25 else "/tmp"


def _sweep() -> None:
    """Remove the directories of searches that were killed."""
    for path in Path(_short_directory()).glob(f"{PREFIX}*"):
        process = path.name.removeprefix(PREFIX).partition("-")[0]
        if process.isdigit() and path.stat().st_uid == os.getuid() and not _runs(int(process)):
            shutil.rmtree(path, ignore_errors=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
