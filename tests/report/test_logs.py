"""A search's logs, read back with the readers of TensorBoard and MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from conftest import digits_space

import se_nas
from se_nas.errors import InputError
from se_nas.report.logs import LOGS, hyper_parameters
from se_nas.run.observer import Observer


def evaluator(architecture: se_nas.Architecture, seed: int, fidelity: Mapping[str, int], device: str, report: object) -> se_nas.Evaluation:
    value = int(architecture.id, 16) % 1000 / 1000
    for epoch in (1, 2):
        report(epoch, 2, {"loss": value / epoch})  # type: ignore[operator]
    if value > 0.9:
        raise se_nas.TrialFailed("too good")
    return se_nas.Evaluation({"accuracy": value})


def search(out: Path, **more: object) -> se_nas.Run:
    return se_nas.search(digits_space(), evaluator=evaluator, out=out, trials=6, epochs=2, strategy="random", **more)


def test_tensorboard_has_curves_choices_and_the_front(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = search(tmp_path / "run", log=["tensorboard"])
    run = se_nas.resume(run.path, trials=8, evaluator=evaluator)

    def read(name: str) -> EventAccumulator:
        events = EventAccumulator(str(run.path / "tensorboard" / name))
        events.Reload()
        return events

    for trial in run.trials:
        events = read(f"trial-{trial.number:05d}")
        assert [(event.step, round(event.value, 4)) for event in events.Scalars("loss")] == [
            (epoch, round(int(trial.architecture.id, 16) % 1000 / 1000 / epoch, 4)) for epoch in (1, 2)
        ]
        if trial.complete:
            assert events.Scalars("result/accuracy")[0].value == pytest.approx(trial.metrics["accuracy"])
            assert "_hparams_/session_start_info" in events.PluginTagToContent("hparams")
    front = read("front")
    assert [event.step for event in front.Scalars("front/architectures")] == list(range(1, 9))
    assert front.Scalars("front/best accuracy")[-1].value == pytest.approx(max(entry.values["accuracy"] for entry in run.front.front))


@pytest.mark.slow  # MLflow's database is made by some fifty migrations
def test_mlflow_has_a_run_for_the_search_and_one_for_each_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    run = search(tmp_path / "run", log=["mlflow"])
    run = se_nas.resume(run.path, trials=8, evaluator=evaluator)
    client = MlflowClient()
    experiment = client.get_experiment_by_name("se-nas")
    assert experiment
    every = client.search_runs([experiment.experiment_id])
    (parent,) = [each for each in every if "se_nas.run" in each.data.tags]
    own = {each.data.tags["mlflow.runName"]: each for each in every if each.data.tags.get("mlflow.parentRunId") == parent.info.run_id}
    assert len(every) == 1 + len(own) == 9
    for trial in run.trials:
        logged = own[f"trial {trial.number}"]
        assert logged.data.params == {name: str(value) for name, value in hyper_parameters(trial).items()}
        assert logged.data.tags["se_nas.id"] == trial.architecture.id
        assert logged.info.status == ("FINISHED" if trial.complete else "FAILED")
        assert [m.step for m in client.get_metric_history(logged.info.run_id, "loss")] == [1, 2]
        if trial.complete:
            assert logged.data.metrics["result/accuracy"] == trial.metrics["accuracy"]
    assert [m.step for m in client.get_metric_history(parent.info.run_id, "front/architectures")] == list(range(1, 9))
    assert parent.info.status == "FINISHED"


def test_a_log_that_fails_ends_no_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Observer):
        def epoch_finished(self, *_: object) -> None:
            raise OSError("the server is gone")

    said: list[str] = []

    class Notes(Observer):
        def note(self, text: str) -> None:
            said.append(text)

    monkeypatch.setitem(LOGS, "broken", (Broken, "broken"))
    assert len(search(tmp_path / "run", log=["broken"], observer=Notes()).trials) == 6
    assert said == ["the log broken ends here (OSError: the server is gone); the search goes on"]


def test_what_is_not_there_is_said_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Observer:
        raise ModuleNotFoundError("mlflow")

    monkeypatch.setitem(LOGS, "mlflow", (missing, "mlflow"))
    with pytest.raises(InputError, match=r"log: the log mlflow needs a library that is not installed; pip install 'se-nas\[mlflow\]'"):
        search(tmp_path / "run", log=["mlflow"])
    with pytest.raises(InputError, match="unknown log 'wandb'"):
        search(tmp_path / "run", log=["wandb"])
    assert not (tmp_path / "run").exists()
