from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file

pytest.importorskip("nni")

from oneshot.planted import planted_data, planted_space

from se_nas.errors import InputError
from se_nas.evaluate.settings import TrainSettings
from se_nas.evaluate.training import TrainingEvaluator
from se_nas.oneshot.record import ranking
from se_nas.run.settings import SearchSettings


def test_a_run_keeps_its_ranking_and_trains_no_second_supernet_unless_more_is_asked_for(tmp_path: Path) -> None:
    train = TrainSettings(lr=0.05, augment=False)
    evaluator = TrainingEvaluator(planted_space(reduction=[2, 4]), planted_data(0, train=128, val=64), train)
    settings = SearchSettings(strategy="nni:darts", engine="nni", epochs=1, trials=4, threads=1, train=train)
    epochs: list[int] = []

    def rank(settings: SearchSettings) -> tuple[object, ...]:
        return ranking(tmp_path, evaluator, settings, "cpu", lambda epoch, *_: epochs.append(epoch))

    first = rank(settings)
    assert len(first) == 4 and epochs == [1]
    assert rank(settings) == first == rank(replace(settings, trials=3)) and epochs == [1]
    more = rank(replace(settings, trials=6))
    assert more[:4] == first and len(more) == 6 and epochs == [1, 1]
    assert "useful.conv.weight" in load_file(tmp_path / "one_shot.safetensors")
    assert {path.name for path in tmp_path.iterdir()} == {"one_shot.json", "one_shot.safetensors"}


def test_an_evaluator_that_does_not_train_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not"):
        ranking(tmp_path, lambda *_: None, SearchSettings(strategy="darts"), "cpu", lambda *_: None)  # type: ignore[arg-type, return-value]
    assert not list(tmp_path.iterdir())
