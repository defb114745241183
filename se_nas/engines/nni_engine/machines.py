"""Machines for NNI's remote training service, from a YAML file. Needs neither NNI nor torch."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from se_nas.errors import InputError
from se_nas.space.spacefile import load_yaml


@dataclass(frozen=True)
class Machine:
    """A machine that is reached by ssh, with a key.

    Attributes:
        host: its name or address.
        user: to log in as.
        port: of ssh.
        ssh_key_file: the private key; it must be usable without a passphrase.
        python_path: the directory of the python that has se-nas and NNI, ``/opt/se-nas/bin`` for instance.
        gpu_indices: of the GPUs to use; empty for all.
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


def read_machines(path: str) -> tuple[Machine, ...]:
    """The machines that a file lists under ``machines``.

    Raises:
        InputError: naming the file and what is wrong with it.
    """
    if not path:
        raise InputError("the remote service needs machines", f"write a YAML file: {FORM}", "--nni-machines")
    listed = load_yaml(Path(path)).get("machines")
    if not isinstance(listed, list) or not listed:
        raise InputError("it lists no machines", f"write {FORM}", path)
    return tuple(_machine(item, f"{path}, machine {place}") for place, item in enumerate(listed, 1))


def _machine(item: Any, source: str) -> Machine:
    names = [field.name for field in fields(Machine)]
    if not isinstance(item, dict) or not {"host", "user"} <= item.keys() <= set(names):
        raise InputError(f"{item!r} is not a machine", f"give host and user, and any of {', '.join(names[2:])}", source)
    machine = Machine(**{**item, "gpu_indices": tuple(item.get("gpu_indices", ()))})
    key = Path(machine.ssh_key_file).expanduser()
    if not key.is_file():
        raise InputError(f"there is no key {key}", "name the private key that logs in there", f"{source}, ssh_key_file")
    return machine
