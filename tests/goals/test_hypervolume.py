from __future__ import annotations

import numpy as np
import pytest

from se_nas.goals.hypervolume import dominated_volume, hypervolume
from se_nas.goals.objective import Objective


def test_by_hand() -> None:
    assert dominated_volume([]) == 0
    assert dominated_volume([[2.0], [3.0], [-1.0]]) == 3
    assert dominated_volume([[1, 3], [2, 2], [3, 1], [1, 1], [-1, 9]]) == 6
    assert dominated_volume([[1, 1, 1], [2, 1, 0.5], [2, 1, 0.5]]) == 1.5


@pytest.mark.parametrize("objectives", [2, 3, 4])
def test_against_counting_points(objectives: int) -> None:
    rng = np.random.default_rng(objectives)
    gains = rng.random((12, objectives))
    inside = (rng.random((40_000, 1, objectives)) < gains).all(2).any(1).mean()
    assert dominated_volume(gains) == pytest.approx(inside, abs=0.01)


def test_directions_and_reference() -> None:
    objectives = [Objective("accuracy", "max"), Objective("params", "min")]
    points = [{"accuracy": 0.9, "params": 5}, {"accuracy": 0.8, "params": 2}, {"accuracy": 0.1, "params": 1}]
    assert hypervolume(points, objectives, {"accuracy": 0.5, "params": 10}) == pytest.approx(0.4 * 5 + 0.3 * 3)
