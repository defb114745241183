"""The exact front of sums over blocks (benchmarks/imagenet_se.py): nothing that is drawn beats it, and all of it can be had."""

from __future__ import annotations

import numpy as np
from imagenet_se import BLOCKS, area, front, settings, worth


def test_nothing_drawn_beats_the_front() -> None:
    rng = np.random.default_rng(0)
    gains = [rng.normal(size=len(settings(block))) for block in BLOCKS]
    costs = [rng.integers(1, 30, len(settings(block))).astype(float) for block in BLOCKS]
    for allowed in ((0, 1), (0,), (1,)):
        gain, cost = front(gains, costs, allowed)
        assert (np.diff(gain) > 0).all() and (np.diff(cost) > 0).all()
        draws = [rng.choice(np.flatnonzero(np.isin(settings(block)[:, 3], allowed)), 20_000) for block in BLOCKS]
        drawn_gain = sum(table[codes] for table, codes in zip(gains, draws, strict=True))
        drawn_cost = sum(table[codes] for table, codes in zip(costs, draws, strict=True))
        reach = np.searchsorted(cost, drawn_cost, side="right") - 1
        assert (reach >= 0).all() and (drawn_gain <= gain[reach] + 1e-9).all()
        assert np.isclose(cost[0], sum(table[np.isin(settings(b)[:, 3], allowed)].min() for b, table in zip(BLOCKS, costs, strict=True)))
        assert np.isclose(gain[-1], sum(table[np.isin(settings(b)[:, 3], allowed)].max() for b, table in zip(BLOCKS, gains, strict=True)))
    shares = worth(gains, costs)
    assert shares[0] == 1 and (shares[1:] <= 1).all()


def test_areas() -> None:
    assert area((np.array([1.0, 2.0, 4.0]), np.array([1.0, 3.0, 5.0])), (0.0, 4.0)) == 1.0 * 2 + 2.0 * 1
