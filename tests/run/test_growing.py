"""The front as it grows is the front of its ledger, by definition, and a trial costs no more the more there are."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, variance

import pytest

from se_nas.engines.recorder import Recorder
from se_nas.goals.objective import parse_objectives
from se_nas.run.growing import GrowingFront, NonDominated
from se_nas.run.observer import Observer
from se_nas.run.run import Run
from se_nas.run.trial import Trial
from se_nas.se.spec import SESpec
from se_nas.space.architecture import Architecture

OBJECTIVES = parse_objectives(["accuracy", "params", "macs"])


def trial(number: int, which: int, accuracy: float, params: int, macs: int = 1, seed: int = 0) -> Trial:
    architecture = Architecture.of({"layer1": SESpec(which + 1)})
    costs = {"params": params, "macs": macs}
    return Trial(number, "proposal", architecture, seed, {"epochs": 1}, "complete", {"accuracy": accuracy}, costs, number)


def better(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a != b and all(x <= y for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_front_by_definition_after_every_trial(seed: int) -> None:
    """Few values, so that many are equal; many seeds of one architecture, so that members of the front fall and others come back."""
    rng = random.Random(seed)
    costs = [(rng.randrange(4), rng.randrange(4)) for _ in range(30)]
    growing, trials = GrowingFront(OBJECTIVES, {"params": 2}, {"epochs": 1}), list[Trial]()
    for number in range(150):
        which = rng.randrange(30)
        trials.append(trial(number, which, rng.randrange(8), *costs[which], seed=number))
        growing.add(trials[-1])
        groups: dict[Architecture, list[Trial]] = {}
        for each in trials:
            groups.setdefault(each.architecture, []).append(each)
        within = {architecture: group for architecture, group in groups.items() if group[0].costs["params"] <= 2}
        losses = {a: (-fmean(t.metrics["accuracy"] for t in group), *group[0].costs.values()) for a, group in within.items()}
        expected = {a for a, loss in losses.items() if not any(better(other, loss) for other in losses.values())}
        front = growing.front
        assert {entry.architecture for entry in front.front} == expected
        assert [entry.trials for entry in front.entries] == [tuple(group) for group in groups.values()]
        several = [[t.metrics["accuracy"] for t in g] for g in groups.values() if len(g) > 1]
        freedom = sum(len(values) - 1 for values in several)
        if freedom:
            assert front.noise is not None and front.noise.freedom == freedom
            pooled = sum(variance(values) * (len(values) - 1) for values in several) / freedom
            assert front.noise.deviation == pytest.approx(pooled**0.5)
            assert front.noise.source.startswith(f"{sum(map(len, several))} trials of {len(several)} architectures")


def operations(action: Callable[[], object]) -> int:
    """Calls of functions, Python's own in C included."""
    count = 0

    def called(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(called)
    try:
        action()
    finally:
        sys.setprofile(None)
    return count


class Plan:
    keep = None

    def scored(self, trial: Trial, weights: object) -> Trial:
        return trial

    def finished(self, trial: Trial) -> None:
        """Tells no strategy."""


CONFIG = {"search": {"objectives": ["accuracy", "params"], "epochs": 1, "trials": 9999}, "budgets": []}


@pytest.mark.parametrize("policy", ["front", "all"])
def test_recording_is_independent_of_the_number_of_trials(tmp_path: Path, policy: str) -> None:
    """The front stays as it is: ten architectures; all others are dominated, many times over."""
    run = Run.create(tmp_path, {**CONFIG, "search": {**CONFIG["search"], "keep_weights": policy}})  # type: ignore[dict-item]
    first = [trial(n, n, 0.9 + 0.001 * n, 100 + n) for n in range(10)]
    run.ledger.write([*first, *(trial(n, n, 0.5, 200 + n) for n in range(10, 50))])
    few = Recorder(run, Plan(), Observer())  # type: ignore[arg-type]
    at_few = operations(lambda: few.finished(trial(50, 50, 0.5, 300)))
    run.ledger.write([*first, *(trial(n, n, 0.5, 200 + n) for n in range(10, 1500))])
    many = Recorder(run, Plan(), Observer())  # type: ignore[arg-type]
    assert operations(lambda: many.finished(trial(1500, 1500, 0.5, 9999))) <= at_few + 5


def test_what_a_removed_one_hid_comes_back() -> None:
    best, a = NonDominated(), [Architecture.of({"g": SESpec(n + 1)}) for n in range(1000)]
    best.add(a[0], (0.0, 1.0))
    best.add(a[1], (1.0, 0.0))
    for number in range(2, 1000):
        best.add(a[number], (5.0, 5.0 + number) if number < 990 else (0.5, 5.0 + number))
    best.remove(a[1])
    assert list(best) == [a[0]]
    best.remove(a[0])
    assert set(best) == {a[2], a[990]}
