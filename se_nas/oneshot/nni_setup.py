"""Checks that NNI 3.0 is installed, and imports it quietly. Loads nothing of NNI itself."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import importlib.util
import logging
import warnings
from collections.abc import Iterator
from typing import Any

from se_nas.errors import InputError

VERSION = "3.0"
NEEDED = ("nni", "pytorch_lightning", "torchmetrics")
NEEDED_FOR_RL = ("tianshou", "gym")


def check_installed(modules: tuple[str, ...] = NEEDED, extra: str = "nni") -> None:
    """FAULT: NNI does not declare all that it needs (torchmetrics, pytorch_lightning, tianshou, gym).

    Args:
        modules: names of the modules that must be there.
        extra: the extra of se-nas that installs them.

    Raises:
        InputError: if a module is missing, or NNI is not version 3.0, whose faults are worked around.
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f"a search through NNI needs {', '.join(missing)}", f"pip install 'se-nas[{extra}]'", "engine")
    version = importlib.metadata.version("nni")
    if version != VERSION:
        raise InputError(f"NNI is {version}, and se-nas works with {VERSION} only", f"pip install nni=={VERSION}", "engine")


def import_quietly(module: str) -> Any:
    """Import a module within `quiet_imports`."""
    with quiet_imports():
        return importlib.import_module(module)


@contextlib.contextmanager
def quiet_imports() -> Iterator[None]:
    """Silence warnings while NNI, Lightning, gym or tianshou are imported, and turn off numba's compilation.

    FAULT: NNI warns of classes of newer versions of torch and numpy, and gym prints that it is unmaintained. Users can
    change neither. tianshou lets numba compile loops over a few dozen steps, which takes longer than running them.
    """
    notices: dict[str, str] = {}
    with contextlib.suppress(ImportError):
        notices = importlib.import_module("gym_notices.notices").notices
    told = dict(notices)
    notices.clear()  # gym prints this table
    try:
        with warnings.catch_warnings(), _uncompiled():
            warnings.simplefilter("ignore")
            yield
    finally:
        notices.update(told)


@contextlib.contextmanager
def quiet_logs(level: int, *names: str) -> Iterator[None]:
    """Ignore warnings, and log messages below ``level`` of the loggers ``names``. Both are restored afterwards."""
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for logger in loggers:
                logger.setLevel(level)
            yield
        finally:
            for logger, old in zip(loggers, before, strict=True):
                logger.setLevel(old)


@contextlib.contextmanager
def _uncompiled() -> Iterator[None]:
    try:
        config = importlib.import_module("numba").config
    except ImportError:
        yield
        return
    before, config.DISABLE_JIT = config.DISABLE_JIT, 1
    try:
        yield
    finally:
        config.DISABLE_JIT = before
