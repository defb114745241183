"""What is not ours stays, what a killed beginning left goes, and one search at a time: directories of runs."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from conftest import digits_space

import se_nas
from se_nas.cli import main
from se_nas.errors import InputError
from se_nas.evaluate import Evaluation, Report
from se_nas.exporter.card import without_folders
from se_nas.files import own_name
from se_nas.report.html import write_report
from se_nas.run.run import Run
from se_nas.space.architecture import Architecture

CONFIG = {"search": {"objectives": ["accuracy", "params"], "epochs": 1, "trials": 3}, "budgets": []}


def gains(architecture: Architecture, seed: int, fidelity: Mapping[str, int], device: str, report: Report) -> Evaluation:
    return Evaluation({"accuracy": 0.5 + 0.01 * sum(spec is not None for _, spec in architecture)}, {"w": torch.ones(2)})


def search(out: Path, **settings: object) -> Run:
    return se_nas.search(digits_space(), out=out, evaluator=gains, **{"trials": 4, "strategy": "random", **settings})  # type: ignore[arg-type]


def test_a_beginning_that_was_killed_is_swept_up(tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / "lock.owner").write_text("process 1")
    (out / own_name()).write_text("half a run.yaml")
    (out / "warm_start.jsonl").write_text("half a li")
    run = Run.create(out, CONFIG)
    assert sorted(os.listdir(out)) == ["lock.owner", "run.yaml"] and not run.earlier.read()


@pytest.mark.parametrize("name", ["warm_start.jsonl", "notes.txt", "run.part", "trials.jsonl"])
def test_what_a_person_left_there_is_no_beginning(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(InputError, match="is in the way and holds no run"):
        Run.create(tmp_path, CONFIG)
    assert os.listdir(tmp_path) == [name] and (tmp_path / name).read_text() == "mine"


def test_a_search_that_is_refused_changes_nothing_of_the_one_that_holds_the_directory(tmp_path: Path) -> None:
    """However long the moment between is: the winner holds the directory before it writes anything."""
    run = Run.create(tmp_path, CONFIG)
    text = (tmp_path / "run.yaml").read_text()
    with run.lock():
        (tmp_path / "run.yaml").unlink()  # as if the winner had not come that far
        os.remove(tmp_path / "lock.owner")
        with pytest.raises(InputError, match="in use by another search"):
            Run.create(tmp_path, {**CONFIG, "command": "mine"})
        (tmp_path / "run.yaml").write_text(text)
    with pytest.raises(InputError, match="holds a run already"):
        Run.create(tmp_path, {**CONFIG, "command": "mine"})
    assert (tmp_path / "run.yaml").read_text() == text


def test_of_many_that_begin_at_once_one_begins(tmp_path: Path) -> None:
    begun: list[int] = []
    gate = threading.Barrier(8)

    def begin(number: int) -> None:
        gate.wait()
        try:
            Run.create(tmp_path / "run", {**CONFIG, "command": str(number)})
        except InputError:
            return
        begun.append(number)

    threads = [threading.Thread(target=begin, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(begun) == 1 and Run.open(tmp_path / "run").config["command"] == str(begun[0])


def test_all_files_of_a_run_have_the_same_mode(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        run = search(tmp_path / "run")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in run.path.rglob("*") if path.is_file()}
    assert {"run.yaml", "trials.jsonl", "00000.safetensors"} <= modes.keys() and set(modes.values()) == {0o640}


@pytest.mark.parametrize("keep", ["front", "all"])
def test_a_search_killed_at_its_last_trial_keeps_the_same_weights(tmp_path: Path, keep: str) -> None:
    whole = search(tmp_path / "whole", trials=8, keep_weights=keep)
    names = sorted(os.listdir(whole.path / "weights"))
    for number in range(12):  # as if killed between the last line and the tidying, or before the line of a further trial
        whole.save_weights(number, {"w": torch.ones(2)})
    se_nas.resume(whole.path, space=digits_space(), evaluator=gains)
    assert sorted(os.listdir(whole.path / "weights")) == (names if keep == "front" else [f"{n:05d}.safetensors" for n in range(8)])


def test_a_report_takes_the_place_of_a_report_alone(finished_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "thesis.html"
    mine.write_text("<h1>mine</h1>")
    assert main(["report", str(finished_run.path), "-o", str(mine)]) == 2
    assert "is no report of se-nas" in capsys.readouterr().err and mine.read_text() == "<h1>mine</h1>"
    (tmp_path / "link.html").symlink_to(mine)
    with pytest.raises(InputError, match="--force"):
        write_report(finished_run, tmp_path / "link.html")
    write_report(finished_run, tmp_path / "link.html", force=True)
    assert mine.read_text() == "<h1>mine</h1>" and not (tmp_path / "link.html").is_symlink()
    assert main(["report", str(finished_run.path), "-o", str(mine), "--force"]) == 0
    assert main(["report", str(finished_run.path), "-o", str(mine)]) == 0  # now it is a report
    assert sorted(os.listdir(tmp_path)) == ["link.html", "thesis.html"]


@pytest.mark.parametrize("target", ["/", ".", "", "nowhere/x.html"])
def test_a_report_that_cannot_be_written_is_one_line(finished_run: Run, target: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(finished_run.path), "-o", target]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_paths_of_this_machine_stay_here() -> None:
    assert without_folders({"data": "folder:/home/me/images/", "n": [1, "~/w.pt", "a/b", "C:\\x\\y", "timm:net"]}) == {
        "data": "folder:images",
        "n": [1, "w.pt", "a/b", "y", "timm:net"],
    }
