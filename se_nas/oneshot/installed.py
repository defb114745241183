"""Whether NNI 3.0 is here, with all that it needs. Needs nothing of it."""

from __future__ import annotations

import importlib.metadata
import importlib.util

from se_nas.errors import InputError

VERSION = "3.0"
NEEDED = ("nni", "pytorch_lightning", "torchmetrics")
NEEDED_FOR_RL = ("tianshou", "gym")


def check_installed(modules: tuple[str, ...] = NEEDED, extra: str = "nni") -> None:
    """FAULT: NNI does not declare what it needs (torchmetrics, pytorch_lightning, tianshou, gym).

    Raises:
        InputError: if something is missing, or NNI is another version than these faults are of.
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f"a search through NNI needs {', '.join(missing)}", f"pip install 'se-nas[{extra}]'", "engine")
    version = importlib.metadata.version("nni")
    if version != VERSION:
        raise InputError(f"NNI is {version}; what is worked around are the faults of {VERSION}", f"pip install nni=={VERSION}", "engine")
