"""A training that is stopped after an epoch and goes on gives the very same network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from se_nas.evaluate import takes_checkpoint
from se_nas.evaluate.data import Data
from se_nas.evaluate.settings import TrainSettings
from se_nas.evaluate.training import TrainingEvaluator
from se_nas.space.space import SearchSpace


@pytest.fixture(scope="module")
def few(digits: Data) -> Data:
    return replace(digits, train=digits.train.take(torch.arange(128)))


class Stop(Exception):
    pass


@pytest.mark.parametrize("stops", [[1], [2, 3]])
def test_a_stopped_training_goes_on_as_if_it_had_not_been(tmp_path: Path, resnet8: SearchSpace, few: Data, stops: list[int]) -> None:
    evaluator = TrainingEvaluator(resnet8, few, TrainSettings(batch_size=32))
    arch, seen = resnet8.reference("paper"), []

    def train(checkpoint: Path | None, stop: int = 0) -> Mapping[str, torch.Tensor]:
        def report(epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
            seen.append(epoch)
            if epoch == stop:
                raise Stop

        weights = evaluator(arch, 3, {"epochs": 4}, "cpu", report, checkpoint).weights
        assert weights is not None
        return weights

    whole = train(None)
    seen.clear()
    for stop in stops:
        with pytest.raises(Stop):
            train(tmp_path / "partial.pt", stop)
    parts = train(tmp_path / "partial.pt")
    assert seen == [1, 2, 3, 4]
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert takes_checkpoint(evaluator) and not takes_checkpoint(lambda a, s, f, d, r: None)  # type: ignore[arg-type, return-value]


def test_a_changed_learning_rate_changes_nothing_else(resnet8: SearchSpace, few: Data) -> None:
    evaluator = TrainingEvaluator(resnet8, few, TrainSettings(lr=0.1))
    changed = evaluator.with_learning_rate(1.2)
    assert changed.settings == TrainSettings(lr=0.12) and evaluator.settings.lr == 0.1 and changed.data is few
