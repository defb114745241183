"""What belongs to the process is as it was afterwards, and in other threads all the time."""

from __future__ import annotations

import importlib
import logging
import threading

import pytest
import torch
from torch import nn

from se_nas.exporter.beside.programs import _quiet
from se_nas.exporter.generator.recording import _Recorder


@pytest.mark.parametrize("level", [logging.NOTSET, logging.INFO, logging.ERROR])
def test_converters_put_back_which_logs_are_off(level: int) -> None:
    before = logging.root.manager.disable
    logging.disable(level)
    try:
        with _quiet():
            assert logging.root.manager.disable >= logging.WARNING
        assert logging.root.manager.disable == level
    finally:
        logging.disable(before)


def test_what_records_a_network_replaces_nothing_for_other_threads() -> None:
    network, original = nn.Linear(2, 3), (nn.Module.__call__, max, len)
    recorder, seen = _Recorder(network, lambda module: True, {}), []

    def other() -> None:
        x = torch.ones(4, 2)
        seen.extend([len(x), max(len(x), 2), network(x).shape[0], type(len(x))])

    with recorder.calls_of_modules():
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert seen == [4, 4, 4, int] and (nn.Module.__call__, max, len) == original


def test_two_recordings_wait_for_each_other() -> None:
    original, inside, most = nn.Module.__call__, [], []

    def record() -> None:
        with _Recorder(nn.Linear(2, 3), lambda module: True, {}).calls_of_modules():
            inside.append(1)
            most.append(len(inside))
            threading.Event().wait(0.02)
            inside.pop()

    threads = [threading.Thread(target=record) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 5 and nn.Module.__call__ is original


def test_ray_and_gym_get_back_what_was_quiet() -> None:
    pytest.importorskip("ray")
    from se_nas.engines.ray_tune.cluster import silence

    logger = logging.getLogger("ray")
    before = logger.level
    with silence():
        logger.setLevel(logging.CRITICAL)
    assert logger.level == before
    notices = pytest.importorskip("gym_notices.notices").notices
    from se_nas.oneshot.nni_setup import quiet_imports

    whole = dict(notices)
    with quiet_imports():
        assert not importlib.import_module("gym_notices.notices").notices
    assert notices == whole
