"""How NNI is imported: without its talk, and without waiting for what is never needed.

NNI warns of classes of a newer torch that are none of its business, and gym prints that it is unmaintained: no person can
put either right, and NNI needs that gym. tianshou has numba compile loops over a few dozen steps, which takes longer than
they ever will: it gets them as they are written.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet_imports() -> Iterator[None]:
    """While NNI, Lightning, gym or tianshou are imported."""
    with contextlib.suppress(ImportError):  # gym prints what this table holds
        importlib.import_module("gym_notices.notices").notices.clear()
    with warnings.catch_warnings(), _uncompiled():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def quiet_logs(level: int, *names: str) -> Iterator[None]:
    """While they work: loggers say nothing below a level, and nothing warns."""
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
