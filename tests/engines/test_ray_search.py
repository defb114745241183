"""Searches on Ray workers: the same as in this process, faults included. One session serves the module."""

from __future__ import annotations

import importlib
import shutil
import threading
from collections.abc import Callable

import pytest
from conftest import digits_space
from worker_evaluators import Joint, Lookup

import se_nas
from se_nas.engines import ray_tune
from se_nas.run.run import Run
from se_nas.run.trial import Trial

pytestmark = pytest.mark.usefixtures("session")
RAY = {"engine": "ray", "workers": 1}


def proposals(run: Run) -> list[tuple[object, ...]]:
    """What must not depend on where trials ran."""
    return [(t.number, t.role, t.architecture, t.seed, t.status, dict(t.metrics), t.error, t.after) for t in run.trials]


@pytest.fixture
def lookup(tmp_path) -> Lookup:
    return Lookup(tmp_path / "calls")


@pytest.mark.parametrize("strategy", ["known-cost", *(pytest.param(name, marks=pytest.mark.slow) for name in ("nsga2", "random", "grid"))])
def test_one_worker_tries_what_this_process_would_in_the_same_order(tmp_path, lookup: Lookup, strategy: str) -> None:
    space = digits_space(budgets={"params": "<= +0.89%"})
    arguments = {"trials": 12, "strategy": strategy, "repeats": 2, "seed": 5, "evaluator": lookup}
    here = se_nas.search(space, out=tmp_path / "here", **arguments)
    there = se_nas.search(space, out=tmp_path / "there", **arguments, **RAY)
    assert proposals(there) == proposals(here)
    assert all(space.is_feasible(t.architecture) for t in there.trials if t.role == "proposal")
    assert {t.worker.split(":")[0] for t in there.trials} == {"ray"} and there.config["ended"] == "complete"
    again = se_nas.resume(there.path, evaluator=lookup, engine="local", trials=16)
    assert proposals(again) == proposals(se_nas.resume(here.path, evaluator=lookup, **RAY, trials=16))
    assert [t.worker.split(":")[0] for t in again.trials] == ["ray"] * 12 + ["local"] * 4


def test_a_worker_tries_several_together_as_this_process_does(tmp_path) -> None:
    """The same jobs at a time, each recorded once and in order; one that fails fails alone."""
    arguments = {"trials": 10, "epochs": 2, "repeats": 2, "together": 3}
    plain = se_nas.search(digits_space(), out=tmp_path / "plain", evaluator=Lookup(tmp_path / "0"), **arguments)
    bad = {plain.trials[5].architecture.id: "raise"}
    joint, other = Joint(tmp_path / "here.calls", bad), Joint(tmp_path / "there.calls", bad)
    here = se_nas.search(digits_space(), out=tmp_path / "here", evaluator=joint, **arguments)
    there = se_nas.search(digits_space(), out=tmp_path / "there", evaluator=other, **arguments, **RAY)
    assert proposals(there) == proposals(here) and [t.number for t in there.trials] == list(range(10))
    assert [(t.number, t.error) for t in there.trials if not t.complete] == [(5, "ValueError: shapes differ")]
    assert joint.sizes == other.sizes == [2, 2, 3]  # of three at a time: 0 and 1, 2, 3, 4 and 5, 6 to 8, 9
    assert set(other.count.values()) == {1, 2} and other.count.total() == 10  # a reference has two seeds


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["grid", "random"])
def test_several_workers_try_the_same_architectures(tmp_path, strategy: str) -> None:
    arguments = {"trials": 14, "strategy": strategy}
    here = se_nas.search(digits_space(), out=tmp_path / "here", **arguments, evaluator=Lookup(tmp_path / "local"))
    lookup = Lookup(tmp_path / "calls", at_once=2)
    there = se_nas.search(digits_space(), out=tmp_path / "there", **arguments, evaluator=lookup, engine="ray", workers=2)
    key = {t.number: (t.architecture, dict(t.metrics)) for t in there.trials}
    assert key == {t.number: (t.architecture, dict(t.metrics)) for t in here.trials}
    assert set(lookup.count.values()) == {1}
    assert se_nas.resume(there.path, evaluator=lookup, engine="local").trials == there.trials
    assert set(lookup.count.values()) == {1}


@pytest.mark.slow
def test_training_gives_the_same_networks(tmp_path) -> None:
    train = {"batch_size": 256}
    arguments = {"trials": 3, "epochs": 2, "strategy": "random", "train": train, "keep_weights": "all"}
    here = se_nas.search(digits_space(), out=tmp_path / "here", **arguments)
    there = se_nas.search(digits_space(), out=tmp_path / "there", **arguments, engine="ray", workers=2)
    assert {t.number: t.metrics for t in here.trials} == {t.number: t.metrics for t in there.trials}
    for number in range(3):
        ours, theirs = here.load_weights(number), there.load_weights(number)
        assert ours is not None and theirs is not None
        assert all((ours[name] == theirs[name]).all() for name in ours)


@pytest.mark.slow
def test_a_space_that_ends_early(tmp_path, lookup: Lookup) -> None:
    space = digits_space(share="network", squeeze=["avg"])
    run = se_nas.search(space, trials=50, evaluator=lookup, out=tmp_path / "run", engine="ray", workers=3)
    assert {t.architecture for t in run.trials} == {*space.enumerate(), space.reference("paper")}
    assert run.config["ended"] == "exhausted"


def bad_search(tmp_path, behaviours: dict[int, str], size: int = 8, **arguments: object) -> tuple[dict[int, Trial], Lookup]:
    """A search of some trials, those of some numbers being bad; its trials by number."""
    whole = se_nas.search(digits_space(), trials=size, strategy="random", evaluator=Lookup(tmp_path / "0"), out=tmp_path / "whole")
    chosen = {t.number: t.architecture for t in whole.trials}
    lookup = Lookup(tmp_path / "calls", {chosen[number].id: behaviour for number, behaviour in behaviours.items()})
    run = se_nas.search(digits_space(), trials=size, strategy="random", evaluator=lookup, out=tmp_path / "run", engine="ray", **arguments)
    trials = {t.number: t for t in run.trials}
    assert {number: t.architecture for number, t in trials.items()} == chosen
    return trials, lookup


def test_a_fault_costs_no_more_than_its_trial(tmp_path) -> None:
    """What raises or gives no number is recorded as failed, once."""
    trials, lookup = bad_search(tmp_path, {2: "raise", 4: "nan"}, workers=1, size=5)
    assert {t.number: t.error for t in trials.values() if not t.complete} == {2: "ValueError: shapes differ", 4: "accuracy is nan"}
    assert {number: lookup.count[t.architecture.id] for number, t in trials.items()} == dict.fromkeys(range(5), 1)


@pytest.mark.slow
def test_faults_of_every_kind(tmp_path) -> None:
    """What diverges, runs out of memory or hangs is recorded as failed, once; a killed worker's trial is run again."""
    faults = {2: "raise", 3: "diverge", 4: "nan", 5: "hang", 6: "memory", 7: "die once"}
    trials, lookup = bad_search(
        tmp_path, faults, workers=2, trial_timeout=6
    )  # well above what a busy machine needs to notice a killed worker
    assert {t.number: t.error for t in trials.values() if not t.complete} == {
        2: "ValueError: shapes differ",
        3: "loss is nan in epoch 2",
        4: "accuracy is nan",
        5: "took more than 6 seconds (--trial-timeout)",
        6: "MemoryError: no more",
    }
    assert {number: lookup.count[t.architecture.id] for number, t in trials.items()} == {**dict.fromkeys(range(8), 1), 7: 2}


@pytest.mark.slow
def test_a_trial_that_always_kills_its_worker_fails_in_the_end(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_tune, "RETRIES", 1)
    trials, lookup = bad_search(tmp_path, {5: "die"}, workers=1)
    failed = [t for t in trials.values() if not t.complete]
    assert [t.number for t in failed] == [5] and "its worker died 2 times" in str(failed[0].error)
    assert lookup.count[failed[0].architecture.id] == 2


@pytest.mark.slow
def test_a_reference_that_cannot_be_run_ends_the_search(tmp_path) -> None:
    space = digits_space()
    lookup = Lookup(tmp_path / "calls", {space.reference("paper").id: "raise"})
    with pytest.raises(RuntimeError, match=r"trial 1 \(paper\) cannot be run.*(\n.*)*shapes differ"):
        se_nas.search(space, trials=8, evaluator=lookup, out=tmp_path / "run", **RAY)
    assert [t.number for t in Run.open(tmp_path / "run").trials] == [0]


def test_what_cannot_be_sent_is_said(tmp_path, lookup: Lookup) -> None:
    lookup.bad = {"": threading.Lock()}  # type: ignore[dict-item]
    with pytest.raises(se_nas.InputError, match=r"the evaluator cannot be sent to workers: .*lock"):
        se_nas.search(digits_space(), trials=8, evaluator=lookup, out=tmp_path / "run", **RAY)
    for hook in importlib.import_module("ray._private.worker")._post_init_hooks:
        hook()  # as the next session of Ray in this process will: nothing of the search may stay behind for it


@pytest.mark.slow
def test_own_operators_reach_the_workers(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    from se_nas.se import block as se

    monkeypatch.setattr(se, "GATES", se.GATES)
    se_nas.register_gate("half", _half())
    try:
        run = se_nas.search(
            digits_space(gate=["half"], allow_none=False), trials=3, epochs=1, strategy="random", out=tmp_path / "run", **RAY
        )
    finally:
        del se.GATES["half"]
    assert all(t.complete for t in run.trials)


def _half() -> Callable[[object], object]:
    return lambda x: x * 0.5  # type: ignore[operator, no-any-return]


@pytest.mark.slow
def test_an_interrupted_search_goes_on_on_either_engine(tmp_path, lookup: Lookup) -> None:
    class Impatient(se_nas.Observer):
        def trial_finished(self, trial: Trial, front: object) -> None:
            if trial.number == 4:
                raise KeyboardInterrupt

    arguments = {"trials": 10, "strategy": "nsga2", "evaluator": lookup}
    whole = se_nas.search(digits_space(), out=tmp_path / "whole", **arguments)
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        se_nas.search(digits_space(), out=out, observer=Impatient(), **arguments, **RAY)
    assert len(Run.open(out).trials) == 5
    shutil.copytree(out, tmp_path / "other")
    assert proposals(se_nas.resume(out, evaluator=lookup, engine="local")) == proposals(whole)
    assert proposals(se_nas.resume(tmp_path / "other", evaluator=lookup, engine="ray")) == proposals(whole)
