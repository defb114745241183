"""What has to be put right in NNI 3.0 from outside, each fault by its name. NNI is frozen, so this is for exactly that version.

Nothing here changes a file of NNI's, and each change is taken back when it is no longer needed.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import importlib.util
import logging
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from se_nas.oneshot.silence import quiet_imports, quiet_logs


def load(module: str) -> Any:
    """FAULT: with newer versions of torch and numpy, importing NNI warns of what its user can do nothing about; see `silence`."""
    with quiet_imports():
        return importlib.import_module(module)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """FAULT: NNI logs to the standard output as soon as it is imported; the view there is ours."""
    with quiet_logs(logging.CRITICAL + 1, "nni"):
        yield


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
