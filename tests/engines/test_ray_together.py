"""Several trials as one network on Ray's workers: the same trainings, and no fault that costs another trial."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import digits_space
from worker_evaluators import Joint

import se_nas
from se_nas.engines import ray_tune
from se_nas.run.observer import Observer
from se_nas.run.run import Run
from se_nas.run.trial import Trial

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("session")]


class Listen(Observer):
    """Keeps notes and reports; interrupts the search when a trial has ended, if it is told to."""

    def __init__(self, until: int = -1) -> None:
        self.notes, self.epochs, self.until = list[str](), list[tuple[int, int]](), until

    def note(self, text: str) -> None:
        self.notes.append(text)

    def epoch_finished(self, number: int, epoch: int, epochs: int, metrics: Any) -> None:
        self.epochs.append((number, epoch))

    def trial_finished(self, trial: Trial, front: Any) -> None:
        if trial.number == self.until:
            raise KeyboardInterrupt


def search(out: Path, joint: Any, observer: Observer | None = None, **more: Any) -> Run:
    arguments = {"trials": 12, "epochs": 1, "strategy": "random", "engine": "ray", "workers": 1, "together": 4, **more}
    return se_nas.search(digits_space(), evaluator=joint, out=out, observer=observer, **arguments)


def by_number(run: Run) -> dict[int, tuple[object, ...]]:
    """What must not depend on where and with whom trials ran. Each number is there once."""
    assert sorted(t.number for t in run.trials) == list(range(len(run.trials)))
    return {t.number: (t.role, t.architecture, t.seed, t.status, dict(t.metrics), t.error) for t in run.trials}


@pytest.fixture
def alone(tmp_path: Path) -> Run:
    """The same trials, one after another in this process."""
    return search(tmp_path / "alone", Joint(tmp_path / "alone.calls"), engine="local", workers=0, together=1)


def bad_search(tmp_path: Path, alone: Run, behaviours: dict[int, str], **more: Any) -> tuple[Run, Joint, Listen]:
    """A search of the same trials of which some misbehave; by number."""
    chosen = {t.number: t.architecture.id for t in alone.trials}
    joint, listen = Joint(tmp_path / "calls", {chosen[number]: what for number, what in behaviours.items()}), Listen()
    run = search(tmp_path / "run", joint, listen, **more)
    assert {number: row[1] for number, row in by_number(run).items()} == {t.number: t.architecture for t in alone.trials}
    return run, joint, listen


def test_real_trainings_are_those_of_this_process(tmp_path: Path) -> None:
    train = {"batch_size": 256, "lr": 0.05}
    arguments: dict[str, Any] = {"trials": 8, "epochs": 2, "strategy": "random", "train": train, "keep_weights": "all", "repeats": 2}
    space = digits_space(squeeze=["avg", "std"])
    here = se_nas.search(space, out=tmp_path / "here", **arguments)
    listen = Listen()
    there = se_nas.search(space, out=tmp_path / "there", engine="ray", workers=2, together=3, observer=listen, **arguments)
    ours, theirs = ({t.number: t for t in run.trials} for run in (here, there))
    assert len(there.trials) == 8 and listen.notes == [] and sorted(listen.epochs) == [(number, 1) for number in range(8)]
    for number, trial in ours.items():
        other = theirs[number]
        assert (other.architecture, other.seed, other.role, other.status) == (trial.architecture, trial.seed, trial.role, "complete")
        assert other.metrics["loss"] == pytest.approx(trial.metrics["loss"], abs=0.02)
        first, second = here.load_weights(number), there.load_weights(number)
        assert first is not None and second is not None and first.keys() == second.keys()
        assert all((first[name].float() - second[name].float()).abs().max() < 0.05 for name in first)
    assert len({t.worker for t in there.trials}) <= 2 and all(t.worker.startswith("ray:") and t.seconds > 0 for t in there.trials)
    assert all(theirs[number].seconds == theirs[number - 1].seconds for number in (1, 5, 7))  # each has its share of what all took


def test_two_workers_try_the_same_architectures(tmp_path: Path, alone: Run) -> None:
    joint = Joint(tmp_path / "calls", at_once=2)
    assert by_number(search(tmp_path / "run", joint, workers=2)) == by_number(alone)
    assert set(joint.count.values()) == {1} and joint.sizes == [4, 4, 4]


@pytest.mark.parametrize(
    ("limits", "sizes", "note"),
    [
        ({"most": 2}, [4, *[2] * 6], "2 trials train together, not 4: CUDA out of memory (batch size 8)"),
        ({"most": 0}, [4], "trials train one after another, not 4: it decides by values"),
        ({"fits": 2}, [2] * 6, "2 trials train together, not 4: the memory does not hold more"),
        ({"fits": 1}, [], "trials train one after another, not 4: the memory does not hold more"),
    ],
    ids=["memory", "apart", "two fit", "one fits"],
)
def test_fewer_where_more_cannot_be(tmp_path: Path, alone: Run, limits: dict[str, int], sizes: list[int], note: str) -> None:
    joint, listen = Joint(tmp_path / "calls", **limits), Listen()  # type: ignore[arg-type]
    assert by_number(search(tmp_path / "run", joint, listen)) == by_number(alone)
    assert joint.sizes == sizes and listen.notes == [note] and set(joint.count.values()) == {1}


def test_workers_of_one_machine_share_its_memory(tmp_path: Path, alone: Run) -> None:
    """Four fit into it: two for each of two workers."""
    joint, listen = Joint(tmp_path / "calls", fits=4), Listen()
    assert by_number(search(tmp_path / "run", joint, listen, workers=2)) == by_number(alone)
    assert listen.notes == ["2 trials train together, not 4: the memory does not hold more"] and set(joint.sizes) == {2}


def test_faults_of_single_ones(tmp_path: Path, alone: Run) -> None:
    run, joint, listen = bad_search(tmp_path, alone, {2: "raise", 5: "nan", 6: "diverge"})
    failed = {t.number: t.error for t in run.trials if not t.complete}
    assert failed == {2: "ValueError: shapes differ", 5: "accuracy is nan", 6: "loss is nan in epoch 2"}
    assert set(joint.count.values()) == {1} and joint.sizes == [4, 4, 4] and listen.notes == []


def test_a_worker_that_dies_costs_no_trial(tmp_path: Path, alone: Run) -> None:
    run, joint, listen = bad_search(tmp_path, alone, {5: "die once"})
    assert by_number(run) == by_number(alone) and listen.notes == []
    assert joint.sizes == [4, 4, 4, 4]  # those four began again


def test_what_always_kills_its_worker_fails_alone(tmp_path: Path, alone: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_tune, "RETRIES", 1)
    run, joint, listen = bad_search(tmp_path, alone, {5: "die"})
    failed = {t.number: t.error for t in run.trials if not t.complete}
    assert failed.keys() == {5} and "its worker died 2 times" in str(failed[5])
    assert joint.sizes == [4, 4, 4, 4]
    (note,) = listen.notes
    assert note.startswith("trials 4, 5, 6, 7 their worker died 2 times: ") and note.endswith("; each is tried again, alone")


def test_what_hangs_fails_alone(tmp_path: Path, alone: Run) -> None:
    run, joint, listen = bad_search(tmp_path, alone, {5: "hang"}, trial_timeout=6)
    failed = {t.number: t.error for t in run.trials if not t.complete}
    assert failed == {5: "took more than 6 seconds (--trial-timeout)"} and joint.sizes == [4, 4, 4]
    assert listen.notes == ["trials 4, 5, 6, 7 took more than 24 seconds together; each is tried again, alone"]


def test_an_interrupted_search_goes_on(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"strategy": "nsga2", "trials": 14}
    whole = search(tmp_path / "whole", Joint(tmp_path / "whole.calls"), engine="local", workers=0, **arguments)
    joint, out = Joint(tmp_path / "calls"), tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        search(out, joint, Listen(until=5), **arguments)
    assert [t.number for t in Run.open(out).trials] == list(range(6))  # in the middle of four
    shutil.copytree(out, tmp_path / "other")
    before = Run.open(out).trials
    for path, engine in ((out, "ray"), (tmp_path / "other", "local")):
        run = se_nas.resume(path, evaluator=joint, engine=engine)
        assert run.trials[:6] == before and len(by_number(run)) == len(whole.trials) and run.config["ended"] == "complete"
        assert all(t.complete for t in run.trials)
