"""Races: who stays, who leaves, and how often that is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from se_nas.run.race import ERROR, _spending, hold_race

NAMES = ("plain", "paper", "trial 7", "trial 9", "trial 12")


def simulated(rng: np.random.Generator, between: float, seeds: int) -> tuple[dict[str, dict[int, float | None]], dict[str, float]]:
    """Values of all seeds, with noise 1 and seeds that differ by far more; and the truth."""
    truth = between * rng.normal(size=len(NAMES))
    values = truth[:, None] + 10 * rng.normal(size=seeds) + rng.normal(size=(len(NAMES), seeds))
    return {name: dict(enumerate(row)) for name, row in zip(NAMES, values.tolist(), strict=True)}, dict(zip(NAMES, truth, strict=True))


@pytest.mark.parametrize("between", [0.0, 2.0])
def test_the_best_one_stays_and_intervals_hold(between: float) -> None:
    rng, lost, broken, trained = np.random.default_rng(0), 0, 0, 0
    for _ in range(200):
        values, truth = simulated(rng, between, 8)
        race = hold_race(values, range(8), ["plain"])
        lost += max(truth, key=truth.__getitem__) not in race.left
        broken += any(
            abs(gain - truth[name] + truth[other]) > half for name, of in race.gains.items() for other, (gain, half) in of.items()
        )
        trained += sum(race.out.get(name, len(race.looks)) for name in NAMES)
    assert lost <= 0.09 * 200 and broken <= 0.09 * 200  # 5 of 100, and what 200 races differ by
    assert trained < 0.75 * 200 * 40 if between else trained > 0.95 * 200 * 40


def test_it_says_the_same_whatever_was_trained_in_vain() -> None:
    values, _ = simulated(np.random.default_rng(3), 4.0, 10)
    race = hold_race(values, range(10), ["plain"])
    assert race.over and race.out
    needed = {
        name: {seed: value for seed, value in of.items() if seed < race.out.get(name, len(race.looks))} for name, of in values.items()
    }
    assert hold_race(needed, range(10), ["plain"]) == race
    for seeds in range(1, 10):  # goes on from any point
        part = {name: {seed: value for seed, value in of.items() if seed < seeds} for name, of in needed.items()}
        assert hold_race(part, range(10), ["plain"]).looks == tuple(range(min(seeds, len(race.looks))))


def test_who_fails_leaves() -> None:
    values, _ = simulated(np.random.default_rng(1), 0.0, 3)
    values["paper"][1] = None
    race = hold_race(values, range(3), ["plain", "paper"])
    assert race.out == {"paper": 0} and set(race.left) == {*NAMES} - {"paper"} and race.looks == (0, 1, 2)
    values["plain"][0] = None
    race = hold_race(values, range(3), ["plain", "paper"])
    assert "plain" not in race.gains["trial 7"] and race.out == {"plain": 0, "paper": 0}


def test_the_error_is_spent_little_at_first_and_in_all() -> None:
    spent = _spending(10)
    assert spent[0] == 0 and spent[1] < 1e-4 and sum(spent) == pytest.approx(ERROR) and spent == sorted(spent)
