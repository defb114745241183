"""NNI's manager: the Node.js process that starts trials. Its files stay in the run's directory, and it leaves nothing running."""

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
from se_nas.engines.nni_engine.service_setup import Concurrency, RemoteMachine

PRELOAD = Path(__file__).with_name("loopback.js")
TRIES = 3
"""Number of ports to try."""

BEGIN = 60
"""Seconds that a manager may take to start."""

ANSWER = 10.0
"""Seconds for the manager to answer."""

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Not through a proxy: the manager is on this machine."""

PATIENCE = 10.0
"""Seconds for processes to end after each signal."""


@dataclass(frozen=True)
class Manager:
    """A running manager.

    Attributes:
        process: leader of the process group of all local trials.
        port: of its web view and its channel to the engine.
        files: its directory.
        tunnels: ssh processes that lead remote machines to it.
    """

    process: subprocess.Popen[bytes]
    port: int
    files: Path
    tunnels: tuple[subprocess.Popen[bytes], ...] = ()

    @property
    def url(self) -> str:
        """Address of its channel."""
        return _url(self.port)

    @property
    def ended(self) -> bool:
        """Whether the process has ended."""
        return self.process.poll() is not None

    @property
    def broken(self) -> str:
        """What of it has ended; "" while all goes on."""
        if self.ended:
            return f"NNI's manager has ended; its log is in {self.files / 'log'}"
        ended = [tunnel for tunnel in self.tunnels if tunnel.poll() is not None]
        return f"an ssh tunnel has ended ({ended[0].args!r}): that machine reaches the manager no more" if ended else ""

    def stderr_of(self, trial_id: str) -> str:
        """The end of a trial's standard error, wherever the trial ran; empty if there is none."""
        with (
            contextlib.suppress(OSError),
            _DIRECT.open(f"http://127.0.0.1:{self.port}/api/v1/nni/trial-file/{trial_id}/stderr", timeout=ANSWER) as file,
        ):
            return str(file.read().decode(errors="replace")).strip()[-2000:]
        return ""


@contextlib.contextmanager
def running_manager(
    folder: Path, command: str, code: Path, concurrency: Concurrency, machines: Sequence[RemoteMachine]
) -> Iterator[Manager]:
    """Start a manager, and end it and its trials afterwards.

    Args:
        folder: directory for all its files.
        command: shell command that runs one trial.
        code: directory that a trial runs in; copied to remote machines.
        concurrency: how many trials at a time, and what each gets.
        machines: remote machines; empty to run trials on this one.
    """
    config = _config(folder, command, code, concurrency, machines)
    process, port, name = _start(folder, config)
    try:
        with _tunnels(machines, port) as tunnels:
            yield Manager(process, port, folder / name, tunnels)
            if machines:
                _ask_to_stop(port)
    finally:
        end_group(process)


def _start(folder: Path, config: Any) -> tuple[subprocess.Popen[bytes], int, str]:
    """A new manager's process, port and name. If another process takes the port first, try another port."""
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
    """End a process group: SIGTERM first, then SIGKILL. ``process`` is its leader."""
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
    return f"ws://localhost:{port}/tuner"  # exactly what the manager expects


def free_port() -> int:
    """A free port on this machine."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _config(folder: Path, command: str, code: Path, concurrency: Concurrency, machines: Sequence[RemoteMachine]) -> Any:
    service: Any = LocalConfig(use_active_gpu=True, max_trial_number_per_gpu=concurrency.to_a_gpu)
    if machines:
        service = RemoteConfig(nni_manager_ip="127.0.0.1", machine_list=[_machine(machine, concurrency) for machine in machines])
    config = NasExperimentConfig("ts", "raw")
    config.training_service = service
    config.trial_concurrency, config.trial_gpu_number = concurrency.workers, concurrency.gpus
    config.experiment_working_directory, config.experiment_name = str(folder), folder.parent.name
    config.log_level = "warning"
    data = config.json()
    for part in (data, data["trainingService"]):  # FAULT: NNI's NAS accepts no other command than its own
        part["trialCommand"], part["trialCodeDirectory"] = command, str(code)
    return SimpleNamespace(
        training_service=service,
        experiment_working_directory=str(folder),
        experiment_name=config.experiment_name,
        log_level=config.log_level,
        json=lambda: data,
    )


def _machine(machine: RemoteMachine, concurrency: Concurrency) -> Any:
    return RemoteMachineConfig(
        host=machine.host,
        user=machine.user,
        port=machine.port,
        ssh_key_file=str(Path(machine.ssh_key_file).expanduser()),
        python_path=machine.python_path or None,
        gpu_indices=list(machine.gpu_indices) or None,
        use_active_gpu=True,
        max_trial_number_per_gpu=concurrency.to_a_gpu,
    )


@contextlib.contextmanager
def _tunnels(machines: Sequence[RemoteMachine], port: int) -> Iterator[tuple[subprocess.Popen[bytes], ...]]:
    """Let remote machines reach the manager through ssh. It listens on this machine only, and the traffic is encrypted."""
    with contextlib.ExitStack() as stack:
        tunnels: list[subprocess.Popen[bytes]] = []
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
            tunnels.append(tunnel)
        yield tuple(tunnels)


def _ask_to_stop(port: int) -> None:
    """Tell the manager to end the remote trials; only it can reach them."""
    from nni.experiment import rest

    with contextlib.suppress(Exception):
        rest.delete(port, "/experiment", None)


@contextlib.contextmanager
def _launcher_for(folder: Path) -> Iterator[None]:
    """FAULTS: NNI writes its list of experiments to the home directory, and gives a manager three seconds to start."""
    check = launcher._check_rest_server
    launcher.Experiments = functools.partial(Experiments, str(folder / "nni-experiments"))  # where the manager finds it
    launcher._check_rest_server = functools.partial(check, retry=BEGIN)
    try:
        yield
    finally:
        launcher.Experiments, launcher._check_rest_server = Experiments, check
