"""NNI's manager: the process of Node.js that starts trials, with its files under the run's directory and nothing left behind."""

from __future__ import annotations

import contextlib
import functools
import os
import shlex
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from nni.experiment import RunMode, launcher
from nni.experiment.config import LocalConfig, RemoteConfig, RemoteMachineConfig
from nni.nas.experiment.config import NasExperimentConfig
from nni.tools.nnictl.config_utils import Experiments

from se_nas.engines.environment_variables import environment
from se_nas.engines.nni_engine.machines import Machine
from se_nas.engines.nni_engine.packing import Packing

PRELOAD = Path(__file__).with_name("loopback.js")
TRIES = 3
"""Ports tried."""

BEGIN = 60
"""Seconds that a manager may take to begin."""

PATIENCE = 10.0
"""Seconds that processes are given to end by themselves."""


@dataclass(frozen=True)
class Manager:
    """A running manager.

    Attributes:
        process: leads a group that all trials of the local service belong to.
        port: of its web view and of everything that speaks to it.
        files: its directory.
    """

    process: subprocess.Popen[bytes]
    port: int
    files: Path

    @property
    def url(self) -> str:
        """Where a strategy speaks to it."""
        return _url(self.port)

    @property
    def ended(self) -> bool:
        """Whether the process is gone."""
        return self.process.poll() is not None

    def stderr_of(self, trial_id: str) -> str:
        """The last that a trial wrote to its standard error, wherever it ran."""
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/nni/trial-file/{trial_id}/stderr") as file,
        ):
            return str(file.read().decode(errors="replace")).strip()[-2000:]
        return ""


@contextlib.contextmanager
def running(folder: Path, command: str, code: Path, packing: Packing, machines: Sequence[Machine]) -> Iterator[Manager]:
    """A manager for as long as the context lasts.

    Args:
        folder: for all its files.
        command: that runs one trial.
        code: directory that a trial runs in; copied to remote machines.
        packing: how many trials at a time, and what each gets.
        machines: to run on; none for this one.
    """
    config = _config(folder, command, code, packing, machines)
    process, port, name = _start(folder, config)
    try:
        with _tunnels(machines, port):
            yield Manager(process, port, folder / name)
            if machines:
                _ask_to_stop(port)
    finally:
        end_group(process)


def _start(folder: Path, config: Any) -> tuple[subprocess.Popen[bytes], int, str]:
    """A new manager, its port and its name; a port that another process takes in between is left to it."""
    for left in reversed(range(TRIES)):
        port = free_port()
        name = f"se-nas-{port}-{int(time.time()) % 10**8}"
        (folder / name / "log").mkdir(parents=True)
        try:
            with environment({"NODE_OPTIONS": f"--require {PRELOAD}", "SE_NAS_NNI_HOME": str(folder)}), _launcher_for(folder):
                process = launcher.start_experiment("create", name, config, port, False, RunMode.Detach, None, _url(port), ["se-nas"])
            return process, port, name
        except RuntimeError as error:
            if "not idle" not in str(error) or not left:
                raise
    raise AssertionError


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process that leads a group, and all of the group: first by asking."""
    for sign, seconds in ((signal.SIGTERM, PATIENCE), (signal.SIGKILL, PATIENCE)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            process.poll()
            try:
                os.killpg(process.pid, 0)
            except ProcessLookupError:
                return
            time.sleep(0.05)


def _url(port: int) -> str:
    return f"ws://localhost:{port}/tuner"  # to the letter what the manager expects


def free_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _config(folder: Path, command: str, code: Path, packing: Packing, machines: Sequence[Machine]) -> Any:
    service: Any = LocalConfig(use_active_gpu=True, max_trial_number_per_gpu=packing.to_a_gpu)
    if machines:
        service = RemoteConfig(nni_manager_ip="127.0.0.1", machine_list=[_machine(machine, packing) for machine in machines])
    config = NasExperimentConfig("ts", "raw")
    config.training_service = service
    config.trial_concurrency, config.trial_gpu_number = packing.workers, packing.gpus
    config.experiment_working_directory, config.experiment_name = str(folder), folder.parent.name
    config.log_level = "warning"
    data = config.json()
    for part in (data, data["trainingService"]):  # NNI's NAS allows no command but its own
        part["trialCommand"], part["trialCodeDirectory"] = command, str(code)
    return SimpleNamespace(
        training_service=service,
        experiment_working_directory=str(folder),
        experiment_name=config.experiment_name,
        log_level=config.log_level,
        json=lambda: data,
    )


def _machine(machine: Machine, packing: Packing) -> Any:
    return RemoteMachineConfig(
        host=machine.host,
        user=machine.user,
        port=machine.port,
        ssh_key_file=str(Path(machine.ssh_key_file).expanduser()),
        python_path=machine.python_path or None,
        gpu_indices=list(machine.gpu_indices) or None,
        use_active_gpu=True,
        max_trial_number_per_gpu=packing.to_a_gpu,
    )


@contextlib.contextmanager
def _tunnels(machines: Sequence[Machine], port: int) -> Iterator[None]:
    """Machines reach the manager through ssh: it listens on this machine alone, and nothing is sent in the clear."""
    with contextlib.ExitStack() as stack:
        for machine in machines:
            if machine.is_this:
                continue
            back = f"{port}:127.0.0.1:{port}"
            command = f"ssh -N -o BatchMode=yes -o ExitOnForwardFailure=yes -R {back} -p {machine.port} -i"
            tunnel = subprocess.Popen(
                [*shlex.split(command), str(Path(machine.ssh_key_file).expanduser()), f"{machine.user}@{machine.host}"],
                start_new_session=True,
            )
            stack.callback(end_group, tunnel)
        yield


def _ask_to_stop(port: int) -> None:
    """Remote trials end when the manager is told to stop; it alone reaches them."""
    from nni.experiment import rest

    with contextlib.suppress(Exception):
        rest.delete(port, "/experiment", None)


@contextlib.contextmanager
def _launcher_for(folder: Path) -> Iterator[None]:
    """FAULTS: the list of experiments goes to the home directory also from Python; and a manager has three seconds to begin."""
    check = launcher._check_rest_server
    launcher.Experiments = functools.partial(Experiments, str(folder / "nni-experiments"))  # where the manager finds it
    launcher._check_rest_server = functools.partial(check, retry=BEGIN)
    try:
        yield
    finally:
        launcher.Experiments, launcher._check_rest_server = Experiments, check
