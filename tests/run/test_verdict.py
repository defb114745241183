"""Verdicts: the correction, what is compared, and what is left out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import dunnett

from se_nas.goals.objective import STANDARD
from se_nas.run.front import t_quantile
from se_nas.run.trial import CONFIRM, Trial
from se_nas.run.verdict import differences, dunnett_quantile, judge
from se_nas.se.spec import SESpec
from se_nas.space.architecture import Architecture

ACCURACY, LOSS = STANDARD["accuracy"], STANDARD["loss"]
NAMES = ("plain", "paper", "trial 7", "trial 9")
CHOICES = {name: Architecture.of({"a": SESpec(2**index) if index else None}) for index, name in enumerate(NAMES)}


def test_quantiles_are_those_of_student_and_of_scipys_dunnett() -> None:
    for freedom in (1, 4, 16):
        assert dunnett_quantile(1, freedom) == pytest.approx(t_quantile(freedom), rel=2e-3)
    samples = np.random.default_rng(0).normal(size=(4, 5))
    theirs = dunnett(*samples[1:], control=samples[0], rng=0).confidence_interval()
    mine = dunnett_quantile(3, 16) * np.sqrt(2 * samples.var(1, ddof=1).mean() / 5)
    assert mine == pytest.approx(float((theirs.high - theirs.low)[0] / 2), rel=5e-3)


def test_wrong_winners_are_rare_however_much_seeds_differ() -> None:
    """No network differs: with 4 comparisons, a confirmation names a better or worse one in 5 of 100 cases."""
    rng, wrong = np.random.default_rng(0), 0
    for _ in range(2000):
        values = 0.01 * rng.normal(size=(5, 5)) + 0.1 * rng.normal(size=5)
        found = differences(dict(zip([*NAMES, "other"], values.tolist(), strict=True)), "plain", ACCURACY)
        wrong += any(difference.told for difference in found.values())
    assert 0.03 < wrong / 2000 < 0.07


def test_a_real_difference_is_found_within_seeds_and_lies_in_its_interval() -> None:
    rng, held, told = np.random.default_rng(1), 0, 0
    for _ in range(300):
        seeds = rng.normal(size=5)
        values = {name: (seeds + gain + 0.1 * rng.normal(size=5)).tolist() for name, gain in zip(NAMES, (0, 0, 0.5, 0), strict=True)}
        found = differences(values, "plain", LOSS)["trial 7"]
        held += found.low <= -0.5 <= found.high
        told += found.high < 0
    assert held >= 0.93 * 300 and told >= 0.95 * 300


def trial(number: int, name: str, seed: int, value: float | None) -> Trial:
    metrics = {} if value is None else {"accuracy": 0.5, "test_accuracy": value}
    status = "failed" if value is None else "complete"
    return Trial(number, CONFIRM, CHOICES[name], seed, {"epochs": 4}, status, metrics, {"params": 10, "macs": 20}, 0)


def test_what_is_judged() -> None:
    asked = {"architectures": {name: choice.to_json() for name, choice in CHOICES.items()}, "seeds": [5, 6, 7], "epochs": 4}
    values = {"plain": (0.80, 0.82, 0.81), "paper": (0.85, 0.87, 0.865), "trial 7": (0.90, 0.92, None), "trial 9": (None, None, None)}
    trials = [trial(10 + 4 * i + j, name, 5 + i, values[name][i]) for i in range(3) for j, name in enumerate(NAMES)]
    verdict = judge(asked, trials, ACCURACY)
    assert verdict.test and not verdict.complete and verdict.seeds == (5, 6) and verdict.failed == ("trial 9", "trial 7")
    plain, paper, seven, nine = verdict.rows
    assert plain.scores == (0.80, 0.82) and plain.over_plain is None and paper.over_paper is None and nine.scores == ()
    assert (
        seven.over_plain.estimate == pytest.approx(0.1) and seven.over_plain.low > 0.09 and seven.over_paper.estimate == pytest.approx(0.05)
    )
    assert seven.costs == {"params": 10, "macs": 20} and verdict.to_json()["rows"][2]["mean"] == pytest.approx(0.91)
    assert judge(asked, trials[:4], ACCURACY).rows[2].over_plain is None  # one seed says nothing
    untested = [Trial(**{**vars(t), "metrics": {"accuracy": 0.5}}) for t in trials if t.complete]
    assert not judge(asked, untested, ACCURACY).test
