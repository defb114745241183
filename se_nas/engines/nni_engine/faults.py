"""What has to be put right in NNI 3.0 from outside, each fault by its name. NNI is frozen, so this is for exactly that version.

Nothing here changes a file of NNI's, and each change is taken back when it is no longer needed.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import importlib.util
import logging
import warnings
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from se_nas.errors import InputError
from se_nas.oneshot.silence import quiet_imports

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
        raise InputError(f"the nni engine needs {', '.join(missing)}", f"pip install 'se-nas[{extra}]'", "engine")
    version = importlib.metadata.version("nni")
    if version != VERSION:
        raise InputError(f"NNI is {version}; what is worked around are the faults of {VERSION}", f"pip install nni=={VERSION}", "engine")


def load(module: str) -> Any:
    """FAULT: with newer versions of torch and numpy, importing NNI warns of what its user can do nothing about; see `silence`."""
    with quiet_imports():
        return importlib.import_module(module)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """FAULT: NNI logs to the standard output as soon as it is imported; the view there is ours."""
    logger = logging.getLogger("nni")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def prompt_tpe(seconds: float) -> Iterator[None]:
    """FAULT: NNI's TPE sleeps for a second after each proposal (nni/nas/strategy/hpo.py), whether or not a worker is free.

    Args:
        seconds: that it sleeps instead.
    """
    import time

    hpo = load("nni.nas.strategy.hpo")
    hpo.time = SimpleNamespace(sleep=lambda _: time.sleep(seconds))
    try:
        yield
    finally:
        hpo.time = time
