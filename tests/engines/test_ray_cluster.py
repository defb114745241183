"""A search on several machines: real nodes of Ray, all of them here, with GPUs that are not."""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from conftest import ROOT, digits_space
from worker_evaluators import Epochs

import se_nas
from se_nas.engines import ray_tune
from se_nas.engines.environment_variables import environment
from se_nas.engines.ray_tune import cluster as ray_cluster
from se_nas.engines.ray_tune.cluster import QUIET
from se_nas.run.run import Run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without GPUs and two machines with two each."""
    with environment({**QUIET, "RAY_AUTH_MODE": "disabled", "PYTHONPATH": str(ROOT / "tests")}):
        from ray.cluster_utils import Cluster

        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        cluster.nodes = [cluster.add_node(num_cpus=1, num_gpus=2) for _ in range(2)]
        yield cluster
        cluster.shutdown()


def search(cluster: Any, tmp_path, evaluator: Any, **more: object) -> Run:
    arguments = {"trials": 14, "epochs": 8, "strategy": "random", "cpus_per_trial": 0.25, "gpus_per_trial": 0.5, **more}
    space = digits_space()
    return se_nas.search(space, evaluator=evaluator, out=tmp_path / "run", engine="ray", address=cluster.address, **arguments)


def test_storage_that_machines_do_not_share_is_said_before_anything_is_trained(cluster, tmp_path, monkeypatch) -> None:
    """The head writes its mark; what the machines look at is moved away, as a disk of their own would be."""
    evaluator = Epochs(tmp_path / "log")
    look = ray_cluster.look_around
    monkeypatch.setattr(ray_cluster, "look_around", lambda storage, mark, needs: look(storage + "-of-my-own", mark))
    with pytest.raises(se_nas.InputError, match=r"cannot see it; give a directory or URI that all machines share \(--storage\)"):
        search(cluster, tmp_path, evaluator)
    assert not (tmp_path / "log").exists() and Run.open(tmp_path / "run").trials == []


def test_what_machines_cannot_import_is_said_before_anything_is_trained(cluster, tmp_path, monkeypatch) -> None:
    (tmp_path / "of_my_own.py").write_text("def evaluate(architecture, seed, fidelity, device, report): ...")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(se_nas.InputError, match=r"cannot run trials: .*No module named 'of_my_own'; install what is missing there"):
        search(cluster, tmp_path, importlib.import_module("of_my_own").evaluate)
    assert Run.open(tmp_path / "run").trials == []


def test_an_address_where_nothing_is_is_said(tmp_path) -> None:
    with pytest.raises(se_nas.InputError, match=r"ray's client|cannot run through"):
        se_nas.search(
            digits_space(), evaluator=Epochs(tmp_path / "log"), out=tmp_path / "run", engine="ray", address="ray://10.0.0.1:10001"
        )


def test_a_machine_that_dies_costs_no_trial(cluster, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(ray_tune, "CHECKPOINT_SECONDS", 0.0)
    evaluator = Epochs(tmp_path / "log", seconds=0.5)
    killed: list[float] = []
    there: set[str] = set()
    raylet = psutil.Process(cluster.nodes[0].all_processes["raylet"][0].process.pid)

    def kill() -> None:
        """Once two trials on that machine have an epoch behind them and others to go."""
        while len(there) < 2:
            time.sleep(0.1)
            pids = {str(child.pid) for child in raylet.children(recursive=True)}
            lines = (tmp_path / "log").read_text().splitlines() if (tmp_path / "log").exists() else []
            last = {line.split()[0]: line.split() for line in lines}
            there.clear()
            there.update(name for name, fields in last.items() if fields[4] in pids and int(fields[2]) < 7)
        cluster.remove_node(cluster.nodes[0], allow_graceful=False)
        killed.append(time.monotonic())

    threading.Thread(target=kill, daemon=True).start()
    run = search(cluster, tmp_path, evaluator)
    assert killed and [t.error for t in run.trials] == [None] * 14
    assert sorted(t.number for t in run.trials) == list(range(14)) and run.config["ended"] == "complete"
    assert {t.worker.split(":")[-1] for t in run.trials} == {"cuda"}
    pids = {name: {line.split()[4] for line in evaluator.log.read_text().splitlines() if line.startswith(name)} for name in there}
    assert all(len(each) > 1 for each in pids.values())  # begun on that machine, ended on the other
    again = len(evaluator.epochs) - 14 * 8
    print(f"\nepochs worked again: {again}; {time.monotonic() - killed[0]:.0f} s from the kill to the end")
    assert again <= 8  # of each trial that was there, no more than the epoch it was in and one
    whole = se_nas.search(digits_space(), trials=14, epochs=8, strategy="random", evaluator=Epochs(tmp_path / "2"), out=tmp_path / "whole")
    assert {t.number: t.architecture for t in run.trials} == {t.number: t.architecture for t in whole.trials}
