"""Searches from a start: made once, kept, resumed, sent to workers, compared."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import digits_space

import se_nas
from se_nas.cli import main
from se_nas.evaluate.settings import TrainSettings
from se_nas.evaluate.start import digest, read_weights
from se_nas.evaluate.training import TrainingEvaluator
from se_nas.run.observer import Observer
from se_nas.run.run import START, Run
from se_nas.run.settings import SearchSettings, resolve_settings

QUICK: dict[str, Any] = {"trials": 3, "epochs": 1, "strategy": "random", "train": {"batch_size": 256}}


class Notes(Observer):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, list[str]]:
    """A search whose plain backbone was trained first; tests leave it as it is."""
    notes = Notes()
    out = tmp_path_factory.mktemp("started") / "run"
    return se_nas.search(digits_space(), out=out, start="train", start_epochs=2, observer=notes, **QUICK), notes.texts


def metrics(run: Run) -> dict[int, dict[str, float]]:
    return {trial.number: dict(trial.metrics) for trial in run.trials}


def test_the_start_is_part_of_the_run_and_said(started: tuple[Run, list[str]]) -> None:
    run, notes = started
    weights, metadata = read_weights(str(run.path / START))
    about = run.config["start"]
    assert about["digest"] == digest(weights) and (about["from"], about["epochs"]) == ("train", 2)
    assert {"mean", "std"} <= metadata.keys() and run.config["normalisation"]["mean"]
    assert run.config["space"]["init"] == "identity" and run.space.options.init == "identity"
    assert (
        any("SE blocks from the identity (init: identity); trained, at shares of train.lr: SE blocks 0.3, the last" in n for n in notes)
        and not (run.path / "start.pt").exists()
    )
    plain = run.space.build(run.space.reference("plain"))
    plain.load_state_dict(dict(weights))


def test_plain_trains_on_as_every_candidate_does(started: tuple[Run, list[str]]) -> None:
    run, _ = started
    weights, kept = read_weights(str(run.path / START))[0], run.load_weights(0)
    assert kept is not None and {name for name in kept if not kept[name].equal(weights[name])} == {"fc.weight", "fc.bias"}


def test_what_counts_in_the_end_trains_all_weights(started: tuple[Run, list[str]], tmp_path: Path) -> None:
    """Trials leave the backbone as it is; a confirmation from the same start does not, unless the search says so."""
    confirmed = se_nas.confirm(shutil.copytree(started[0].path, tmp_path / "run"), top=1, seeds=2)
    kept = confirmed.load_weights(next(trial.number for trial in confirmed.confirmed if trial.complete))
    weights = dict(read_weights(str(confirmed.path / START))[0])
    assert kept is not None and not kept["conv1.weight"].equal(weights["conv1.weight"])
    assert kept["bn1.running_mean"].equal(weights["bn1.running_mean"])
    with pytest.raises(se_nas.InputError, match="cache: a confirmation trains all weights: nothing can be kept"):
        se_nas.confirm(confirmed.path, cache=1.0)
    frozen = SearchSettings(start="train", cache=1.0, train=TrainSettings(freeze="backbone"))
    assert frozen.whole == frozen and SearchSettings(start="train", cache=1.0).whole.cache is None


def test_what_is_ranked_by_default(started: tuple[Run, list[str]]) -> None:
    """Where se-nas trains, the loss; a weighted product and a prior need what is maximised, and others may tell no loss."""
    assert [objective.name for objective in started[0].objectives] == ["loss", "params"]
    assert started[0].config["search"]["objectives"] == ["loss", "params"]
    assert resolve_settings({}, "search", {}).objectives == ("loss", "params")
    others: list[dict[str, Any]] = [{"evaluator": "table:some.jsonl"}, {"engine": "outside"}, {"prior": "paper"}, {"trade": "weighted"}]
    for given in (*others, {"start": "train", "trade": "weighted"}, {"start": "train", "objectives": ("accuracy", "params")}):
        assert resolve_settings(given, "search", {}).objectives == ("accuracy", "params")
    with pytest.raises(se_nas.InputError, match="search, objectives: no objective"):
        resolve_settings({"objectives": []}, "search", {})


def test_a_search_goes_on_from_the_same_start(started: tuple[Run, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, _ = started
    copied = shutil.copytree(run.path, tmp_path / "run")
    monkeypatch.setattr(TrainingEvaluator, "from_scratch", lambda self: pytest.fail("the start was made again"))
    assert len(se_nas.resume(copied, trials=4).trials) == 4
    weights = dict(read_weights(str(copied / START))[0])
    from safetensors.torch import save_file

    save_file({**weights, "fc.bias": weights["fc.bias"] + 1}, copied / START)
    with pytest.raises(se_nas.InputError, match=r"is not the start that run\.yaml names"):
        se_nas.resume(copied, trials=5)


def test_a_start_that_was_broken_off_is_finished_with_the_same_result(started: tuple[Run, list[str]], tmp_path: Path) -> None:
    class Stop(Observer):
        def note(self, text: str) -> None:
            if "epoch 1 of 2" in text:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        se_nas.search(digits_space(), out=tmp_path / "run", start="train", start_epochs=2, observer=Stop(), **QUICK)
    assert (tmp_path / "run" / "start.pt").exists() and not Run.open(tmp_path / "run").trials
    run = se_nas.resume(tmp_path / "run")
    assert run.config["start"] == started[0].config["start"] and metrics(run) == metrics(started[0])


def test_another_search_starts_from_a_runs_own_file(started: tuple[Run, list[str]], tmp_path: Path) -> None:
    """The file says how its images were normalised; with the same seed the trials are the same."""
    file = str(started[0].path / START)
    run = se_nas.search(digits_space(), out=tmp_path / "run", start=file, **QUICK)
    assert run.config["start"]["digest"] == started[0].config["start"]["digest"]
    assert metrics(run) == metrics(started[0])


def test_a_head_of_other_classes_is_fitted_once(started: tuple[Run, list[str]], tmp_path: Path) -> None:
    from safetensors.torch import save_file

    weights = dict(read_weights(str(started[0].path / START))[0])
    weights |= {"fc.weight": torch.zeros(4, 64), "fc.bias": torch.zeros(4)}
    save_file(weights, tmp_path / "four.safetensors")
    notes = Notes()
    arguments = {**QUICK, "start": str(tmp_path / "four.safetensors"), "normalise": "data", "observer": notes}
    run = se_nas.search(digits_space(), out=tmp_path / "run", **{**arguments, "train": {"freeze": "backbone", "lr_head": 0.0}})
    assert run.config["start"]["head"] == "fitted" and any("a new head (fc) of 10 classes" in note for note in notes.texts)
    kept = read_weights(str(run.path / START))[0]
    assert run.config["start"]["accuracy"] > 0.8
    found = run.load_weights(0)
    assert found is not None and all(value.equal(kept[name]) for name, value in found.items())


def test_warm_start_takes_the_earlier_runs_start(started: tuple[Run, list[str]], tmp_path: Path) -> None:
    run, _ = started
    warm = se_nas.search(digits_space(), out=tmp_path / "warm", start="train", start_epochs=2, warm_start=str(run.path), **QUICK)
    assert warm.config["start"] == run.config["start"]
    with pytest.raises(se_nas.InputError, match="its start is train and this search's is scratch: results cannot be compared"):
        se_nas.search(digits_space(), out=tmp_path / "cold", warm_start=str(run.path), **QUICK)
    first = se_nas.search(digits_space(), out=tmp_path / "first", start=str(run.path / START), **QUICK)
    other = tmp_path / "other.safetensors"
    shutil.copy(run.path / START, other)
    arguments = {**QUICK, "start": str(other), "warm_start": str(tmp_path / "second")}
    shutil.copytree(first.path, tmp_path / "second")
    text = (tmp_path / "second/run.yaml").read_text().replace(str(run.path / START), str(other))
    (tmp_path / "second/run.yaml").write_text(text.replace(first.config["start"]["source"], "0" * 64))
    with pytest.raises(se_nas.InputError, match="the earlier run started from other weights"):
        se_nas.search(digits_space(), out=tmp_path / "third", **arguments)


@pytest.mark.slow
def test_workers_of_ray_start_from_the_same(started: tuple[Run, list[str]], tmp_path: Path) -> None:
    pytest.importorskip("ray")
    run = se_nas.search(digits_space(), out=tmp_path / "run", start="train", start_epochs=2, engine="ray", workers=2, **QUICK)
    assert run.config["start"] == started[0].config["start"] and metrics(run) == metrics(started[0])


@pytest.mark.slow
def test_processes_of_nni_start_from_the_same(started: tuple[Run, list[str]], tmp_path: Path) -> None:
    pytest.importorskip("nni")
    arguments = {**QUICK, "strategy": "se-nas:random", "engine": "nni", "nni_service": "local", "workers": 1}
    run = se_nas.search(digits_space(), out=tmp_path / "run", start="train", start_epochs=2, **arguments)
    assert run.config["start"] == started[0].config["start"] and metrics(run) == metrics(started[0])


SPACE = "backbone: resnet8\nbackbone_args: {in_channels: 1}\ninput_size: [1, 8, 8]\nreduction: [4]\n"


@pytest.mark.parametrize(
    ("more", "flags", "message"),
    [
        ("init: default\n", ["--start", "train"], "init: SE blocks that begin at random would spoil the start's features; leave init out"),
        ("", ["--start", "nothing"], "--start: 'nothing' is no start; take scratch, trained, train or a file PATH.safetensors"),
        ("", ["--start", "trained"], "resnet8 brings no trained weights"),
        ("", ["--start", "none.safetensors"], "there is no file 'none.safetensors'"),
        ("", ["--start-epochs", "3"], "--start-epochs: start scratch trains nothing first"),
        ("", ["--train", "freeze=head"], "--train, train.freeze: unknown freeze 'head'"),
        ("", ["--cache", "1"], "--cache: only of a frozen backbone can something be kept; leave cache out, or take a start"),
        ("", ["--train", "freeze=backbone"], "--train, train.freeze: fresh weights cannot stay as they are"),
        ("extra: {width: [8, 16]}\n", ["--start", "train"], "extra: width makes several backbones"),
        ("", ["--evaluator", "paper", "--start", "train"], "--start: evaluator paper trains nothing"),
    ],
)
def test_bad_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str], more: str, flags: list[str], message: str) -> None:
    (tmp_path / "space.yaml").write_text(SPACE + more)
    assert main(["search", str(tmp_path / "space.yaml"), *flags, "--out", str(tmp_path / "run")]) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "run").exists()


def test_an_own_evaluator_has_its_own_start(tmp_path: Path) -> None:
    def table(*_: Any) -> se_nas.Evaluation:
        return se_nas.Evaluation({"accuracy": 0.5})

    with pytest.raises(se_nas.InputError, match="start train is of se-nas's own training"):
        se_nas.search(digits_space(), evaluator=table, start="train", out=tmp_path / "run")
