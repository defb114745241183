"""Schedulers that end trials early, and partial trainings that go on elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from conftest import digits_space
from worker_evaluators import Epochs, Lookup, accuracy

import se_nas
from se_nas.engines import ray_tune
from se_nas.evaluate import Evaluation, Report
from se_nas.report.facts import Facts
from se_nas.report.sentences import progress
from se_nas.run.run import Run
from se_nas.strategies.random import RandomStrategy

pytestmark = pytest.mark.usefixtures("session")


def search(tmp_path: Path, scheduler: str, evaluator: object, trials: int = 12, **more: object) -> Run:
    arguments = {"trials": trials, "epochs": 9, "strategy": "random", "engine": "ray", "workers": 1, "scheduler": scheduler, **more}
    return se_nas.search(digits_space(), evaluator=evaluator, out=tmp_path / "run", **arguments)


def check(run: Run, evaluator: Epochs) -> None:
    """Each trial is recorded with what it reached, references with all, and only whole ones are compared."""
    epochs = evaluator.epochs
    for trial in run.trials:
        if trial.role == "copy":
            continue
        worked = max(epoch for name, epoch in epochs if name == trial.architecture.id)
        if trial.complete:
            assert trial.fidelity == {"epochs": 9} and worked == 9
            assert trial.metrics["accuracy"] == pytest.approx(accuracy(trial.architecture, trial.seed))
        else:
            reached = trial.fidelity["epochs"]
            assert trial.status == "stopped" and trial.role == "proposal" and trial.error is None
            assert trial.fidelity == {"epochs": reached, "of": 9} and 1 <= reached < 9
            assert trial.metrics["accuracy"] == pytest.approx(accuracy(trial.architecture, trial.seed) * reached / 9)
    whole = {t.number for t in run.trials if t.complete and t.role != "copy"}
    assert {t.number for entry in run.front.entries for t in entry.trials} == whole
    stopped = [t for t in run.trials if t.stopped]
    assert f"{len(stopped)} stopped early" in progress(Facts.of(run)) and "failed" not in progress(Facts.of(run))


@pytest.mark.slow
def test_asha_stops_the_bad_and_nobody_takes_them_for_whole(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, Mapping[str, float] | None]] = []
    tell = RandomStrategy.tell
    monkeypatch.setattr(RandomStrategy, "tell", lambda self, a, m: (told.append((a.id, m)), tell(self, a, m))[1])  # type: ignore[func-returns-value]
    evaluator = Epochs(tmp_path / "log")
    run = search(tmp_path, "asha", evaluator)
    check(run, evaluator)
    stopped = {t.architecture.id for t in run.trials if t.stopped}
    assert 3 <= len(stopped) <= 9 and len(run.trials) == 12
    assert {name for name, metrics in told if metrics is None} == stopped
    done = [t for t in run.trials if t.role == "proposal" and t.complete]
    best = max(accuracy(t.architecture) for t in run.trials if t.role == "proposal")
    assert max(t.metrics["accuracy"] for t in done) == pytest.approx(best)
    before = run.trials
    resumed = se_nas.resume(run.path, evaluator=evaluator, engine="local", trials=13)
    assert resumed.trials[:12] == before and resumed.trials[12].complete


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 3])
def test_hyperband_pauses_and_goes_on(tmp_path, workers: int) -> None:
    evaluator = Epochs(tmp_path / "log")
    run = search(tmp_path, "hyperband", evaluator, trials=14, workers=workers)
    check(run, evaluator)
    assert len(run.trials) == 14 and any(t.stopped for t in run.trials)
    assert len(set(evaluator.epochs)) == len(evaluator.epochs)  # a paused trial repeats nothing


@pytest.mark.slow
def test_population_based_training_records_its_copies_as_trials_of_their_own(tmp_path) -> None:
    evaluator = Epochs(tmp_path / "log", seconds=0.2)
    run = search(tmp_path, "pbt", evaluator, trials=16, epochs=12, workers=4)
    copies = [t for t in run.trials if t.role == "copy"]
    assert copies and sorted(t.number for t in run.trials) == list(range(16))
    originals = {t.architecture for t in run.trials if t.role != "copy"}
    assert all(t.architecture in originals and t.fidelity.get("copied") for t in copies)
    assert not {t.number for t in copies} & {t.number for entry in run.front.entries for t in entry.trials}
    rates = {line.split()[3] for line in evaluator.log.read_text().splitlines()}
    assert "1.0" in rates and rates & {"0.8", "1.2"}
    before = run.trials
    resumed = se_nas.resume(run.path, evaluator=evaluator, engine="local", trials=18)
    proposed = [t.architecture for t in resumed.trials if t.role == "proposal"]
    assert resumed.trials[:16] == before and len(set(proposed)) == len(proposed)


@pytest.mark.slow
def test_a_killed_worker_loses_no_epoch_that_was_kept(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_tune, "CHECKPOINT_SECONDS", 0.0)
    evaluator = Epochs(tmp_path / "log", dies=digits_space().reference("paper").id)
    run = search(tmp_path, "none", evaluator, trials=2)
    assert all(t.complete for t in run.trials)
    assert [epoch for name, epoch in evaluator.epochs if name == evaluator.dies] == [1, 2, 3, 4, 4, 5, 6, 7, 8, 9]


@pytest.mark.slow
def test_training_on_real_images_under_asha(tmp_path) -> None:
    train = {"batch_size": 256}
    run = se_nas.search(
        digits_space(), trials=8, epochs=4, strategy="random", train=train, out=tmp_path / "run", engine="ray", workers=2, scheduler="asha"
    )
    assert any(t.stopped for t in run.trials) and all(t.fidelity["epochs"] < 4 for t in run.trials if t.stopped)


def test_evaluators_that_cannot_pause_are_refused(tmp_path) -> None:
    class Steady(Lookup):
        def __call__(self, architecture, seed: int, fidelity: Mapping[str, int], device: str, report: Report) -> Evaluation:
            raise NotImplementedError

    for scheduler in ("hyperband", "pbt"):
        with pytest.raises(se_nas.InputError, match="cannot go on with a partial training"):
            search(tmp_path, scheduler, Steady(tmp_path / "calls"))
