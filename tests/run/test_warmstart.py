"""Searches that begin with what an earlier one found."""

from __future__ import annotations

import shutil
from collections.abc import Mapping

import pytest
from conftest import digits_space

import se_nas
from se_nas.evaluate import Evaluation, Report
from se_nas.space.architecture import Architecture


def table(architecture: Architecture, seed: int, fidelity: Mapping[str, int], device: str, report: Report) -> Evaluation:
    return Evaluation({"accuracy": sum(1 / spec.reduction for _, spec in architecture if spec) / 10})


def search(out, **changes):
    return se_nas.search(digits_space(), **{"trials": 10, "evaluator": table, "out": out, "strategy": "known-cost", "seed": 1, **changes})


def test_what_an_earlier_run_tried_is_known(tmp_path) -> None:
    first = search(tmp_path / "first", trials=20)
    second = search(tmp_path / "second", warm_start=str(first.path))
    before = {trial.architecture for trial in first.trials}
    proposals = [trial.architecture for trial in second.trials if trial.role == "proposal"]
    assert len(proposals) == 8 and not before & set(proposals)
    cold = search(tmp_path / "cold")
    assert [t.architecture for t in cold.trials] != [t.architecture for t in second.trials]


def test_a_run_begun_warm_goes_on_without_the_earlier_one(tmp_path) -> None:
    first = search(tmp_path / "first", trials=15)
    whole = search(tmp_path / "whole", warm_start=str(first.path), trials=14)
    search(tmp_path / "part", warm_start=str(first.path), trials=8)
    shutil.rmtree(first.path)
    part = se_nas.resume(tmp_path / "part", evaluator=table, trials=14)
    assert [t.architecture for t in part.trials] == [t.architecture for t in whole.trials]


def test_an_overlapping_space_will_do_and_other_epochs_will_not(tmp_path) -> None:
    wide = se_nas.search(digits_space(reduction=[2, 4, 8]), trials=15, evaluator=table, out=tmp_path / "wide", strategy="random")
    assert len(search(tmp_path / "narrow", warm_start=str(wide.path)).trials) == 10
    with pytest.raises(se_nas.InputError, match="its epochs is 3 and this search's is 5"):
        search(tmp_path / "other", warm_start=str(wide.path), epochs=5)
    with pytest.raises(se_nas.InputError, match="holds no run"):
        search(tmp_path / "none", warm_start=str(tmp_path / "nothing"))
    assert not (tmp_path / "other").exists() and not (tmp_path / "none").exists()
