"""What NNI's training service needs: machines, how many trials at a time, files, and the command of a trial. Loads no NNI."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from se_nas.errors import InputError
from se_nas.evaluate import Evaluator
from se_nas.reading import load_yaml
from se_nas.run.run import START, Run
from se_nas.run.settings import SearchSettings
from se_nas.text import shown


@dataclass(frozen=True)
class RemoteMachine:
    """A machine for remote trials, reached by ssh with a key.

    Attributes:
        host: name or address.
        user: who logs in.
        port: of ssh.
        ssh_key_file: the private key; it must need no passphrase.
        python_path: directory of the python that has se-nas and NNI, ``/opt/se-nas/bin`` for instance.
        gpu_indices: the GPUs to use; empty for all.
    """

    host: str
    user: str
    port: int = 22
    ssh_key_file: str = "~/.ssh/id_rsa"
    python_path: str = ""
    gpu_indices: tuple[int, ...] = ()

    @property
    def is_this(self) -> bool:
        """Whether it is the machine that the search runs on."""
        return self.host in ("localhost", "127.0.0.1")


FORM = "machines:\n  - {host: gpu1, user: me, ssh_key_file: ~/.ssh/id_ed25519, python_path: /opt/se-nas/bin}"


def read_machines(path: str) -> tuple[RemoteMachine, ...]:
    """Read the list ``machines`` of a YAML file.

    Raises:
        InputError: if there is no file, or an entry is wrong.
    """
    if not path:
        raise InputError("the remote service needs machines", f"write a YAML file: {FORM}", "--nni-machines")
    listed = load_yaml(Path(path)).get("machines")
    if not isinstance(listed, list) or not listed:
        raise InputError("it lists no machines", f"write {FORM}", path)
    return tuple(_machine(item, f"{path}, machine {place}") for place, item in enumerate(listed, 1))


def _machine(item: Any, source: str) -> RemoteMachine:
    names = [field.name for field in fields(RemoteMachine)]
    if not isinstance(item, dict) or not {"host", "user"} <= item.keys() <= set(names):
        raise InputError(f"{shown(item)} is not a machine", f"give host and user, and any of {', '.join(names[2:])}", source)
    machine = RemoteMachine(**{**item, "gpu_indices": tuple(item.get("gpu_indices", ()))})
    key = Path(machine.ssh_key_file).expanduser()
    if not key.is_file():
        raise InputError(f"there is no key {key}", "name the private key that logs in there", f"{source}, ssh_key_file")
    return machine


@dataclass(frozen=True)
class Concurrency:
    """How many trials run at a time, and which GPUs each gets, in NNI's terms.

    Attributes:
        workers: number of trials at a time.
        gpus: GPUs that a trial gets; 0 hides all GPUs, None shows it all.
        to_a_gpu: number of trials that share one GPU.
    """

    workers: int
    gpus: int | None
    to_a_gpu: int


def choose_concurrency(settings: SearchSettings, threads: int, machines: int) -> Concurrency:
    """Concurrency as the settings ask for it; what they leave open is filled with what fits.

    Args:
        settings: ``workers``, ``cpus_per_trial``, ``gpus_per_trial`` and ``device`` are used.
        threads: CPU threads of a trial.
        machines: number of remote machines; 0 to run trials on this one.

    Raises:
        InputError: for a number of GPUs that NNI cannot give.
    """
    here = 0 if machines else _gpus_here()
    asked = settings.gpus_per_trial if settings.gpus_per_trial is not None else (None if machines else min(1, here))
    if settings.device == "cpu":
        asked = 0
    if asked and asked > 1 and asked != int(asked):
        raise InputError(f"{asked:g} GPUs a trial", "take a whole number, or a share of one such as 0.25", "--gpus-per-trial")
    if asked and not machines and asked > here:
        raise InputError(f"{asked:g} GPUs a trial, and this machine has {here}", "take fewer", "--gpus-per-trial")
    to_a_gpu = int(1 / asked) if asked and asked < 1 else 1
    gpus = None if asked is None else -int(-asked // 1)
    return Concurrency(settings.workers or _fitting(settings.cpus_per_trial or threads, machines, here, asked, to_a_gpu), gpus, to_a_gpu)


def _fitting(cores_each: float, machines: int, gpus: int, asked: float | None, to_a_gpu: int) -> int:
    """Number of trials that fit."""
    if machines:
        return machines * to_a_gpu
    if asked:
        return int(gpus // asked) if asked >= 1 else gpus * to_a_gpu
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(cores // cores_each))


def _gpus_here() -> int:
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def check_rebuildable(evaluator: Evaluator) -> None:
    """Check that a trial's process can make the evaluator again from ``run.yaml``. Nothing is pickled.

    Raises:
        InputError: if it cannot.
    """
    from se_nas.evaluate.paper import PaperEvaluator
    from se_nas.evaluate.table import TableEvaluator
    from se_nas.evaluate.training import TrainingEvaluator

    if type(evaluator) not in (TrainingEvaluator, PaperEvaluator, TableEvaluator):
        fix = "leave the service out (--engine nni alone), or take --engine ray"
        raise InputError(f"{type(evaluator).__name__} cannot be made again in a trial's process", fix, "nni_service")
    if isinstance(evaluator, TrainingEvaluator) and not isinstance(evaluator.space.backbone, str):
        fix = "name it as package.module:callable, or leave the service out"
        raise InputError("a backbone given as an object cannot be made again in a trial's process", fix, "nni_service")


@dataclass(frozen=True)
class ServiceFiles:
    """Directories of a search through the service, and the command of a trial.

    Attributes:
        folder: NNI writes all its files here.
        code: a trial runs in this directory; it is copied to remote machines.
        weights: trials leave weights here; None if this machine would not see them.
        command: shell command that runs one trial.
    """

    folder: Path
    code: Path
    weights: Path | None
    command: str


def prepare_files(run: Run, settings: SearchSettings, machines: Sequence[RemoteMachine]) -> ServiceFiles:
    """Make the directories.

    Raises:
        InputError: if the run's path has a space, which breaks NNI's shell commands.
    """
    folder = run.path.resolve() / "nni"
    if any(letter.isspace() for letter in str(folder)):
        raise InputError("NNI cannot work in a directory with spaces in its name", "take another --out", str(run.path))
    code = folder / "code"
    code.mkdir(parents=True, exist_ok=True)
    weights = _weights(run, settings, folder, bool(machines))
    told = [str(weights)] if weights else []
    module = ["-m", "se_nas.engines.nni_engine.trial"]
    if machines:
        for file in ("run.yaml", START):
            if (run.path / file).exists():
                shutil.copyfile(run.path / file, code / file)
        return ServiceFiles(folder, code, weights, _first_python(machines, [*module, "run.yaml", *told]))
    python = shlex.join([sys.executable, *module, str(folder.parent / "run.yaml"), *told])
    # relative paths and the user's own modules are found from the directory of the search
    return ServiceFiles(folder, code, weights, f"{shlex.join(['cd', os.getcwd()])} && exec {python}")


def _weights(run: Run, settings: SearchSettings, folder: Path, remote: bool) -> Path | None:
    if (remote and not settings.storage) or settings.keep_weights == "none":
        return None
    weights = Path(settings.storage).resolve() / f"{run.path.resolve().name}-weights" if settings.storage else folder / "weights"
    weights.mkdir(parents=True, exist_ok=True)
    return weights


def _first_python(machines: Sequence[RemoteMachine], arguments: list[str]) -> str:
    """FAULT: NNI runs a remote trial with another python than ``python_path``. This command takes the first one that exists."""
    rest = shlex.join(arguments)
    paths = shlex.join(dict.fromkeys(machine.python_path for machine in machines if machine.python_path))
    find = f'for p in {paths}; do if [ -x "$p/python" ]; then exec "$p/python" {rest}; fi; done; ' if paths else ""
    return f"{find}exec python {rest}"
