"""Starts Ray on this machine, closed to others, or connects to a cluster; and looks its machines over."""

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
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from se_nas.engines.environment_variables import environment
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
"""Tune writes nothing beside our ledger and says nothing beside our view."""


@dataclass(frozen=True)
class Machine:
    """A machine as a worker on it sees it."""

    name: str
    sees_storage: bool
    gpu_memory: tuple[int, ...]


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Ray prints what its processes have to say to standard output, which is for results; what matters reaches the ledger."""
    worker: Any = importlib.import_module("ray._private.worker")
    before, worker.print_to_stdstream = worker.print_to_stdstream, lambda *_, **__: None
    try:
        yield
    finally:
        worker.print_to_stdstream = before


@contextlib.contextmanager
def own_cluster(cpus: float, gpus: float, threads: int) -> Iterator[None]:
    """Ray on this machine alone: it listens on loopback, with a secret of its own, in a directory of the user's own.

    A session that the person has begun already is used as it is.
    """
    import ray

    if ray.is_initialized():
        yield
        return
    _sweep()
    directory = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=_short_directory()))
    closed = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    try:
        with environment(closed), _read_again():
            # workers inherit this: with a runtime environment Ray would not use those that it starts beforehand
            with environment(worker_variables(threads, gpus > 0)), _loopback():
                # one further down: Ray opens the directory that it is given to everybody
                place = str(directory / "r")
                _init(num_cpus=math.ceil(cpus), num_gpus=math.ceil(gpus), include_dashboard=False, _temp_dir=place)
            try:
                yield
            finally:
                ray.shutdown()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def joined_cluster(address: str, threads: int, gpus: bool) -> Iterator[None]:
    """A cluster that runs already; this package is sent to its workers.

    Raises:
        InputError: if there is none.
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
    """Environment of a worker: its number of threads, no GPU unless it is given one, and on this machine the modules of this process."""
    values = {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE", "RAY_CHDIR_TO_TRIAL_DIR": "0"}
    if here:
        values["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(os.path.abspath(path) for path in sys.path))
    if not gpus:
        values["CUDA_VISIBLE_DEVICES"] = ""
    return values


def survey(storage: str, needs: object = None, timeout: float = 120.0) -> list[Machine]:
    """Look at every machine of the cluster from a worker on it.

    Args:
        storage: a directory, or a URI; a file that this process writes there is looked for.
        needs: a class or function that workers must be able to import.
        timeout: seconds that a machine has to answer.

    Raises:
        InputError: if this process cannot write there, or a machine does not answer.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    mark = write_mark(storage)
    look = ray.remote(num_cpus=0, max_retries=0)(look_around)
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
    answers = [
        look.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(storage, mark, needs) for node in nodes
    ]
    try:
        return [Machine(*answer) for answer in ray.get(answers, timeout=timeout)]
    except ray.exceptions.RayError as error:
        lines = [line.strip() for line in str(error).strip().splitlines()]
        reason = next((line for line in lines if "Error: " in line and "Ray" not in line), lines[-1] if lines else type(error).__name__)
        fix = "install what is missing there (modules of your own, too), or look at that machine"
        raise InputError(f"a machine of the cluster cannot run trials: {reason}", fix, "--address") from None
    finally:
        remove_mark(storage, mark)


def look_around(storage: str, mark: str, needs: object = None) -> tuple[str, bool, tuple[int, ...]]:
    """Runs on each machine: its name, whether it sees the mark and can write beside it, and its GPUs' memory in bytes."""
    import platform

    import torch

    filesystem, path = _filesystem(storage)
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


def write_mark(storage: str) -> str:
    """Write a small file into the storage; its name, which is also what is in it.

    Raises:
        InputError: if that cannot be.
    """
    mark = f"probe-{secrets.token_hex(8)}"
    try:
        filesystem, path = _filesystem(storage)
        filesystem.create_dir(path, recursive=True)
        with filesystem.open_output_stream(f"{path}/{mark}") as file:
            file.write(mark.encode())
        return mark
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be written: {error}", "take a directory or URI that can be (--storage)", storage) from None


def remove_mark(storage: str, mark: str) -> None:
    with contextlib.suppress(OSError):
        filesystem, path = _filesystem(storage)
        filesystem.delete_file(f"{path}/{mark}")


def remove_tree(storage: str) -> None:
    """Delete a directory and all below it, if it is there."""
    with contextlib.suppress(OSError):
        filesystem, path = _filesystem(storage)
        filesystem.delete_dir(path)


def _filesystem(storage: str) -> tuple[Any, str]:
    from pyarrow.fs import FileSystem, LocalFileSystem

    found: tuple[Any, str] = FileSystem.from_uri(storage) if "://" in storage else (LocalFileSystem(), storage)
    return found


def _init(**arguments: Any) -> None:
    """Begin a session, silently; signals keep the handlers that they had, SIGTERM too, which Ray takes for itself."""
    import ray

    here = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)} if here else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ray.init(logging_level=logging.CRITICAL, log_to_driver=False, configure_logging=True, **arguments)
    for number, handler in handlers.items():
        signal.signal(number, handler)
    for name in ("ray", "ray.tune", "ray.data", "ray.train"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


@contextlib.contextmanager
def _read_again() -> Iterator[None]:
    """Ray keeps what it has read of the environment, the secret too: it is to read that again now, and later."""
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
    """Ray reads this when it is imported, which may have been long ago."""
    from ray._private import ray_constants

    before, ray_constants.ENABLE_RAY_CLUSTER = ray_constants.ENABLE_RAY_CLUSTER, False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def _short_directory() -> str:
    """Sockets below it may have no more than about 100 characters."""
    usual = tempfile.gettempdir()
    return usual if len(usual) <= 25 else "/tmp"


def _sweep() -> None:
    """Remove what a search left that was killed."""
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
